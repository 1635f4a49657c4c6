//! What was found in a weights file beside what the network expected.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The row that a tensor `model.<row>.…` belongs to.
pub(super) fn row_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.")?.split('.').next()?.parse().ok()
}

/// A tensor's name and shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Name in the file.
    pub name: String,
    /// Axis lengths.
    pub shape: Vec<usize>,
}

/// A tensor with another shape than the network needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misshaped {
    /// Name in the file.
    pub name: String,
    /// Shape in the file.
    pub found: Vec<usize>,
    /// Shape that the network needs.
    pub expected: Vec<usize>,
}

/// A row with tensors that the file lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RandomRow {
    /// Row of the network.
    pub row: usize,
    /// Module name of the row.
    pub module: String,
    /// Its tensors that are random.
    pub tensors: usize,
}

impl fmt::Display for RandomRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tensors, are) = match self.tensors {
            1 => ("tensor", "is"),
            _ => ("tensors", "are"),
        };
        let n = self.tensors;
        write!(
            f,
            "random weights: {n} {tensors} of this layer {are} not in the file"
        )
    }
}

/// The result of matching a weights file against a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Tensors that the network asked for.
    pub expected: usize,
    /// Of those, the ones that the file has as they should be.
    pub found: usize,
    /// Tensors in the file.
    pub in_file: usize,
    /// Numbers in the tensors that the network took.
    pub parameters: usize,
    /// The same by row.
    #[serde(skip)]
    pub parameters_by_row: BTreeMap<usize, usize>,
    /// Expected, but not in the file.
    pub missing: Vec<Named>,
    /// In the file with another shape.
    pub misshaped: Vec<Misshaped>,
    /// With numbers that are not finite, or of a type that cannot be read, with the reason.
    pub unusable: Vec<(String, String)>,
    /// In the file, but not asked for.
    pub unused: Vec<Named>,
    /// Rows that run on random numbers, in part or whole.
    pub random: Vec<RandomRow>,
    /// Why the network ends before its definition does: row, module and reason.
    pub stopped: Option<String>,
    /// All rows whose modules are not known: row and module.
    pub unknown: Vec<String>,
    /// Whether BatchNorm was folded into the convolutions before the file was written.
    pub fused: bool,
    /// Heads that the file has.
    pub heads: Vec<&'static str>,
    /// What the file or the definition leaves open, and how it was read.
    pub assumed: Vec<String>,
    /// Hyperparameters that the checkpoint itself states, by row: they win over the definition.
    pub attributes: Vec<String>,
    /// Functions that a pickle asks to be called. They were not.
    pub skipped: Vec<String>,
}

impl LoadReport {
    /// Numbers in the tensors that a row took.
    pub fn of_row(&self, row: usize) -> usize {
        self.parameters_by_row.get(&row).copied().unwrap_or(0)
    }

    /// Whether the network is all that the definition says, with weights from the file.
    pub fn is_whole(&self) -> bool {
        self.fits() && self.missing.is_empty() && self.stopped.is_none()
    }

    /// Whether every tensor that is there can be used.
    pub(super) fn fits(&self) -> bool {
        self.misshaped.is_empty() && self.unusable.is_empty()
    }

    /// One line that counts what is wrong; empty if nothing is.
    pub fn summary(&self) -> String {
        let parts = [
            (self.missing.len(), "missing"),
            (self.misshaped.len(), "misshaped"),
            (self.unusable.len(), "unusable"),
            (self.unused.len(), "not used"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        if parts.is_empty() {
            return String::new();
        }
        format!(
            "of {} expected tensors: {}",
            self.expected,
            parts.join(", ")
        )
    }

    /// Every tensor that is not as it should be, each on a line of its own.
    pub(super) fn faults(&self) -> Vec<String> {
        let missing = self.missing.iter();
        let missing = missing.map(|t| format!("missing: {} {:?}", t.name, t.shape));
        let misshaped = self.misshaped.iter().map(|t| {
            let (found, expected) = (&t.found, &t.expected);
            format!("misshaped: {} is {found:?}, expected {expected:?}", t.name)
        });
        let unusable = self.unusable.iter();
        let unusable = unusable.map(|(name, why)| format!("unusable: {name} {why}"));
        let unused = self.unused.iter();
        let unused = unused.map(|t| format!("not used: {} {:?}", t.name, t.shape));
        missing
            .chain(misshaped)
            .chain(unusable)
            .chain(unused)
            .collect()
    }
}

impl fmt::Display for LoadReport {
    /// What was found, then everything that a person may want to know of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} expected tensors found, {} in the file, {} parameters",
            self.found, self.expected, self.in_file, self.parameters
        )?;
        let fused = if self.fused { "folded in" } else { "separate" };
        write!(f, "\n  BatchNorm: {fused}")?;
        if !self.heads.is_empty() {
            write!(f, "\n  heads: {}", self.heads.join(", "))?;
        }
        if let Some(why) = &self.stopped {
            write!(f, "\n  the network ends early: {why}")?;
        }
        for row in &self.random {
            write!(f, "\n  row {} ({}): {row}", row.row, row.module)?;
        }
        for fault in self.faults() {
            write!(f, "\n  {fault}")?;
        }
        for (what, list) in [
            ("not known", &self.unknown),
            ("assumed", &self.assumed),
            ("from the checkpoint", &self.attributes),
            ("skipped, not called", &self.skipped),
        ] {
            for line in list {
                write!(f, "\n  {what}: {line}")?;
            }
        }
        Ok(())
    }
}
