//! YOLO's own position-sensitive attention, inside the blocks `C2PSA`, `PSA` and `C3k2`. Not to
//! be confused with polarized self-attention.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{self, Activation, Conv2d};

/// Loads a convolution with its BatchNorm folded in: `[out, in/groups, k, k]`, stride 1.
pub type LoadConv<'a> =
    &'a dyn Fn(&VarBuilder<'_>, [usize; 3], usize, Activation) -> Result<Conv2d>;

/// Multi-head attention over all positions with a depthwise position term.
#[derive(Debug)]
pub struct PositionSensitiveAttention {
    heads: usize,
    key_dim: usize,
    head_dim: usize,
    /// 1×1, to `heads · (2 · key_dim + head_dim)`, laid out per head: q, k, v.
    qkv: Conv2d,
    /// 1×1.
    proj: Conv2d,
    /// Depthwise 3×3 on the values.
    pe: Conv2d,
}

impl PositionSensitiveAttention {
    /// Builds the block for `dim` channels and `heads` heads; keys are half as wide as values.
    ///
    /// # Errors
    /// If the weights cannot be had.
    pub fn load(vb: &VarBuilder<'_>, dim: usize, heads: usize, conv: LoadConv<'_>) -> Result<Self> {
        if heads == 0 || !dim.is_multiple_of(heads) || dim / heads < 2 {
            candle_core::bail!("{dim} channels cannot be split into {heads} attention heads");
        }
        let head_dim = dim / heads;
        let key_dim = head_dim / 2;
        let width = dim + 2 * key_dim * heads;
        Ok(Self {
            heads,
            key_dim,
            head_dim,
            qkv: conv(&vb.pp("qkv"), [width, dim, 1], 1, Activation::None)?,
            proj: conv(&vb.pp("proj"), [dim, dim, 1], 1, Activation::None)?,
            pe: conv(&vb.pp("pe"), [dim, dim, 3], dim, Activation::None)?,
        })
    }

    /// `[B, C, H, W]` to the same shape.
    ///
    /// # Errors
    /// If `x` has other channels than the block was built for.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        let (n, groups) = (h * w, b * self.heads);
        let (kd, hd) = (self.key_dim, self.head_dim);
        let qkv = self.qkv.forward(x)?.reshape((groups, 2 * kd + hd, n))?;
        // Views only: the kernel reads and writes transposed tensors as they lie.
        let q = qkv.narrow(1, 0, kd)?.transpose(1, 2)?;
        let k = qkv.narrow(1, kd, kd)?.transpose(1, 2)?;
        let v = qkv.narrow(1, 2 * kd, hd)?;
        let scale = (kd as f64).powf(-0.5);
        let out = kernels::attention(&q, &k, &v.transpose(1, 2)?, scale)?
            .transpose(1, 2)?
            .reshape((b, c, h, w))?
            .contiguous()?;
        let v = v.contiguous()?.reshape((b, c, h, w))?;
        self.proj.forward(&self.pe.forward_plus(&v, &out)?)
    }
}
