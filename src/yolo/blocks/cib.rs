//! YOLOv10's own blocks: SCDown, RepVGGDW, CIB and C2fCIB.

use candle_core::{Result, Tensor};

use super::csp::{C2f, adds};
use super::rows::{Built, MAX_BLOCK_STRIDE, MAX_KERNEL, RowKind, RowSpec};
use super::{Block, Chain, ConvSpec, Source, expand, load_conv};
use crate::attention::position_sensitive::Eye;
use crate::kernels::Conv2d;

pub(super) const ROWS: &[RowKind] = &[
    RowKind::once("SCDown", sc_down_row),
    RowKind::once("RepVGGDW", rep_vgg_dw_row),
    RowKind::once("CIB", cib_row),
    RowKind::repeating("C2fCIB", c2f_cib_row),
];

/// SCDown: a 1×1 convolution for the channels, a depthwise one for the stride.
#[derive(Debug)]
struct ScDown {
    cv1: Conv2d,
    cv2: Conv2d,
}

impl ScDown {
    fn load(
        source: &Source<'_>,
        [from, to]: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Result<Self> {
        let down = ConvSpec::depthwise(to, kernel).stride(stride).no_act();
        Ok(Self {
            cv1: load_conv(&source.pp("cv1"), ConvSpec::new(from, to, 1))?,
            cv2: load_conv(&source.pp("cv2"), down)?,
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
    fn load(source: &Source<'_>, c: usize) -> Result<Self> {
        let spec = |kernel| ConvSpec::depthwise(c, kernel).no_act();
        if source.has("conv.bias") && !source.has("conv.conv.weight") {
            // Its own activation follows the sum, not the convolution.
            let bare = source.without_attributes();
            let large = load_conv(&bare, spec(7))?;
            return Ok(Self { large, small: None });
        }
        Ok(Self {
            large: load_conv(&source.pp("conv"), spec(7))?,
            small: Some(load_conv(&source.pp("conv1"), spec(3))?),
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

/// Shape of a CIB.
#[derive(Debug, Clone, Copy)]
struct CibSpec {
    from: usize,
    to: usize,
    /// Half of the channels in the middle, as a part of the output's.
    expansion: f64,
    shortcut: bool,
    large_kernel: bool,
}

impl Cib {
    fn load(source: &Source<'_>, s: CibSpec) -> Result<Self> {
        let at = |i: usize| source.pp(format!("cv1.{i}"));
        let wide = 2 * expand(s.to, s.expansion);
        let middle: Box<dyn Block> = if s.large_kernel {
            Box::new(RepVggDw::load(&at(2), wide)?)
        } else {
            Box::new(load_conv(&at(2), ConvSpec::depthwise(wide, 3))?)
        };
        let chain: Vec<Box<dyn Block>> = vec![
            Box::new(load_conv(&at(0), ConvSpec::depthwise(s.from, 3))?),
            Box::new(load_conv(&at(1), ConvSpec::new(s.from, wide, 1))?),
            middle,
            Box::new(load_conv(&at(3), ConvSpec::new(wide, s.to, 1))?),
            Box::new(load_conv(&at(4), ConvSpec::depthwise(s.to, 3))?),
        ];
        Ok(Self {
            chain: Chain(chain),
            add: adds(source, s.shortcut && s.from == s.to),
        })
    }
}

impl Block for Cib {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let y = self.chain.forward(x, eye)?;
        if self.add { x + y } else { Ok(y) }
    }
}

/// `[channels, kernel, stride]`
fn sc_down_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let kernel = r.arg(1, "kernel").odd(None, MAX_KERNEL)?;
    let stride = r.arg(2, "stride").count(None, MAX_BLOCK_STRIDE)?;
    let down = ScDown::load(&r.source, [r.from, to], kernel, stride);
    Built::strided(down, to, stride as f64)
}

/// `[channels]`, which are those of the input.
fn rep_vgg_dw_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    Built::new(RepVggDw::load(&r.source, r.from), r.from)
}

/// `[channels, shortcut, expansion, lk]`
fn cib_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let spec = CibSpec {
        from: r.from,
        to,
        shortcut: r.arg(1, "shortcut").switch(true)?,
        expansion: r.arg(2, "expansion").factor(0.5, 4.0)?,
        large_kernel: r.arg(3, "lk").switch(false)?,
    };
    Built::new(Cib::load(&r.source, spec), to)
}

/// `[channels, shortcut, lk, groups, expansion]`: C2f wiring around CIB.
fn c2f_cib_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let shortcut = r.arg(1, "shortcut").switch(false)?;
    let large_kernel = r.arg(2, "lk").switch(false)?;
    let e = r.arg(4, "expansion").factor(0.5, 4.0)?;
    let part = |source: &Source<'_>, c: usize| -> Result<Box<dyn Block>> {
        let spec = CibSpec {
            from: c,
            to: c,
            expansion: 1.0,
            shortcut,
            large_kernel,
        };
        Ok(Box::new(Cib::load(source, spec)?))
    };
    Built::new(C2f::load(&r.source, [r.from, to], r.repeats, e, part), to)
}
