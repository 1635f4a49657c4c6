//! The register-blocked product at the heart of the convolutions and of attention.
//!
//! A tile of [`MR`] rows (output channels, keys) × up to [`NR`] columns (pixels, queries) is held in
//! registers while the shared dimension is walked once. Every element of the result is summed
//! in the same order whatever the tile, so a result does not depend on how work was divided.

use std::marker::PhantomData;

use super::activation::Activation;
use super::isa::Isa;
use super::lanes::{Four, Lanes};

/// Rows of a tile: the height of a packed block of the left operand.
pub(super) const MR: usize = 8;
/// Columns are computed in steps of this many.
pub(super) const LANE: usize = 16;
/// Most columns of a tile.
pub(super) const NR: usize = 3 * LANE;

/// The rows of the right operand of a product.
pub(super) trait Walk: Copy {
    /// Columns that can be read from each of the first `depth` rows.
    fn width(self, depth: usize) -> usize;
    /// The start of row `k`.
    ///
    /// # Safety
    /// `k` must be below a depth for which there is at least one column.
    unsafe fn row(self, k: usize) -> *const f32;
}

/// Rows at equal distances.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a>(pub(super) &'a [f32], pub(super) usize);

impl Walk for Strided<'_> {
    fn width(self, depth: usize) -> usize {
        let last = depth.saturating_sub(1) * self.1;
        self.0.len().saturating_sub(last)
    }
    #[inline(always)]
    unsafe fn row(self, k: usize) -> *const f32 {
        // SAFETY: row `k` has a column.
        unsafe { self.0.as_ptr().add(k * self.1) }
    }
}

/// Rows wherever a table says: the taps of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    values: &'a [f32],
    rows: &'a [usize],
    largest: usize,
}

impl<'a> Table<'a> {
    pub(super) fn new(rows: &'a [usize]) -> Self {
        let largest = rows.iter().max().map_or(0, |&row| row);
        Self {
            values: &[],
            rows,
            largest,
        }
    }

    /// Number of rows.
    pub(super) fn len(self) -> usize {
        self.rows.len()
    }

    /// The same rows of other values.
    pub(super) fn of(self, values: &'a [f32]) -> Self {
        Self { values, ..self }
    }
}

impl Walk for Table<'_> {
    fn width(self, depth: usize) -> usize {
        assert!(depth <= self.rows.len(), "table too short");
        self.values.len().saturating_sub(self.largest)
    }
    #[inline(always)]
    unsafe fn row(self, k: usize) -> *const f32 {
        // SAFETY: even the largest row has a column.
        unsafe { self.values.as_ptr().add(self.rows[k]) }
    }
}

/// Every row a slice of its own.
#[derive(Clone, Copy)]
pub(super) struct Slices<'a> {
    rows: &'a [&'a [f32]],
    shortest: usize,
    first: usize,
}

impl<'a> Slices<'a> {
    pub(super) fn new(rows: &'a [&'a [f32]]) -> Self {
        let shortest = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        Self {
            rows,
            shortest,
            first: 0,
        }
    }

    /// The same rows from a later column on.
    pub(super) fn from(self, first: usize) -> Self {
        Self { first, ..self }
    }
}

impl Walk for Slices<'_> {
    fn width(self, depth: usize) -> usize {
        assert!(depth <= self.rows.len(), "too few rows");
        self.shortest.saturating_sub(self.first)
    }
    #[inline(always)]
    unsafe fn row(self, k: usize) -> *const f32 {
        // SAFETY: even the shortest row has a column there.
        unsafe { self.rows[k].as_ptr().add(self.first) }
    }
}

/// Where the rows of a result begin: memory that `MR` rows of a tile, `step` apart, may be written to.
pub(super) struct Target<'a> {
    start: *mut f32,
    step: usize,
    width: usize,
    memory: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// Rows of `width` values, `step` apart, from the start of a slice.
    pub(super) fn new(c: &'a mut [f32], step: usize, width: usize) -> Self {
        assert!(
            step >= width && c.len() >= (MR - 1) * step + width,
            "result too short"
        );
        // SAFETY: the slice holds all rows, and is borrowed for as long as the target lives.
        unsafe { Self::from_raw(c.as_mut_ptr(), step, width) }
    }

    /// # Safety
    /// Nobody else may use `width` values from `start` and from each of the next `MR - 1` multiples of `step`.
    pub(super) unsafe fn from_raw(start: *mut f32, step: usize, width: usize) -> Self {
        Self {
            start,
            step,
            width,
            memory: PhantomData,
        }
    }
}

