//! What lies inside a box, of any mechanism's maps, units and channels, and how much of that a map
//! without any knowledge of the box would have there.
//!
//! All coordinates are `x0, y0, x1, y1` in cells of the feature map, measured from its top left
//! corner.

mod channels;
mod mass;
mod units;

pub use channels::{ChannelShare, channels};
pub use mass::{Mass, Peak, Shifts, mass, peaks};
pub use units::{UnitShare, UnitsInside, units_inside};

use std::ops::Range;

/// A rectangle in cells of a feature map.
pub type Rect = [f32; 4];

/// Rows and columns of a grid whose cells have their middle in `rect`; a cell is `size` wide and
/// high. Empty where no middle lies inside.
fn middles(rect: Rect, size: [f32; 2], grid: [usize; 2]) -> [Range<usize>; 2] {
    let along = |low: f32, high: f32, size: f32, n: usize| {
        // Middle `i + ½` of a cell: low ≤ (i + ½) · size < high.
        let first = |edge: f32| ((edge / size - 0.5).ceil().max(0.0) as usize).min(n);
        first(low)..first(high).max(first(low))
    };
    [
        along(rect[1], rect[3], size[1], grid[0]),
        along(rect[0], rect[2], size[0], grid[1]),
    ]
}

/// The same, but at least the cell under the middle of `rect`: a box may be smaller than a cell.
fn cells_in(rect: Rect, size: [f32; 2], grid: [usize; 2]) -> [Range<usize>; 2] {
    let [rows, cols] = middles(rect, size, grid);
    let one = |range: Range<usize>, low: f32, high: f32, size: f32, n: usize| {
        let middle = ((low + high) / 2.0 / size).max(0.0) as usize;
        match range.is_empty() && middle < n {
            true => middle..middle + 1,
            false => range,
        }
    };
    [
        one(rows, rect[1], rect[3], size[1], grid[0]),
        one(cols, rect[0], rect[2], size[0], grid[1]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_counts_by_its_middle() {
        let of = |rect| middles(rect, [2.0, 1.0], [4, 5]);
        assert_eq!(of([0.0, 0.0, 10.0, 4.0]), [0..4, 0..5]);
        assert_eq!(of([1.0, 0.6, 5.0, 2.4]), [1..2, 0..2]);
        assert_eq!(of([-9.0, -9.0, 99.0, 99.0]), [0..4, 0..5]);
        assert_eq!(of([1.1, 0.6, 1.2, 0.7]), [1..1, 1..1]);
        assert_eq!(
            cells_in([1.1, 0.6, 1.2, 0.7], [2.0, 1.0], [4, 5]),
            [0..1, 0..1]
        );
        assert_eq!(
            cells_in([11.0, 0.6, 11.2, 0.7], [2.0, 1.0], [4, 5]),
            [0..1, 5..5]
        );
    }
}
