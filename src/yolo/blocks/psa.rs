//! Blocks around YOLO's position-sensitive attention: PSABlock, C2PSA, PSA.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{Block, ConvSpec, load_conv};
use crate::attention::position_sensitive::PositionSensitiveAttention;
use crate::kernels::{Activation, Conv2d};

/// `x + attention(x)`, then `x + feed-forward(x)`.
#[derive(Debug)]
pub(super) struct PsaBlock {
    attn: PositionSensitiveAttention,
    up: Conv2d,
    down: Conv2d,
}

impl PsaBlock {
    pub(super) fn load(vb: &VarBuilder<'_>, c: usize, heads: usize) -> Result<Self> {
        let conv = |vb: &VarBuilder<'_>, [to, from, kernel]: [usize; 3], groups, act| {
            let spec = ConvSpec {
                groups,
                act,
                ..ConvSpec::new(from, to, kernel)
            };
            load_conv(vb, spec)
        };
        Ok(Self {
            attn: PositionSensitiveAttention::load(&vb.pp("attn"), c, heads, &conv)?,
            up: conv(&vb.pp("ffn.0"), [2 * c, c, 1], 1, Activation::Silu)?,
            down: conv(&vb.pp("ffn.1"), [c, 2 * c, 1], 1, Activation::None)?,
        })
    }
}

impl Block for PsaBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attn.forward(x)?)?;
        self.down.forward_plus(&self.up.forward(&x)?, &x)
    }
}

/// C2PSA: half of the channels go through position-sensitive blocks. YOLOv10's PSA is the same
/// with one block whose names carry no `m.0`.
#[derive(Debug)]
pub(crate) struct C2Psa {
    cv1: Conv2d,
    cv2: Conv2d,
    blocks: Vec<PsaBlock>,
    half: usize,
}

impl C2Psa {
    pub(crate) fn load(vb: &VarBuilder<'_>, c: usize, n: usize) -> Result<Self> {
        let names: Vec<String> = (0..n).map(|i| format!("m.{i}")).collect();
        let at = names.iter().map(|name| vb.pp(name)).collect();
        Self::with_blocks(vb, c, at)
    }

    /// YOLOv10's form.
    pub(crate) fn load_single(vb: &VarBuilder<'_>, c: usize) -> Result<Self> {
        Self::with_blocks(vb, c, vec![vb.clone()])
    }

    fn with_blocks(vb: &VarBuilder<'_>, c: usize, at: Vec<VarBuilder<'_>>) -> Result<Self> {
        let half = c / 2;
        let heads = (half / 64).max(1);
        Ok(Self {
            cv1: load_conv(&vb.pp("cv1"), ConvSpec::new(c, 2 * half, 1))?,
            cv2: load_conv(&vb.pp("cv2"), ConvSpec::new(2 * half, c, 1))?,
            blocks: at
                .iter()
                .map(|vb| PsaBlock::load(vb, half, heads))
                .collect::<Result<_>>()?,
            half,
        })
    }
}

impl Block for C2Psa {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.cv1.forward(x)?;
        let a = y.narrow(1, 0, self.half)?;
        let mut b = y.narrow(1, self.half, self.half)?.contiguous()?;
        for block in &self.blocks {
            b = block.forward(&b)?;
        }
        self.cv2.forward_joined(&[a, b])
    }
}
