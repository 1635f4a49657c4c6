//! How much of a map lies inside a box, against maps that know nothing of the box.

use super::{Rect, middles};
use crate::attention::view::Heat;

/// A map and a box. Only cells whose middle lies on the photograph count; a cell that the box
/// covers in part counts by that part of its area.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mass {
    /// Share of the sum of the map that lies inside. `None` where the map has values below 0, or
    /// none above.
    pub share: Option<f64>,
    /// Share of the area that lies inside: what `share` is on average over all permutations, and
    /// over all shifts, of the cells.
    pub area: f64,
    /// Standard deviation of `share` over all permutations of the cells.
    pub spread: Option<f64>,
    /// How many such deviations the sum inside is above its mean over all permutations, for any
    /// map. `None` where all values or all places are alike.
    pub z: Option<f64>,
    /// Against the map shifted.
    pub shifts: Shifts,
    /// Mean value inside.
    pub inside: f64,
    /// Mean value outside; `None` where the box covers everything.
    pub outside: Option<f64>,
    /// Cells on the photograph.
    pub cells: usize,
}

/// A map against itself, shifted to all places, with what leaves at one side coming back at the
/// other. A shifted map keeps its blobs, which a permuted one does not: this is the harder test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifts {
    /// Shifts, that by nothing included.
    pub count: usize,
    /// Share of them with less inside than the map has; those with as much count by half.
    pub below: f64,
    /// Standard deviation of the share inside; `None` where there is no share.
    pub spread: Option<f64>,
}

impl Mass {
    /// `share` over what a random map has: 1 is no more than by chance.
    pub fn ratio(&self) -> Option<f64> {
        (self.area > 0.0).then(|| Some(self.share? / self.area))?
    }
}

/// The part of a grid that is on the photograph, and how much of it is inside the box.
struct Domain {
    /// Values, row by row.
    values: Vec<f64>,
    /// Share of each row's height that the box covers.
    rows: Vec<f64>,
    /// Share of each column's width.
    cols: Vec<f64>,
}

impl Domain {
    fn new(heat: &Heat, rect: Rect, photo: Rect) -> Option<Self> {
        let size = [
            heat.extent[0] / heat.cols as f32,
            heat.extent[1] / heat.rows as f32,
        ];
        let sound = size.iter().all(|s| s.is_finite() && *s > 0.0)
            && heat.values.len() == heat.rows * heat.cols
            && heat.values.iter().all(|v| v.is_finite());
        let [rows, cols] = middles(photo, size, [heat.rows, heat.cols]);
        if !sound || rows.is_empty() || cols.is_empty() {
            return None;
        }
        let covered = |i: usize, size: f32, low: f32, high: f32| {
            let (start, end) = (i as f32 * size, (i + 1) as f32 * size);
            f64::from(((high.min(end) - low.max(start)) / size).clamp(0.0, 1.0))
        };
        let values = rows
            .clone()
            .flat_map(|r| &heat.values[r * heat.cols..][cols.clone()]);
        Some(Self {
            values: values.map(|v| f64::from(*v)).collect(),
            rows: rows
                .map(|r| covered(r, size[1], rect[1], rect[3]))
                .collect(),
            cols: cols
                .map(|c| covered(c, size[0], rect[0], rect[2]))
                .collect(),
        })
    }

    /// The sum inside the box for every cyclic shift of the box, that by nothing first.
    fn shifted_sums(&self) -> Vec<f64> {
        let (rows, cols) = (self.rows.len(), self.cols.len());
        let kept = |covered: &[f64]| -> Vec<(usize, f64)> {
            let all = covered.iter().copied().enumerate();
            all.filter(|(_, c)| *c > 0.0).collect()
        };
        let (down, along) = (kept(&self.rows), kept(&self.cols));
        // Along the rows first, then down the columns: a box is a product of both.
        let mut partial = vec![0.0; rows * cols];
        for (row, out) in self.values.chunks(cols).zip(partial.chunks_mut(cols)) {
            for (shift, out) in out.iter_mut().enumerate() {
                *out = along.iter().map(|(c, w)| w * row[(c + shift) % cols]).sum();
            }
        }
        let mut sums = vec![0.0; rows * cols];
        for (shift, out) in sums.chunks_mut(cols).enumerate() {
            for (r, weight) in &down {
                let row = &partial[(r + shift) % rows * cols..][..cols];
                out.iter_mut().zip(row).for_each(|(o, p)| *o += weight * p);
            }
        }
        sums
    }
}

