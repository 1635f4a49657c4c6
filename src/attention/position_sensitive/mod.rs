//! YOLO's own position-sensitive attention, inside the blocks `C2PSA`, `PSA`, `PSABlock` and
//! `C3k2` with `attn`. Not to be confused with polarized self-attention.
//!
//! Every position attends to every other, head by head; a depthwise convolution of the values adds
//! where they are. The blocks around it belong to the detector: they hand an [`Eye`] down to the
//! attentions inside them.

mod eye;
mod questions;
mod trace;

use candle_core::{Result, Tensor};

use super::Mechanism;
use crate::kernels::{self, Conv2d};

pub use eye::Eye;
pub use trace::{HeadMaps, PositionSensitiveTrace};

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "position_sensitive",
    short: "pos",
    title: "Position-sensitive attention",
    about: "Every position reads from every other; what YOLO itself has before its heads.",
    modules: &["C2PSA", "PSA", "PSABlock"],
    build: None,
    probe: None,
};

/// Loads the convolution of a name, its BatchNorm folded in: `[out, in, k]`, groups; stride 1, no
/// activation.
pub type LoadConv<'a> = &'a dyn Fn(&str, [usize; 3], usize) -> Result<Conv2d>;

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
    pub fn load(dim: usize, heads: usize, conv: LoadConv<'_>) -> Result<Self> {
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
            qkv: conv("qkv", [width, dim, 1], 1)?,
            proj: conv("proj", [dim, dim, 1], 1)?,
            pe: conv("pe", [dim, dim, 3], dim)?,
        })
    }

    /// `[B, C, H, W]` to the same shape. The eye sees the first image of the batch.
    ///
    /// # Errors
    /// If `x` has other channels than the block was built for.
    pub fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        let (n, groups) = (h * w, b * self.heads);
        let (kd, hd) = (self.key_dim, self.head_dim);
        let qkv = self.qkv.forward(x)?.reshape((groups, 2 * kd + hd, n))?;
        // Views only: the kernel reads and writes transposed tensors as they lie.
        let q = qkv.narrow(1, 0, kd)?.transpose(1, 2)?;
        let k = qkv.narrow(1, kd, kd)?.transpose(1, 2)?;
        let v = qkv.narrow(1, 2 * kd, hd)?;
        let scale = (kd as f64).powf(-0.5);
        // The output comes from the same kernel whether or not anyone watches: same bytes.
        let out = kernels::attention(&q, &k, &v.transpose(1, 2)?, scale)?
            .transpose(1, 2)?
            .reshape((b, c, h, w))?
            .contiguous()?;
        if eye.is_open() {
            let first = |t: &Tensor| t.narrow(0, 0, self.heads);
            eye.look(&first(&q)?, &first(&k)?, scale, [h, w])?;
        }
        let v = v.contiguous()?.reshape((b, c, h, w))?;
        self.proj.forward(&self.pe.forward_plus(&v, &out)?)
    }
}
