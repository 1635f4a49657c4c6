//! A tile of a convolution's result between the registers and the output.

use super::activation::Activation;
use super::lanes::{self, Lanes, Program};
use super::micro::{MR, NR};

/// Rows of pixels of the channels of a block, on a cache line.
#[repr(align(64))]
pub(super) struct Tile(pub(super) [f32; MR * NR]);

/// Columns of a tile that follow each other in the output.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) column: usize,
    pub(super) pixel: usize,
    pub(super) len: usize,
}

impl Place {
    /// All columns, from one pixel on.
    pub(super) fn whole(pixel: usize, len: usize) -> [Self; 1] {
        let column = 0;
        [Self { column, pixel, len }]
    }
}

impl Tile {
    pub(super) fn zeros() -> Self {
        Self([0.0; MR * NR])
    }

    /// Adds to the first rows what `sums` has for each, by pixel, and applies the activation.
    pub(super) fn finish<'a>(
        &mut self,
        rows: usize,
        places: &[Place],
        sums: impl Fn(usize) -> &'a [f32],
        act: Activation,
    ) {
        let mut other = Self::zeros();
        for (r, row) in other.0.chunks_exact_mut(NR).enumerate().take(rows) {
            for place in places {
                row[place.column..place.column + place.len]
                    .copy_from_slice(&sums(r)[place.pixel..place.pixel + place.len]);
            }
        }
        let tile = self;
        lanes::run(Finish { tile, other, act });
    }
}

/// The activation of the sum of two tiles.
struct Finish<'a> {
    tile: &'a mut Tile,
    other: Tile,
    act: Activation,
}

impl Program for Finish<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (to, from) = (self.tile.0.as_mut_ptr(), self.other.0.as_ptr());
        for at in (0..MR * NR).step_by(L::N) {
            // SAFETY: both are whole vectors long.
            unsafe {
                let sum = L::load(to.add(at)).plus(L::load(from.add(at)));
                let sum = match self.act {
                    Activation::None => sum,
                    Activation::Silu => sum.silu(),
                };
                sum.store(to.add(at));
            }
        }
    }
}
