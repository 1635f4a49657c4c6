//! YOLOv10's own blocks: SCDown and C2fCIB.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::csp::C2f;
use super::{Block, Chain, ConvSpec, load_conv};
use crate::attention::position_sensitive::Eye;
use crate::kernels::Conv2d;

/// SCDown: a 1×1 convolution for the channels, a depthwise one for the stride.
#[derive(Debug)]
pub(crate) struct ScDown {
    cv1: Conv2d,
    cv2: Conv2d,
}

impl ScDown {
    pub(crate) fn load(
        vb: &VarBuilder<'_>,
        [from, to]: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Result<Self> {
        let down = ConvSpec::depthwise(to, kernel).stride(stride).no_act();
        Ok(Self {
            cv1: load_conv(&vb.pp("cv1"), ConvSpec::new(from, to, 1))?,
            cv2: load_conv(&vb.pp("cv2"), down)?,
        })
    }
}

impl Block for ScDown {
    fn forward(&self, x: &Tensor, _: &mut Eye<'_>) -> Result<Tensor> {
        self.cv2.forward(&self.cv1.forward(x)?)
    }
}

/// SiLU of the sum of a 7×7 and a 3×3 depthwise convolution.
#[derive(Debug)]
struct RepVggDw {
    large: Conv2d,
    /// Absent in a fused checkpoint.
    small: Option<Conv2d>,
}

impl RepVggDw {
    fn load(vb: &VarBuilder<'_>, c: usize) -> Result<Self> {
        if vb.contains_tensor("conv.bias") {
            let large = load_conv(vb, ConvSpec::depthwise(c, 7).no_act())?;
            return Ok(Self { large, small: None });
        }
        let part = |name, kernel| load_conv(&vb.pp(name), ConvSpec::depthwise(c, kernel).no_act());
        Ok(Self {
            large: part("conv", 7)?,
            small: Some(part("conv1", 3)?),
        })
    }
}

impl Block for RepVggDw {
    fn forward(&self, x: &Tensor, _: &mut Eye<'_>) -> Result<Tensor> {
        let y = self.large.forward(x)?;
        match &self.small {
            Some(small) => (y + small.forward(x)?)?.silu(),
            None => y.silu(),
        }
    }
}

/// Depthwise and 1×1 convolutions in turn, added to the input if `add`.
#[derive(Debug)]
struct Cib {
    chain: Chain,
    add: bool,
}

impl Cib {
    fn load(vb: &VarBuilder<'_>, c: usize, shortcut: bool, large_kernel: bool) -> Result<Self> {
        let at = |i: usize| vb.pp(format!("cv1.{i}"));
        let middle: Box<dyn Block> = if large_kernel {
            Box::new(RepVggDw::load(&at(2), 2 * c)?)
        } else {
            Box::new(load_conv(&at(2), ConvSpec::depthwise(2 * c, 3))?)
        };
        let chain: Vec<Box<dyn Block>> = vec![
            Box::new(load_conv(&at(0), ConvSpec::depthwise(c, 3))?),
            Box::new(load_conv(&at(1), ConvSpec::new(c, 2 * c, 1))?),
            middle,
            Box::new(load_conv(&at(3), ConvSpec::new(2 * c, c, 1))?),
            Box::new(load_conv(&at(4), ConvSpec::depthwise(c, 3))?),
        ];
        Ok(Self {
            chain: Chain(chain),
            add: shortcut,
        })
    }
}

impl Block for Cib {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let y = self.chain.forward(x, eye)?;
        if self.add { x + y } else { Ok(y) }
    }
}

/// C2f wiring around CIB.
#[derive(Debug)]
pub(crate) struct C2fCib(C2f);

impl C2fCib {
    pub(crate) fn load(
        vb: &VarBuilder<'_>,
        channels: [usize; 2],
        n: usize,
        shortcut: bool,
        large_kernel: bool,
    ) -> Result<Self> {
        let part = |vb: &VarBuilder<'_>, c: usize| -> Result<Box<dyn Block>> {
            Ok(Box::new(Cib::load(vb, c, shortcut, large_kernel)?))
        };
        Ok(Self(C2f::with_parts(vb, channels, n, 0.5, part)?))
    }
}

impl Block for C2fCib {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        self.0.forward(x, eye)
    }
}