/// `c[r][j] = start[r] + Σ_k a[k·MR + r] · b[k][j]` for `r < MR`, `j < lanes·LANE`, `k < depth`, where
/// row `r` of the result begins at `c[r·ldc]`.
///
/// Panics when a slice is too short for its part or `lanes` is not 1, 2 or 3: a defect of the caller.
pub(super) fn tile_product<W: Walk>(
    isa: Isa,
    depth: usize,
    left: (&[f32; MR], &[f32]),
    right: W,
    lanes: usize,
    (c, ldc): (&mut [f32], usize),
) {
    let target = Target::new(c, ldc, lanes * LANE);
    tile_product_to(isa, depth, left, right, lanes, (target, Activation::None));
}

/// The same with an activation applied to the result.
pub(super) fn tile_product_to<W: Walk>(
    isa: Isa,
    depth: usize,
    (start, a): (&[f32; MR], &[f32]),
    right: W,
    lanes: usize,
    (c, act): (Target<'_>, Activation),
) {
    let width = lanes * LANE;
    assert!(
        (1..=3).contains(&lanes),
        "a tile has 1 to 3 lanes, not {lanes}"
    );
    assert!(a.len() >= depth * MR, "left operand too short");
    assert!(
        depth == 0 || right.width(depth) >= width,
        "right operand too short"
    );
    assert!(c.width >= width, "result too narrow");
    let t = Tile {
        depth,
        start,
        a: a.as_ptr(),
        right,
        c: c.start,
        ldc: c.step,
    };
    // SAFETY: the assertions above and the promise of `Target` are what `Tile` demands, and `isa` was found
    // on this processor.
    unsafe {
        match act {
            Activation::None => run::<W, false>(isa, &t, lanes),
            Activation::Silu => run::<W, true>(isa, &t, lanes),
        }
    }
}

/// # Safety
/// See [`Tile`]; the processor must have the instruction set.
#[inline(always)]
unsafe fn run<W: Walk, const SILU: bool>(isa: Isa, t: &Tile<'_, W>, lanes: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::<W, SILU>(t, lanes),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::<W, SILU>(t, lanes),
            Isa::Portable => portable::<W, SILU>(t, lanes),
        }
    }
}

/// The operands of one tile. Whoever reads through it relies on: `a` holds `depth·MR` values; each of the `depth`
/// rows of `right`, and each of `MR` rows of `c`, `ldc` apart, holds the columns asked for.
struct Tile<'a, W> {
    depth: usize,
    start: &'a [f32; MR],
    a: *const f32,
    right: W,
    c: *mut f32,
    ldc: usize,
}

impl<W: Walk> Tile<'_, W> {
    /// The part of the tile of `R` rows from `row` and `V` registers from column `col`.
    ///
    /// # Safety
    /// See [`Tile`]; the processor must have the instructions of `L`.
    #[inline(always)]
    unsafe fn block<L: Lanes, const R: usize, const V: usize, const SILU: bool>(
        &self,
        row: usize,
        col: usize,
    ) {
        // SAFETY: rows below `MR` and columns below the width that `tile_product` checked.
        unsafe {
            let mut acc = [[L::splat(0.0); V]; R];
            for (sums, start) in acc.iter_mut().zip(&self.start[row..row + R]) {
                *sums = [L::splat(*start); V];
            }
            let mut a = self.a.add(row);
            for k in 0..self.depth {
                let b = self.right.row(k).add(col);
                let mut right = [L::splat(0.0); V];
                for (v, r) in right.iter_mut().enumerate() {
                    *r = L::load(b.add(v * L::N));
                }
                for (r, sums) in acc.iter_mut().enumerate() {
                    let left = L::splat(*a.add(r));
                    for (sum, &right) in sums.iter_mut().zip(&right) {
                        *sum = sum.add_product(left, right);
                    }
                }
                a = a.wrapping_add(MR);
            }
            for (r, sums) in acc.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let sum = if SILU { sum.silu() } else { *sum };
                    sum.store(self.c.add((row + r) * self.ldc + col + v * L::N));
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m512};

    use super::{LANE, MR, Tile, Walk};

    /// 8 rows × 3 registers: 24 of the 32 registers hold sums.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512<W: Walk, const SILU: bool>(t: &Tile<'_, W>, lanes: usize) {
        // SAFETY: promised by the caller.
        unsafe {
            match lanes {
                1 => t.block::<__m512, MR, 1, SILU>(0, 0),
                2 => t.block::<__m512, MR, 2, SILU>(0, 0),
                _ => t.block::<__m512, MR, 3, SILU>(0, 0),
            }
        }
    }

    /// 4 rows × 3 registers: 12 of the 16 registers hold sums.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2<W: Walk, const SILU: bool>(t: &Tile<'_, W>, lanes: usize) {
        // SAFETY: promised by the caller.
        unsafe {
            for row in [0, 4] {
                if lanes == 3 {
                    t.block::<__m256, 4, 3, SILU>(row, 0);
                    t.block::<__m256, 4, 3, SILU>(row, 24);
                } else {
                    for lane in 0..lanes {
                        t.block::<__m256, 4, 2, SILU>(row, lane * LANE);
                    }
                }
            }
        }
    }
}

