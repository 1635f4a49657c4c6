//! Which regions may be read: all, unless something is taken out.
//!
//! An erased region is none that anybody can choose: the next best takes its place, as if the
//! router had never seen it, so that a region reads as much as before. Where fewer than `topk` are
//! left to some region, all read that many fewer: routes are a table with as many columns for
//! every region. A region to which everything is closed reads nothing.

use super::regions::Regions;
use crate::attention::Erasure;

/// What is left of the routes.
pub(super) struct Open<'a> {
    /// What is taken out, if it acts on these regions.
    erasure: Option<&'a Erasure>,
    count: usize,
}

impl<'a> Open<'a> {
    pub(super) fn new(erasure: &'a Erasure, regions: Regions) -> Self {
        let fits = erasure.grid == regions.grid;
        let acts = fits && !(erasure.units.is_empty() && erasure.routes.is_empty());
        Self {
            erasure: acts.then_some(erasure),
            count: regions.count(),
        }
    }

    /// Whether region `from` may read region `to`.
    pub(super) fn is_open(&self, from: usize, to: usize) -> bool {
        self.erasure
            .is_none_or(|e| !e.units.contains(&to) && !e.routes.contains(&[from, to]))
    }

    /// How many regions a region may read.
    pub(super) fn left_to(&self, from: usize) -> usize {
        match self.erasure {
            None => self.count,
            Some(_) => (0..self.count).filter(|&to| self.is_open(from, to)).count(),
        }
    }

    /// The wanted `topk`, or as many as are left to every region that reads at all.
    pub(super) fn topk(&self, wanted: usize) -> usize {
        let fewest = match self.erasure {
            None => self.count,
            Some(_) => {
                let left = (0..self.count).map(|from| self.left_to(from));
                left.filter(|&n| n > 0).min().unwrap_or(1)
            }
        };
        wanted.clamp(1, fewest.max(1))
    }
}
