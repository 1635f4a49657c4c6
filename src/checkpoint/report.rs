//! What was found in a weights file beside what the network expected.

use std::fmt;

use serde::Serialize;

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

/// The result of matching a weights file against a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Tensors that the network asked for.
    pub expected: usize,
    /// Tensors in the file.
    pub in_file: usize,
    /// Numbers in the tensors that the network took.
    pub parameters: usize,
    /// Expected, but not in the file.
    pub missing: Vec<Named>,
    /// In the file with another shape.
    pub misshaped: Vec<Misshaped>,
    /// With numbers that are not finite, or of a type that cannot be read, with the reason.
    pub unusable: Vec<(String, String)>,
    /// In the file, but not asked for.
    pub unused: Vec<Named>,
}

impl LoadReport {
    /// Whether the network can run with what was found.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.misshaped.is_empty() && self.unusable.is_empty()
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
}

impl fmt::Display for LoadReport {
    /// The summary, then every tensor by name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary())?;
        for t in &self.missing {
            write!(f, "\n  missing: {} {:?}", t.name, t.shape)?;
        }
        for t in &self.misshaped {
            write!(
                f,
                "\n  misshaped: {} is {:?}, expected {:?}",
                t.name, t.found, t.expected
            )?;
        }
        for (name, why) in &self.unusable {
            write!(f, "\n  unusable: {name} {why}")?;
        }
        for t in &self.unused {
            write!(f, "\n  not used: {} {:?}", t.name, t.shape)?;
        }
        Ok(())
    }
}
