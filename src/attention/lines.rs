//! Lines between the cells of a map.

/// The lines of a regular grid of cells `cell` (height, width) over `extent` (height, width).
pub fn grid_lines(extent: [usize; 2], cell: [usize; 2]) -> Vec<[f32; 4]> {
    let [h, w] = extent.map(|v| v as f32);
    let rows = (0..=extent[0] / cell[0].max(1)).map(|i| (i * cell[0]) as f32);
    let cols = (0..=extent[1] / cell[1].max(1)).map(|i| (i * cell[1]) as f32);
    rows.map(|y| [0.0, y, w, y])
        .chain(cols.map(|x| [x, 0.0, x, h]))
        .collect()
}

/// The borders between cells with different labels, merged into long segments.
///
/// `labels` is row-major `rows × cols`; the outer frame is not included.
pub fn label_borders(labels: &[i32], rows: usize, cols: usize) -> Vec<[f32; 4]> {
    let mut lines = Vec::new();
    if labels.len() != rows * cols {
        return lines;
    }
    let at = |r: usize, c: usize| labels[r * cols + c];
    let mut segments =
        |n: usize, differs: &dyn Fn(usize) -> bool, line: &dyn Fn(f32, f32) -> [f32; 4]| {
            let mut start = None;
            for i in 0..=n {
                match (i < n && differs(i), start) {
                    (true, None) => start = Some(i),
                    (false, Some(s)) => {
                        lines.push(line(s as f32, i as f32));
                        start = None;
                    }
                    _ => {}
                }
            }
        };
    for r in 1..rows {
        let y = r as f32;
        segments(cols, &|c| at(r - 1, c) != at(r, c), &|a, b| [a, y, b, y]);
    }
    for c in 1..cols {
        let x = c as f32;
        segments(rows, &|r| at(r, c - 1) != at(r, c), &|a, b| [x, a, x, b]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_merged_and_exact() {
        // Two columns on the left belong to 0, the right column to 1, the last row to 2.
        let labels = [0, 0, 1, 0, 0, 1, 2, 2, 2];
        let mut lines = label_borders(&labels, 3, 3);
        lines.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(lines, vec![[0., 2., 3., 2.], [2., 0., 2., 2.]]);
        assert!(label_borders(&[5; 9], 3, 3).is_empty());
    }

    #[test]
    fn grid_lines_include_the_frame() {
        assert_eq!(grid_lines([4, 6], [2, 3]).len(), 3 + 3);
    }
}