/// How much of a map lies inside the box `rect`, of the part of it that lies on the photograph
/// `photo`. `None` where no cell of the map does, or a value is not finite.
///
/// With `c` the share of each of `n` cells that is inside, `v` their values and bars for means: over
/// all permutations of the values the sum inside has mean `n·c̄·v̄` and variance
/// `Σ(c − c̄)² · Σ(v − v̄)² / (n − 1)`, exactly.
pub fn mass(heat: &Heat, rect: Rect, photo: Rect) -> Option<Mass> {
    let domain = Domain::new(heat, rect, photo)?;
    let n = domain.values.len() as f64;
    let covered: Vec<f64> = domain
        .rows
        .iter()
        .flat_map(|r| domain.cols.iter().map(move |c| r * c))
        .collect();
    let total: f64 = domain.values.iter().sum();
    let area: f64 = covered.iter().sum();
    let off = |all: &[f64], mean: f64| all.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    let variance = off(&covered, area / n) * off(&domain.values, total / n) / (n - 1.0).max(1.0);
    let sums = domain.shifted_sums();
    let here = sums.first().copied().unwrap_or(0.0);
    let has_share = total > 0.0 && domain.values.iter().all(|v| *v >= 0.0);
    let as_share = |sum: f64| has_share.then_some(sum / total);
    // What rounding alone makes of equal values.
    let largest = domain.values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let least = 1e-9 * largest * n.max(1.0);
    let (count, mean) = (sums.len() as f64, area * total / n);
    let below = sums.iter().map(|s| match s - here {
        d if d < -least => 1.0,
        d if d <= least => 0.5,
        _ => 0.0,
    });
    Some(Mass {
        share: as_share(here),
        area: area / n,
        spread: as_share(variance.sqrt()),
        z: (variance.sqrt() > least).then(|| (here - mean) / variance.sqrt()),
        shifts: Shifts {
            count: sums.len(),
            below: below.sum::<f64>() / count,
            spread: as_share((off(&sums, mean) / count).sqrt()),
        },
        inside: if area > 0.0 { here / area } else { 0.0 },
        outside: (n - area > 1e-9).then(|| (total - here) / (n - area)),
        cells: domain.values.len(),
    })
}

/// A cell of a map with its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Row and column of the map.
    pub cell: [usize; 2],
    /// Value.
    pub value: f32,
    /// Place among all cells on the photograph, from 1.
    pub rank: usize,
}

