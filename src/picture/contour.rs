//! Lines of equal value, by marching squares between the cell centres.

use super::heat::Map;

impl Map<'_> {
    /// The line along which the map has the value `level`, as segments `[x1, y1, x2, y2]` in cells
    /// of the map (the centre of the first cell is at 0.5, 0.5). Straight between neighbouring
    /// centres; none in squares with a value that is not finite, none outside of the outermost
    /// centres.
    pub fn contour(&self, level: f32) -> Vec<[f32; 4]> {
        let mut lines = Vec::new();
        if !level.is_finite() {
            return lines;
        }
        for row in 1..self.rows() {
            for col in 1..self.cols() {
                // Clockwise from the upper left.
                let corners = [
                    (row - 1, col - 1),
                    (row - 1, col),
                    (row, col),
                    (row, col - 1),
                ];
                let values = corners.map(|(r, c)| self.at(r, c));
                if values.iter().all(|v| v.is_finite()) {
                    let origin = [col as f32 - 0.5, row as f32 - 0.5];
                    square(values, level, origin, &mut lines);
                }
            }
        }
        lines
    }

    /// All lines of a colouring.
    pub fn contours(&self, levels: &[f32]) -> Vec<[f32; 4]> {
        levels.iter().flat_map(|&l| self.contour(l)).collect()
    }
}

/// Corners of the unit square, clockwise from the upper left.
const CORNERS: [[f32; 2]; 4] = [[0., 0.], [1., 0.], [1., 1.], [0., 1.]];

/// Adds the segments within one square between four centres.
fn square(values: [f32; 4], level: f32, [x, y]: [f32; 2], lines: &mut Vec<[f32; 4]>) {
    let inside = values.map(|v| v >= level);
    // Where the line crosses the edge from each corner to the next.
    let mut crossings = [None; 4];
    let mut count = 0;
    for edge in 0..4 {
        let next = (edge + 1) % 4;
        if inside[edge] != inside[next] {
            let (a, b) = (f64::from(values[edge]), f64::from(values[next]));
            let part = ((f64::from(level) - a) / (b - a)) as f32;
            let [from, to] = [CORNERS[edge], CORNERS[next]];
            let along = |axis: usize| from[axis] + (to[axis] - from[axis]) * part;
            crossings[edge] = Some([x + along(0), y + along(1)]);
            count += 1;
        }
    }
    let mut join = |a: usize, b: usize| {
        if let (Some([x1, y1]), Some([x2, y2])) = (crossings[a], crossings[b]) {
            lines.push([x1, y1, x2, y2]);
        }
    };
    if count == 4 {
        // A saddle: the middle decides which two corners belong together.
        let middle = values.iter().copied().map(f64::from).sum::<f64>() / 4.0;
        let joined = (middle >= f64::from(level)) == inside[0];
        // Edges 3 and 0 meet at corner 0, edges 1 and 2 at corner 2.
        let pairs = if joined {
            [(0, 1), (2, 3)]
        } else {
            [(3, 0), (1, 2)]
        };
        pairs.into_iter().for_each(|(a, b)| join(a, b));
        return;
    }
    let mut crossed = (0..4).filter(|&edge| crossings[edge].is_some());
    if let (Some(a), Some(b)) = (crossed.next(), crossed.next()) {
        join(a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contour(values: &[f32], rows: usize, cols: usize, level: f32) -> Vec<[f32; 4]> {
        Map::new(values, rows, cols).unwrap().contour(level)
    }

    #[test]
    fn a_slope_is_cut_by_one_straight_line() {
        // Value x + 0.5 at x: the level 1.25 lies at x = 0.75.
        let lines = contour(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0], 3, 2, 1.25);
        assert_eq!(lines, [[0.75, 0.5, 0.75, 1.5], [0.75, 1.5, 0.75, 2.5]]);
    }

    #[test]
    fn a_hill_is_surrounded() {
        let values = [0., 0., 0., 0., 1., 0., 0., 0., 0.];
        let lines = contour(&values, 3, 3, 0.5);
        assert_eq!(lines.len(), 4);
        // All ends at half a cell from the summit, each met twice.
        let mut ends: Vec<[f32; 2]> = lines
            .iter()
            .flat_map(|&[a, b, c, d]| [[a, b], [c, d]])
            .collect();
        ends.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let expected = [[1.0, 1.5], [1.5, 1.0], [1.5, 2.0], [2.0, 1.5]];
        assert_eq!(ends, expected.map(|p| [p, p]).concat());
    }

    #[test]
    fn a_saddle_follows_its_middle() {
        // Peaks at the upper left and lower right, their middle above the level: they are joined,
        // and the lines cut off the two other corners.
        let joined = contour(&[1.0, 0.2, 0.2, 1.0], 2, 2, 0.5);
        let parted = contour(&[0.8, 0.0, 0.0, 0.8], 2, 2, 0.5);
        let length = |lines: &[[f32; 4]]| -> f32 {
            lines.iter().map(|[a, b, c, d]| (a - c).hypot(b - d)).sum()
        };
        assert_eq!((joined.len(), parted.len()), (2, 2));
        // Cut-off corners: at 0.375 of an edge each, so √2 · 0.375 long.
        for lines in [&joined, &parted] {
            assert!((length(lines) - 2.0 * 2f32.sqrt() * 0.375).abs() < 1e-5);
        }
        // The first of the joined ones lies at the upper right, of the parted at the upper left.
        assert!(
            joined[0][0] > 1.0 && parted[0][0] < 1.0 + 1e-6,
            "{joined:?} {parted:?}"
        );
    }

    #[test]
    fn nothing_at_holes_on_flat_maps_and_single_cells() {
        assert!(contour(&[0.0, 1.0, f32::NAN, 1.0], 2, 2, 0.5).is_empty());
        assert!(contour(&[0.0, f32::INFINITY, 0.0, 1.0], 2, 2, 0.5).is_empty());
        assert!(contour(&[0.5; 4], 2, 2, 0.5).is_empty());
        assert!(contour(&[0.0, 1.0], 1, 2, 0.5).is_empty());
        assert!(contour(&[0.0, 1.0, 0.0, 1.0], 2, 2, f32::NAN).is_empty());
    }
}
