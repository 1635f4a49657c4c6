//! How a map is cut into regions.

use super::super::{MapSize, ceil_to};

/// How the number of regions follows from `n_win`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Just `n_win` per side; the map is padded before anything is projected.
    Exact,
    /// Regions of `side / n_win` cells, rounded down, and as many as it takes: `n_win` or more.
    /// What was projected is padded. So does the variant on NCHW maps.
    Floored,
}

/// The grid of regions over a padded map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Regions {
    pub map: MapSize,
    pub padded: MapSize,
    /// Rows and columns of regions.
    pub grid: [usize; 2],
    /// Height and width of a region.
    pub region: [usize; 2],
}

impl Regions {
    pub(super) fn new(map: MapSize, n_win: usize, cut: Cut) -> Self {
        let n_win = n_win.max(1);
        match cut {
            Cut::Exact => {
                let padded = map.map(|side| ceil_to(side, n_win));
                Self {
                    map,
                    padded,
                    grid: [n_win; 2],
                    region: padded.map(|side| side / n_win),
                }
            }
            Cut::Floored => {
                let region = map.map(|side| (side / n_win).max(1));
                let grid = [0, 1].map(|i| map[i].div_ceil(region[i]));
                Self {
                    map,
                    padded: [0, 1].map(|i| grid[i] * region[i]),
                    grid,
                    region,
                }
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    pub(super) fn tokens(&self) -> usize {
        self.region[0] * self.region[1]
    }

    /// Cells of each region that are no padding.
    pub(super) fn real_cells(&self) -> Vec<f32> {
        let along = |axis: usize, i: usize| {
            let start = i * self.region[axis];
            self.region[axis].min(self.map[axis].saturating_sub(start))
        };
        (0..self.count())
            .map(|r| (along(0, r / self.grid[1]) * along(1, r % self.grid[1])) as f32)
            .collect()
    }

    /// The same regions as part of the smallest square grid, which is what the kernel takes.
    pub(super) fn squared(&self) -> Self {
        let side = self.grid[0].max(self.grid[1]);
        Self {
            padded: self.region.map(|cells| cells * side),
            grid: [side; 2],
            ..*self
        }
    }

    /// Region `r` of this grid as one of another grid of the same regions.
    pub(super) fn on(&self, other: &Self, r: usize) -> usize {
        r / self.grid[1] * other.grid[1] + r % self.grid[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_windows_are_seven_or_more() {
        // The numbers of regions that the two forms make of n_win 7.
        for (side, exact, floored) in [(20, 3, 10), (40, 6, 8), (80, 12, 8)] {
            let cut = |cut| Regions::new([side, side], 7, cut);
            assert_eq!(cut(Cut::Exact).grid, [7, 7]);
            assert_eq!(cut(Cut::Exact).region, [exact, exact]);
            assert_eq!(cut(Cut::Floored).grid, [floored, floored]);
        }
    }

    #[test]
    fn padding_is_not_counted() {
        // Rows of 2, 2 and 1 cells, columns of 3 and 1.
        let r = Regions::new([5, 4], 2, Cut::Floored);
        assert_eq!((r.region, r.grid), ([2, 2], [3, 2]));
        assert_eq!(r.real_cells(), [4., 4., 4., 4., 2., 2.]);
        let r = Regions::new([5, 5], 4, Cut::Exact);
        assert_eq!(r.real_cells().iter().filter(|&&n| n == 0.0).count(), 7);
    }

    #[test]
    fn a_square_grid_holds_the_same_regions() {
        let r = Regions::new([5, 4], 2, Cut::Floored);
        let s = r.squared();
        assert_eq!((s.grid, s.padded), ([3, 3], [6, 6]));
        let moved: Vec<usize> = (0..6).map(|i| r.on(&s, i)).collect();
        assert_eq!(moved, [0, 1, 3, 4, 6, 7]);
    }
}