/// The `most` largest cells of a map whose middle lies inside the box, largest first, and where
/// they stand among all on the photograph. Of equal ones the first in reading order.
pub fn peaks(heat: &Heat, rect: Rect, photo: Rect, most: usize) -> Vec<Peak> {
    let size = [
        heat.extent[0] / heat.cols.max(1) as f32,
        heat.extent[1] / heat.rows.max(1) as f32,
    ];
    let [rows, cols] = middles(photo, size, [heat.rows, heat.cols]);
    let [high, wide] = middles(rect, size, [heat.rows, heat.cols]);
    let mut all: Vec<([usize; 2], f32)> = rows
        .flat_map(|r| cols.clone().map(move |c| [r, c]))
        .filter_map(|cell| Some((cell, *heat.values.get(cell[0] * heat.cols + cell[1])?)))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.into_iter()
        .enumerate()
        .filter(|(_, (cell, _))| high.contains(&cell[0]) && wide.contains(&cell[1]))
        .take(most)
        .map(|(i, (cell, value))| Peak {
            cell,
            value,
            rank: i + 1,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(rows: usize, cols: usize, values: &[f32]) -> Heat {
        Heat::of_cells("weight", [rows, cols], values.to_vec().into())
    }

    const ALL: Rect = [0.0, 0.0, 99.0, 99.0];

    #[test]
    fn the_share_is_that_of_the_covered_area() {
        let map = heat(2, 3, &[1., 2., 3., 4., 5., 5.]);
        // The right column, and half of the middle one.
        let m = mass(&map, [1.5, 0.0, 3.0, 2.0], ALL).unwrap();
        assert!((m.share.unwrap() - (3.0 + 5.0 + 3.5) / 20.0).abs() < 1e-12);
        assert!((m.area - 0.5).abs() < 1e-12);
        assert!((m.ratio().unwrap() - 1.15).abs() < 1e-12);
        assert!((m.inside - 11.5 / 3.0).abs() < 1e-12);
        assert!((m.outside.unwrap() - 8.5 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_closed_form_is_that_of_all_permutations() {
        let (map, rect) = (heat(2, 3, &[0.5, 2., 0., 4., 1., 7.]), [0.0, 0.0, 1.4, 1.0]);
        let m = mass(&map, rect, ALL).unwrap();
        // All 720 orders of the six values.
        let mut sums = Vec::new();
        let mut order: Vec<usize> = (0..6).collect();
        permute(&mut order, 0, &mut |order| {
            let values: Vec<f32> = order.iter().map(|&i| map.values[i]).collect();
            sums.push(
                mass(&heat(2, 3, &values), rect, ALL)
                    .unwrap()
                    .share
                    .unwrap(),
            );
        });
        assert_eq!(sums.len(), 720);
        let mean = sums.iter().sum::<f64>() / 720.0;
        let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 720.0;
        assert!((mean - m.area).abs() < 1e-12);
        assert!((variance.sqrt() - m.spread.unwrap()).abs() < 1e-12);
        let z = (m.share.unwrap() - mean) / variance.sqrt();
        assert!((z - m.z.unwrap()).abs() < 1e-9);
    }

    fn permute(order: &mut Vec<usize>, from: usize, each: &mut impl FnMut(&[usize])) {
        if from == order.len() {
            return each(order);
        }
        for i in from..order.len() {
            order.swap(from, i);
            permute(order, from + 1, each);
            order.swap(from, i);
        }
    }

    #[test]
    fn shifts_are_all_places_of_the_box() {
        let values: Vec<f32> = (0..20).map(|i| ((i * 7) % 11) as f32).collect();
        let map = heat(4, 5, &values);
        let m = mass(&map, [1.0, 1.0, 3.0, 2.5], ALL).unwrap();
        assert_eq!(m.shifts.count, 20);
        let at = |dy: usize, dx: usize| -> f64 {
            let cell = |y: usize, x: usize| f64::from(values[(y + dy) % 4 * 5 + (x + dx) % 5]);
            (1..3).map(|x| cell(1, x) + 0.5 * cell(2, x)).sum()
        };
        let all: Vec<f64> = (0..20).map(|i| at(i / 5, i % 5)).collect();
        let less = all.iter().filter(|s| **s < all[0] - 1e-9).count() as f64;
        let equal = all.iter().filter(|s| (**s - all[0]).abs() < 1e-9).count() as f64;
        assert!((m.shifts.below - (less + equal / 2.0) / 20.0).abs() < 1e-12);
        let total: f64 = values.iter().map(|v| f64::from(*v)).sum();
        assert!((m.share.unwrap() - all[0] / total).abs() < 1e-12);
        let mean = all.iter().sum::<f64>() / 20.0;
        assert!((mean / total - m.area).abs() < 1e-12);
        let variance = all.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 20.0;
        assert!((variance.sqrt() / total - m.shifts.spread.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn flat_and_negative_maps_give_no_false_numbers() {
        let flat = mass(&heat(3, 3, &[0.25; 9]), [0.0, 0.0, 1.0, 1.0], ALL).unwrap();
        assert!((flat.share.unwrap() - 1.0 / 9.0).abs() < 1e-9);
        assert_eq!((flat.z, flat.shifts.below), (None, 0.5));
        let logits = heat(1, 4, &[-1., 2., -3., 4.]);
        let m = mass(&logits, [3.0, 0.0, 4.0, 1.0], ALL).unwrap();
        assert_eq!((m.share, m.ratio(), m.inside), (None, None, 4.0));
        assert!(m.z.unwrap() > 1.0);
        assert_eq!(mass(&heat(1, 2, &[0., 0.]), ALL, ALL).unwrap().share, None);
        assert_eq!(mass(&heat(1, 2, &[f32::NAN, 0.]), ALL, ALL), None);
        assert_eq!(mass(&heat(0, 0, &[]), ALL, ALL), None);
    }

    #[test]
    fn what_is_beside_the_photograph_does_not_count() {
        let map = heat(1, 4, &[100., 1., 3., 100.]);
        let m = mass(&map, [0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0]).unwrap();
        assert_eq!((m.cells, m.share, m.area), (2, Some(0.25), 0.5));
        assert_eq!(mass(&map, ALL, [7.0, 0.0, 9.0, 1.0]), None);
        let top = peaks(&map, [1.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0], 5);
        let only = Peak {
            cell: [0, 1],
            value: 1.0,
            rank: 2,
        };
        assert_eq!(top, [only]);
    }
}
