//! What is taken out of an attention layer, to see what depends on it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::view::Units;

/// Most units that are named one by one.
const NAMED: usize = 6;

/// Units and routes that are taken out of one layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Erasure {
    /// Rows and columns of the units that the numbers count. On another grid they would mean other
    /// places, so nothing is taken out there.
    pub grid: [usize; 2],
    /// Units that nobody reads any more.
    pub units: BTreeSet<usize>,
    /// Closed routes: the unit that reads, the unit that it no longer reads.
    pub routes: BTreeSet<[usize; 2]>,
}

/// What can be taken out of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasable {
    /// Its units.
    pub units: Units,
    /// Whether single routes between them can be closed.
    pub routes: bool,
}

impl Erasure {
    /// Takes these units out of a grid of `rows, columns`.
    pub fn of_units(grid: [usize; 2], units: impl IntoIterator<Item = usize>) -> Self {
        Self {
            grid,
            units: units.into_iter().collect(),
            routes: BTreeSet::new(),
        }
    }

    /// Takes all units but one out.
    pub fn all_but(grid: [usize; 2], unit: usize) -> Self {
        Self::of_units(grid, (0..grid[0] * grid[1]).filter(|u| *u != unit))
    }

    /// Whether something is taken out of a layer with these units.
    pub fn acts_on(&self, what: &Erasable) -> bool {
        let n = what.units.grid[0] * what.units.grid[1];
        let routes = what.routes && self.routes.iter().flatten().any(|u| *u < n);
        self.grid == what.units.grid && (routes || self.units.iter().any(|u| *u < n))
    }

    /// What is taken out, each in a few words: `region 12 erased`, `route 3 to 7 closed`.
    pub fn words(&self, what: &Erasable) -> Vec<String> {
        let Units { name, grid } = what.units;
        let all = grid[0] * grid[1];
        let units: Vec<usize> = self.units.iter().copied().filter(|u| *u < all).collect();
        let list = |n: &[usize]| {
            n.iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut words = Vec::new();
        match units[..] {
            [] => {}
            [one] => words.push(format!("{name} {one} erased")),
            _ if units.len() == all => words.push(format!("all {all} {name}s erased")),
            _ if units.len() + 1 == all => {
                let kept = (0..all).find(|u| !self.units.contains(u)).unwrap_or(0);
                words.push(format!("only {name} {kept} of {all} kept"));
            }
            _ if units.len() <= NAMED => words.push(format!("{name}s {} erased", list(&units))),
            _ => words.push(format!("{} of {all} {name}s erased", units.len())),
        }
        let routes = if what.routes { self.routes.len() } else { 0 };
        match (routes, self.routes.first()) {
            (1, Some([from, to])) => words.push(format!("route from {from} to {to} closed")),
            (n, Some(_)) if n > 1 => words.push(format!("{n} routes closed")),
            _ => {}
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(routes: bool) -> Erasable {
        Erasable {
            units: Units {
                name: "region",
                grid: [3, 4],
            },
            routes,
        }
    }

    #[test]
    fn what_is_taken_out_is_said_in_words() {
        let words = |e: &Erasure| e.words(&regions(true)).join("; ");
        let units = |list: &[usize]| Erasure::of_units([3, 4], list.iter().copied());
        assert_eq!(words(&units(&[])), "");
        assert_eq!(words(&units(&[7, 99])), "region 7 erased");
        assert_eq!(words(&units(&[7, 2])), "regions 2, 7 erased");
        assert_eq!(
            words(&units(&[0, 1, 2, 3, 4, 5, 6])),
            "7 of 12 regions erased"
        );
        assert_eq!(
            words(&Erasure::all_but([3, 4], 5)),
            "only region 5 of 12 kept"
        );
        let mut route = units(&[1]);
        route.routes.insert([3, 7]);
        assert_eq!(words(&route), "region 1 erased; route from 3 to 7 closed");
        assert_eq!(route.words(&regions(false)), ["region 1 erased"]);
    }

    #[test]
    fn numbers_of_another_grid_take_nothing_out() {
        let erasure = Erasure::of_units([4, 4], [1]);
        assert!(!erasure.acts_on(&regions(true)));
        assert!(Erasure::of_units([3, 4], [11]).acts_on(&regions(true)));
        assert!(!Erasure::of_units([3, 4], [12]).acts_on(&regions(true)));
        let mut route = Erasure::of_units([3, 4], []);
        route.routes.insert([3, 7]);
        assert!(route.acts_on(&regions(true)));
        assert!(!route.acts_on(&regions(false)));
    }
}
