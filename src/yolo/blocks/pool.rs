//! Spatial pyramid pooling and upsampling.

use candle_core::{Result, Tensor};

use super::csp::adds;
use super::rows::{Built, MAX_KERNEL, RowKind, RowSpec};
use super::{Block, ConvSpec, Source, load_conv};
use crate::attention::position_sensitive::Eye;
use crate::kernels::{self, Activation, Conv2d};
use crate::yolo::Map;

pub(super) const ROWS: &[RowKind] = &[
    RowKind::once("SPPF", sppf_row),
    RowKind::once("Upsample", upsample_row),
];

/// SPPF: chained max-pools of stride 1, joined by a 1×1 convolution.
#[derive(Debug)]
struct Sppf {
    cv1: Conv2d,
    cv2: Conv2d,
    kernel: usize,
    pools: usize,
    add: bool,
}

impl Sppf {
    fn load(
        source: &Source<'_>,
        [from, to]: [usize; 2],
        [kernel, pools]: [usize; 2],
        shortcut: bool,
        act: Activation,
    ) -> Result<Self> {
        let half = from / 2;
        let joined = ConvSpec::new(half * (pools + 1), to, 1);
        Ok(Self {
            cv1: load_conv(&source.pp("cv1"), ConvSpec::new(from, half, 1).act(act))?,
            cv2: load_conv(&source.pp("cv2"), joined)?,
            kernel,
            pools,
            add: adds(source, shortcut && from == to),
        })
    }
}

impl Block for Sppf {
    fn forward(&self, x: &Tensor, _: &mut Eye<'_>) -> Result<Tensor> {
        let mut all = vec![self.cv1.forward(x)?];
        for i in 0..self.pools {
            all.push(kernels::max_pool2d_same(&all[i], self.kernel)?);
        }
        match self.add {
            true => self.cv2.forward_joined_plus(&all, x),
            false => self.cv2.forward_joined(&all),
        }
    }
}

/// Nearest-neighbour upsampling by a whole factor.
#[derive(Debug)]
struct Upsample(usize);

impl Block for Upsample {
    fn forward(&self, x: &Tensor, _: &mut Eye<'_>) -> Result<Tensor> {
        if self.0 == 2 {
            return kernels::upsample_nearest2x(x);
        }
        let (_, _, h, w) = x.dims4()?;
        x.upsample_nearest2d(h * self.0, w * self.0)
    }

    fn forward_map(&self, x: &Map, eye: &mut Eye<'_>) -> Result<Map> {
        match self.0 {
            2 => x.doubled(),
            _ => Ok(self.forward(&x.tensor()?, eye)?.into()),
        }
    }
}

/// `[channels, kernel, pools, shortcut]`
fn sppf_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let kernel = r.arg(1, "kernel").odd(Some(5), MAX_KERNEL)?;
    let pools = r.arg(2, "pools").count(Some(3), 16)?;
    let shortcut = r.arg(3, "shortcut").switch(false)?;
    // YOLO26 writes all four arguments and has no activation there; a checkpoint may state it.
    let act = match r.row.args.len() <= 2 {
        true => Activation::Silu,
        false => Activation::None,
    };
    let sppf = Sppf::load(&r.source, [r.from, to], [kernel, pools], shortcut, act);
    Built::new(sppf, to)
}

/// `[size, scale_factor, mode, align_corners]`; the size follows from the factor.
fn upsample_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    if let Some(size) = r.arg(0, "size").value {
        return Err(format!(
            "size is {}; expected None and a scale_factor",
            size.show()
        ));
    }
    let mode = r.arg(2, "mode").word("nearest")?;
    if mode != "nearest" {
        return Err(format!("mode is {mode}; expected nearest"));
    }
    let factor = r.arg(1, "scale_factor");
    // 2.0 is the same as 2.
    let factor = match factor.number()? {
        Some(v) if v.fract() == 0.0 && (1.0..=16.0).contains(&v) => v as usize,
        Some(_) => factor.count(None, 16)?,
        None => 2,
    };
    Built::strided(Ok(Upsample(factor)), r.from, 1.0 / factor as f64)
}
