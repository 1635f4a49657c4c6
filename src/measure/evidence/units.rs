//! The super tokens, regions or tokens of a box, and where they read from.

use super::{Rect, cells_in, middles};
use crate::attention::Trace;
use crate::attention::view::Units;

/// Units that are listed with what they read.
const SOURCES: usize = 4;

/// A unit with cells inside the box.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitShare {
    /// The unit.
    pub unit: usize,
    /// Its cells inside the box.
    pub inside: usize,
    /// Its cells on the photograph.
    pub cells: usize,
    /// Share of what it reads that lies inside the box, each unit counted by the share of its
    /// cells inside. `None` where that was not kept, or nothing is read.
    pub reads_inside: Option<f64>,
    /// The units that it reads most, with their shares, largest first.
    pub reads: Vec<(usize, f32)>,
}

/// The units of a box.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitsInside {
    /// What they are.
    pub units: Units,
    /// Those with cells inside, most cells first.
    pub list: Vec<UnitShare>,
    /// Share of what the cells inside read that lies inside; `None` unless all is known.
    pub reads_inside: Option<f64>,
    /// What that would be if every unit read all units alike.
    pub by_chance: f64,
}

/// The units whose cells lie in the box `rect` of the photograph `photo`; `None` if the trace has no
/// units, or none of them has a cell there.
pub fn units_inside(trace: &dyn Trace, rect: Rect, photo: Rect) -> Option<UnitsInside> {
    let units = trace.units()?;
    let map = trace.map();
    let count = units.grid[0] * units.grid[1];
    let (mut cells, mut inside) = (vec![0usize; count], vec![0usize; count]);
    let [rows, cols] = middles(photo, [1.0, 1.0], map);
    let [high, wide] = cells_in(rect, [1.0, 1.0], map);
    for (y, x) in rows.flat_map(|y| cols.clone().map(move |x| (y, x))) {
        let Some(unit) = trace.unit_at([y, x], None).filter(|u| *u < count) else {
            continue;
        };
        cells[unit] += 1;
        inside[unit] += usize::from(high.contains(&y) && wide.contains(&x));
    }
    let part = |u: usize| inside[u] as f64 / cells[u].max(1) as f64;
    let mut list: Vec<UnitShare> = (0..count)
        .filter(|u| inside[*u] > 0)
        .map(|unit| {
            let mut reads = trace.reads(unit).unwrap_or_default();
            let all: f64 = reads.iter().map(|r| f64::from(r.1)).sum();
            let within = reads.iter().filter(|r| r.0 < count);
            let within: f64 = within.map(|r| f64::from(r.1) * part(r.0)).sum();
            reads.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            reads.truncate(SOURCES);
            UnitShare {
                unit,
                inside: inside[unit],
                cells: cells[unit],
                reads_inside: (all > 0.0).then(|| within / all),
                reads,
            }
        })
        .collect();
    list.sort_by(|a, b| b.inside.cmp(&a.inside).then(a.unit.cmp(&b.unit)));
    let own: usize = list.iter().map(|u| u.inside).sum();
    let known: Option<Vec<f64>> = list
        .iter()
        .map(|u| Some(u.reads_inside? * u.inside as f64))
        .collect();
    (own > 0).then(|| UnitsInside {
        units,
        reads_inside: known.map(|k| k.iter().sum::<f64>() / own as f64),
        by_chance: (0..count).map(part).sum::<f64>() / count as f64,
        list,
    })
}
