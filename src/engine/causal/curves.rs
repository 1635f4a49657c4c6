//! Deletion and insertion: the picture is taken away cell by cell, the most important first, and
//! given back in the same order. Where the order means something, the score falls sooner and
//! comes back sooner than in a random order of the same cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;

use super::{Bench, Experiment, Finding, Found, Target, Trial};
use crate::attention::MapSize;
use crate::attention::view::Heat;
use crate::engine::{Placement, Scene};
use crate::picture::{FILL, Letterbox, Photo};
use crate::{Error, Result};

/// Most steps of a curve.
pub const MAX_STEPS: usize = 64;
/// The standard deviation of the blur is this part of the longer side.
const BLUR: f32 = 1.0 / 24.0;

/// What stands in the place of what is taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fill {
    /// The grey of the letterbox's border: what the network was trained to see where there is
    /// nothing.
    #[default]
    Grey,
    /// The picture itself, blurred.
    Blur,
}

/// Scores of a box over the share of the cells that are taken away or given back, from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// Taken away, most important first.
    pub deletion: Vec<[f32; 2]>,
    /// Given back, most important first.
    pub insertion: Vec<[f32; 2]>,
    /// Taken away in random order.
    pub random_deletion: Vec<[f32; 2]>,
    /// Given back in random order.
    pub random_insertion: Vec<[f32; 2]>,
    /// Cells that were ranked.
    pub cells: usize,
}

impl Curves {
    /// The area under a curve by trapezoids, over the part that is there. 0 for less than two
    /// points.
    pub fn area(curve: &[[f32; 2]]) -> f32 {
        let parts = curve.windows(2).map(|w| match w {
            [[a, p], [b, q]] => (b - a) * (p + q) / 2.0,
            _ => 0.0,
        });
        parts.sum()
    }
}

/// Runs of curves with so many steps.
pub(super) fn runs(steps: usize) -> usize {
    2 + 4 * (steps.clamp(1, MAX_STEPS) - 1)
}

/// The picture in the size in which it lies in the network input, so that no step depends on how
/// large the photograph is; and which cell of the map each of its pixels belongs to.
struct Stage {
    photo: Photo,
    fill: Vec<u8>,
    /// Place in `ranked` order of every pixel's cell; pixels of no cell are never taken away.
    owner: Vec<Option<u32>>,
    target: Target,
}

impl Stage {
    fn new(experiment: &Experiment, heat: &Heat, map: MapSize, fill: Fill) -> Self {
        let (side, _) = experiment.settings.size_on(&experiment.model);
        let original = &experiment.photo;
        let letterbox = Letterbox::new([original.width, original.height], [side, side]);
        let rgb = inside(&letterbox, &letterbox.apply(original));
        let [width, height] = letterbox.resized;
        let photo = Photo::of_pixels(&original.name, [width, height], rgb);
        let scale = [
            width as f32 / original.width as f32,
            height as f32 / original.height as f32,
        ];
        let [x1, y1, x2, y2] = experiment.target.rect;
        let scene = Scene {
            photo: Arc::new(photo.clone()),
            model: experiment.model.clone(),
            letterbox: Letterbox::new([width, height], [side, side]),
        };
        Self {
            owner: owners(scene.place(map), heat, [width, height]),
            fill: filling(&photo, fill),
            target: Target {
                rect: [x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1]],
                ..experiment.target
            },
            photo,
        }
    }

    /// The picture with only those cells that `stays` says.
    fn picture(&self, stays: impl Fn(u32) -> bool) -> Arc<Photo> {
        let mut rgb = self.photo.rgb.to_vec();
        let pixels = rgb.chunks_exact_mut(3).zip(self.fill.chunks_exact(3));
        for ((pixel, fill), owner) in pixels.zip(&self.owner) {
            if owner.is_some_and(|cell| !stays(cell)) {
                pixel.copy_from_slice(fill);
            }
        }
        let size = [self.photo.width, self.photo.height];
        Arc::new(Photo::of_pixels(&self.photo.name, size, rgb))
    }

    /// The cells of the map that have pixels.
    fn cells(&self) -> Vec<u32> {
        let mut cells: Vec<u32> = self.owner.iter().copied().flatten().collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }
}

/// The photograph alone out of the network input, as pixels.
fn inside(letterbox: &Letterbox, input: &[u8]) -> Vec<u8> {
    let [width, height] = letterbox.input;
    let ([left, top], [wide, high]) = (letterbox.pad, letterbox.resized);
    let plane = width * height;
    let mut rgb = Vec::with_capacity(3 * wide * high);
    for at in (top..top + high).flat_map(|y| (left..left + wide).map(move |x| y * width + x)) {
        rgb.extend((0..3).map(|c| input.get(c * plane + at).copied().unwrap_or(FILL)));
    }
    rgb
}

/// The cell of the map under the middle of each pixel.
fn owners(place: Placement, heat: &Heat, [width, height]: [usize; 2]) -> Vec<Option<u32>> {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let cell = |(x, y): (usize, usize)| {
        let [x, y] = place.to_map(x as f32 + 0.5, y as f32 + 0.5);
        let col = x / heat.extent[0] * heat.cols as f32;
        let row = y / heat.extent[1] * heat.rows as f32;
        let on_map = col >= 0.0 && row >= 0.0 && col < heat.cols as f32 && row < heat.rows as f32;
        on_map.then(|| (row as usize * heat.cols + col as usize) as u32)
    };
    pixels.map(cell).collect()
}

