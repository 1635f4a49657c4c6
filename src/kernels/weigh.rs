//! Weighing a map by channel and by place at once.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::isa::vectorised;
use super::output::{Parts, filled};
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// How the weight of a channel and that of a place come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighing {
    /// `x·channel + x·place`
    Sum,
    /// `x·channel·place`
    Product,
}

/// `x` `[B, C, N]` weighed by `channels` `[B, C, 1]` and `places` `[B, 1, N]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn weigh(x: &Tensor, channels: &Tensor, places: &Tensor, how: Weighing) -> Result<Tensor> {
    let (b, c, n) = x.dims3()?;
    if channels.dims() != [b, c, 1] || places.dims() != [b, 1, n] {
        bail!(
            "{:?} weighed by {:?} and {:?}: expected [B, C, 1] and [B, 1, N]",
            x.shape(),
            channels.shape(),
            places.shape()
        );
    }
    if is_fast(x) && is_fast(channels) && is_fast(places) {
        let (channels, places) = (channels.contiguous()?, places.contiguous()?);
        x.contiguous()?
            .apply_op3_no_bwd(&channels, &places, &Run(how))
    } else {
        plain::weigh(x, channels, places, how)
    }
}

struct Run(Weighing);

impl CustomOp3 for Run {
    fn name(&self) -> &'static str {
        "weigh"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, channels, places) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let (_, c, n) = l1.shape().dims3()?;
        let row = |i: usize, out: Parts<'_>| {
            let places = &places[i / c * n..][..n];
            with_scratch(n, |y| {
                weigh_row(self.0, &x[i * n..(i + 1) * n], channels[i], places, y);
                // SAFETY: each task writes its own row.
                unsafe { out.write(i * n, y) };
            });
        };
        let run = |out: Parts<'_>| {
            let rows = (0..channels.len()).into_par_iter();
            rows.for_each(|i| row(i, out));
        };
        // SAFETY: every row is written.
        let y = unsafe { filled(x.len(), run) };
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }
}

vectorised! {
    fn weigh_row(how: Weighing, x: &[f32], channel: f32, places: &[f32], y: &mut [f32]) {
        let all = y.iter_mut().zip(x.iter().zip(places));
        match how {
            Weighing::Sum => all.for_each(|(y, (x, place))| *y = x * place + x * channel),
            Weighing::Product => all.for_each(|(y, (x, place))| *y = x * channel * place),
        }
    }
}