/// aarch64 has 32 vector registers, the x86-64 baseline 16.
const PORTABLE_ROWS: usize = if cfg!(target_arch = "aarch64") {
    MR
} else {
    MR / 2
};

/// # Safety
/// See [`Tile`].
unsafe fn portable<W: Walk, const SILU: bool>(t: &Tile<'_, W>, lanes: usize) {
    for row in (0..MR).step_by(PORTABLE_ROWS) {
        for col in (0..lanes * LANE).step_by(2 * Four::N) {
            // SAFETY: promised by the caller.
            unsafe { t.block::<Four, PORTABLE_ROWS, 2, SILU>(row, col) }
        }
    }
}

/// Packs a matrix of `rows` × `depth` into blocks of [`MR`] rows, `[ceil(rows / MR)][depth][MR]`,
/// missing rows as zeros. `at(row, k)` reads an element.
pub(super) fn pack_rows(
    rows: usize,
    depth: usize,
    packed: &mut [f32],
    at: impl Fn(usize, usize) -> f32,
) {
    if depth == 0 {
        return;
    }
    for (block, out) in packed.chunks_exact_mut(depth * MR).enumerate() {
        for (k, column) in out.chunks_exact_mut(MR).enumerate() {
            for (r, v) in column.iter_mut().enumerate() {
                let row = block * MR + r;
                *v = if row < rows { at(row, k) } else { 0.0 };
            }
        }
    }
}

/// Length of what [`pack_rows`] fills.
pub(super) fn packed_len(rows: usize, depth: usize) -> usize {
    rows.div_ceil(MR) * MR * depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_multiplies_the_same() {
        // Small integers: sums are exact, so the order of summation cannot matter.
        let (depth, ldb, ldc) = (37, 50, 49);
        let a: Vec<f32> = (0..depth * MR).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..depth * ldb)
            .map(|i| (i * 5 % 13) as f32 - 6.0)
            .collect();
        let start: [f32; MR] = std::array::from_fn(|r| r as f32);
        let table: Vec<usize> = (0..depth).map(|k| k * ldb).collect();
        for &isa in Isa::available() {
            for lanes in 1..=3 {
                let mut c = vec![f32::NAN; MR * ldc];
                if lanes == 2 {
                    tile_product(
                        isa,
                        depth,
                        (&start, &a),
                        Table::new(&table).of(&b),
                        lanes,
                        (&mut c, ldc),
                    );
                } else {
                    tile_product(
                        isa,
                        depth,
                        (&start, &a),
                        Strided(&b, ldb),
                        lanes,
                        (&mut c, ldc),
                    );
                }
                for r in 0..MR {
                    for j in 0..ldc {
                        let got = c[r * ldc + j];
                        if j < lanes * LANE {
                            let want: f32 = start[r]
                                + (0..depth)
                                    .map(|k| a[k * MR + r] * b[k * ldb + j])
                                    .sum::<f32>();
                            assert_eq!(got, want, "{isa:?} lanes {lanes} row {r} column {j}");
                        } else {
                            assert!(got.is_nan(), "{isa:?} wrote beyond its {lanes} lanes");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn packing_fills_the_last_block_with_zeros() {
        let mut packed = vec![f32::NAN; packed_len(9, 2)];
        pack_rows(9, 2, &mut packed, |row, k| (row * 10 + k) as f32);
        assert_eq!(packed[..4], [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(packed[8..10], [1.0, 11.0]);
        assert_eq!(packed[16..18], [80.0, 0.0]);
        assert_eq!(packed[24..26], [81.0, 0.0]);
    }
}