fn filling(photo: &Photo, fill: Fill) -> Vec<u8> {
    let grey = || vec![FILL; photo.rgb.len()];
    if fill == Fill::Grey {
        return grey();
    }
    let size = [photo.width as u32, photo.height as u32];
    let sigma = photo.width.max(photo.height) as f32 * BLUR;
    RgbImage::from_raw(size[0], size[1], photo.rgb.to_vec()).map_or_else(grey, |image| {
        image::imageops::fast_blur(&image, sigma).into_raw()
    })
}

/// The cells in a random order that follows from the seed.
fn shuffled(mut cells: Vec<u32>, seed: u64) -> Vec<u32> {
    // splitmix64, and Fisher and Yates from the end. The bias of the remainder is below 2⁻⁴⁰.
    let mut state = seed;
    let mut draw = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    };
    for i in (1..cells.len()).rev() {
        cells.swap(i, draw(i + 1));
    }
    cells
}

/// Cells by their value, largest first; equal ones stay in the order they come in, which is random:
/// in reading order a flat map would take the picture away from the top.
fn ranked(random: &[u32], heat: &Heat) -> Vec<u32> {
    let value = |cell: u32| heat.values.get(cell as usize).copied().unwrap_or(f32::MIN);
    let mut cells = random.to_vec();
    cells.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    cells
}

/// One of the four curves.
struct Order<'a> {
    cells: &'a [u32],
    /// Whether cells are taken away; else they are given back.
    takes: bool,
    curve: fn(&mut Curves) -> &mut Vec<[f32; 2]>,
}

impl Bench<'_> {
    /// Runs both ends, then the steps between them.
    pub(super) fn curves(&mut self, each: &mut dyn FnMut(usize, &Finding)) -> Result<Finding> {
        let experiment = self.experiment;
        let Trial::Curves {
            heat,
            map,
            fill,
            steps,
            seed,
        } = &experiment.trial
        else {
            return Err(Error::Compute(candle_core::Error::msg(
                "no curves are asked for",
            )));
        };
        let stage = Stage::new(experiment, heat, *map, *fill);
        let random = shuffled(stage.cells(), *seed);
        let best = ranked(&random, heat);
        let steps = (*steps).clamp(1, MAX_STEPS);
        let mut places = vec![0u32; heat.values.len()];
        let whole = self.on_stage(&stage, |_| true)?;
        let empty = self.on_stage(&stage, |_| false)?;
        let mut curves = Curves {
            deletion: vec![[0.0, whole]],
            insertion: vec![[0.0, empty]],
            random_deletion: vec![[0.0, whole]],
            random_insertion: vec![[0.0, empty]],
            cells: best.len(),
        };
        let finding = |curves: &Curves| Finding {
            before: whole,
            found: Found::Curves(curves.clone()),
        };
        each(self.done, &finding(&curves));
        let orders: [Order<'_>; 4] = [
            (
                &best,
                true,
                (|c| &mut c.deletion) as fn(&mut Curves) -> &mut Vec<[f32; 2]>,
            ),
            (&best, false, |c| &mut c.insertion),
            (&random, true, |c| &mut c.random_deletion),
            (&random, false, |c| &mut c.random_insertion),
        ]
        .map(|(cells, takes, curve)| Order {
            cells,
            takes,
            curve,
        });
        for step in 1..steps {
            let count = (step * best.len() + steps / 2) / steps;
            for order in &orders {
                for (place, cell) in order.cells.iter().enumerate() {
                    places[*cell as usize] = place as u32;
                }
                let is_first = |cell: u32| (places[cell as usize] as usize) < count;
                let score = self.on_stage(&stage, |cell| is_first(cell) != order.takes)?;
                let share = count as f32 / best.len().max(1) as f32;
                (order.curve)(&mut curves).push([share, score]);
                each(self.done, &finding(&curves));
            }
        }
        for order in &orders {
            (order.curve)(&mut curves).push([1.0, if order.takes { empty } else { whole }]);
        }
        each(self.done, &finding(&curves));
        Ok(finding(&curves))
    }

    /// The score of the box on the picture with those cells that `stays` says.
    fn on_stage(&mut self, stage: &Stage, stays: impl Fn(u32) -> bool) -> Result<f32> {
        let erased: BTreeMap<_, _> = self.experiment.settings.erased.clone();
        let settings = self.experiment.settings(erased);
        let outcome = self.run(&stage.picture(stays), settings)?;
        Ok(stage.target.score(&outcome.detected.list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_that_of_trapezoids() {
        assert_eq!(Curves::area(&[[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]), 0.5);
        assert_eq!(Curves::area(&[[0.0, 1.0], [0.25, 0.0], [1.0, 0.0]]), 0.125);
        assert_eq!((Curves::area(&[[0.0, 1.0]]), Curves::area(&[])), (0.0, 0.0));
    }

    #[test]
    fn equal_cells_keep_their_random_order() {
        let random = shuffled((0..50).collect(), 7);
        assert_eq!(random, shuffled((0..50).collect(), 7));
        assert_ne!(random, shuffled((0..50).collect(), 8));
        let mut sorted = random.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        let values: Vec<f32> = (0..50).map(|i| (i / 25) as f32).collect();
        let heat = Heat::of_cells("w", [5, 10], values.into());
        let best = ranked(&random, &heat);
        assert!(best[..25].iter().all(|c| *c >= 25));
        let upper: Vec<u32> = random.iter().copied().filter(|c| *c >= 25).collect();
        assert_eq!(best[..25], upper);
    }
}
