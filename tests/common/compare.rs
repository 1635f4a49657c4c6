//! Largest differences, and a table of them by kind.

use std::collections::BTreeMap;

use attnscope::attention::Trace;
use candle_core::{DType, Tensor};

use super::golden::{Golden, Reference};

/// The numbers of a tensor, row-major.
pub fn flat(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest absolute difference; infinite where a number is not finite.
pub fn difference(ours: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "another number of values");
    let apart = |(&a, &b): (&f32, &f64)| {
        let d = (f64::from(a) - b).abs();
        if d.is_nan() { f64::INFINITY } else { d }
    };
    ours.iter().zip(reference).map(apart).fold(0.0, f64::max)
}

/// Checks differences against a limit and remembers the largest of each kind.
#[derive(Default)]
pub struct Table {
    largest: BTreeMap<String, (f64, f64)>,
    compared: usize,
}

impl Table {
    /// One tensor against its reference: at most `limit` apart, and where all values are small at
    /// most a ten-thousandth of the largest (but no less than 1e-5).
    pub fn check(&mut self, kind: &str, what: &str, ours: &[f32], theirs: &[f64], limit: f64) {
        let apart = difference(ours, theirs);
        let size = theirs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let limit = limit.min((1e-4 * size).max(1e-5));
        assert!(
            apart <= limit,
            "{what}: {apart:.1e} apart, allowed {limit:.1e}, largest value {size:.2}"
        );
        let entry = self.largest.entry(kind.to_owned()).or_default();
        *entry = (entry.0.max(apart), entry.1.max(size));
        self.compared += 1;
    }

    /// Every tensor `<prefix><name>` of a trace that the golden file has. Returns their names.
    pub fn check_trace(
        &mut self,
        golden: &Golden,
        prefix: &str,
        trace: &dyn Trace,
        limit: f64,
    ) -> Vec<String> {
        let mut names = Vec::new();
        let mut logits = None;
        for t in trace.tensors().unwrap() {
            let name = format!("{prefix}{}", t.name);
            let Some(reference) = golden.find(&name) else {
                continue;
            };
            assert_eq!(t.tensor.dims(), reference.shape.as_slice(), "{name}");
            if t.name == "affinity_r" {
                logits = Some(reference);
            }
            if t.name == "r_idx" {
                let logits = logits.expect("the logits come before the indices");
                same_routes(&name, &flat(&t.tensor), reference, logits);
            } else {
                let kind = t.name.trim_end_matches(|c: char| c.is_ascii_digit());
                self.check(kind, &name, &flat(&t.tensor), &reference.data, limit);
            }
            names.push(name);
        }
        names
    }

    /// Prints what was measured.
    pub fn print(&self, title: &str) {
        println!("{title}: {} tensors", self.compared);
        for (kind, (apart, size)) in &self.largest {
            println!("  {kind:14} {apart:.1e} apart (largest value {size:.1})");
        }
    }
}

/// Regions that hold only padding have equal logits and no order. So a place may hold another
/// index than the reference, but only one with the same logit, and none twice.
fn same_routes(name: &str, ours: &[f32], reference: &Reference, logits: &Reference) {
    let k = *reference.shape.last().unwrap();
    for (region, row) in ours.chunks(k).enumerate() {
        let mut seen = row.to_vec();
        seen.sort_by(f32::total_cmp);
        seen.dedup();
        assert_eq!(seen.len(), k, "{name}: a region twice in row {region}");
        let logits = logits.row(region);
        for (&a, &b) in row.iter().zip(reference.row(region)) {
            let apart = (logits[a as usize] - logits[b as usize]).abs();
            assert!(apart < 1e-6, "{name}: row {region} has {a}, expected {b}");
        }
    }
}
