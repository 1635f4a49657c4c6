//! Spatial pyramid pooling and upsampling.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{Block, ConvSpec, load_conv};
use crate::kernels::{self, Conv2d};

/// SPPF: chained max-pools of stride 1, joined by a 1×1 convolution.
#[derive(Debug)]
pub(crate) struct Sppf {
    cv1: Conv2d,
    cv2: Conv2d,
    kernel: usize,
    pools: usize,
    add: bool,
}

impl Sppf {
    /// `act`: YOLO26 has no activation after `cv1`, the others have SiLU.
    pub(crate) fn load(
        vb: &VarBuilder<'_>,
        [from, to]: [usize; 2],
        kernel: usize,
        pools: usize,
        shortcut: bool,
        act: bool,
    ) -> Result<Self> {
        let half = from / 2;
        let first = ConvSpec::new(from, half, 1);
        let first = if act { first } else { first.no_act() };
        Ok(Self {
            cv1: load_conv(&vb.pp("cv1"), first)?,
            cv2: load_conv(&vb.pp("cv2"), ConvSpec::new(half * (pools + 1), to, 1))?,
            kernel,
            pools,
            add: shortcut && from == to,
        })
    }
}

impl Block for Sppf {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut all = vec![self.cv1.forward(x)?];
        for i in 0..self.pools {
            all.push(kernels::max_pool2d_same(&all[i], self.kernel)?);
        }
        let y = self.cv2.forward_joined(&all)?;
        if self.add { x + y } else { Ok(y) }
    }
}

/// Nearest-neighbour upsampling by a whole factor.
#[derive(Debug)]
pub(crate) struct Upsample(pub usize);

impl Block for Upsample {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.0 == 2 {
            return kernels::upsample_nearest2x(x);
        }
        let (_, _, h, w) = x.dims4()?;
        x.upsample_nearest2d(h * self.0, w * self.0)
    }
}
