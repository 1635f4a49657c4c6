//! Cross-stage blocks: Bottleneck, C3k, C2f and C3k2 (which is C2f wiring around other parts).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::psa::PsaBlock;
use super::{Block, Chain, ConvSpec, expand, load_conv};
use crate::kernels::Conv2d;

/// Two 3×3 convolutions, added to the input where the channels allow it.
#[derive(Debug)]
struct Bottleneck {
    cv1: Conv2d,
    cv2: Conv2d,
    add: bool,
}

impl Bottleneck {
    fn load(vb: &VarBuilder<'_>, c: usize, shortcut: bool, e: f64) -> Result<Self> {
        let hidden = expand(c, e);
        Ok(Self {
            cv1: load_conv(&vb.pp("cv1"), ConvSpec::new(c, hidden, 3))?,
            cv2: load_conv(&vb.pp("cv2"), ConvSpec::new(hidden, c, 3))?,
            add: shortcut,
        })
    }
}

impl Block for Bottleneck {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.cv1.forward(x)?;
        if self.add {
            self.cv2.forward_plus(&y, x)
        } else {
            self.cv2.forward(&y)
        }
    }
}

/// Two branches of half the channels, one through bottlenecks, joined by a 1×1 convolution.
#[derive(Debug)]
struct C3k {
    cv1: Conv2d,
    cv2: Conv2d,
    cv3: Conv2d,
    inner: Chain,
}

impl C3k {
    fn load(vb: &VarBuilder<'_>, c: usize, n: usize, shortcut: bool) -> Result<Self> {
        let half = c / 2;
        let inner = (0..n)
            .map(|i| {
                let b = Bottleneck::load(&vb.pp(format!("m.{i}")), half, shortcut, 1.0)?;
                Ok(Box::new(b) as Box<dyn Block>)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            cv1: load_conv(&vb.pp("cv1"), ConvSpec::new(c, half, 1))?,
            cv2: load_conv(&vb.pp("cv2"), ConvSpec::new(c, half, 1))?,
            cv3: load_conv(&vb.pp("cv3"), ConvSpec::new(2 * half, c, 1))?,
            inner: Chain(inner),
        })
    }
}

impl Block for C3k {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let a = self.inner.forward(&self.cv1.forward(x)?)?;
        let b = self.cv2.forward(x)?;
        self.cv3.forward_joined(&[a, b])
    }
}

/// What sits inside the C2f wiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// C2f: bottlenecks of full width.
    Full,
    /// C3k2: bottlenecks of half width.
    Half,
    /// C3k2 with `c3k`: a C3k of two bottlenecks.
    C3k,
    /// C3k2 with `attn`: a bottleneck and a position-sensitive block.
    Attention,
}

/// C2f wiring: `cv1` makes two halves, each part continues the last one, `cv2` joins them all.
#[derive(Debug)]
pub(crate) struct C2f {
    cv1: Conv2d,
    cv2: Conv2d,
    parts: Vec<Box<dyn Block>>,
    half: usize,
}

impl C2f {
    pub(crate) fn load(
        vb: &VarBuilder<'_>,
        [from, to]: [usize; 2],
        n: usize,
        e: f64,
        kind: Kind,
        shortcut: bool,
    ) -> Result<Self> {
        let part = |vb: &VarBuilder<'_>, c: usize| load_part(vb, c, kind, shortcut);
        Self::with_parts(vb, [from, to], n, e, part)
    }

    /// The wiring around any part that keeps its channels.
    pub(super) fn with_parts(
        vb: &VarBuilder<'_>,
        [from, to]: [usize; 2],
        n: usize,
        e: f64,
        part: impl Fn(&VarBuilder<'_>, usize) -> Result<Box<dyn Block>>,
    ) -> Result<Self> {
        let half = expand(to, e);
        if half < 2 {
            candle_core::bail!("expansion {e} leaves {half} of {to} channels inside");
        }
        Ok(Self {
            cv1: load_conv(&vb.pp("cv1"), ConvSpec::new(from, 2 * half, 1))?,
            cv2: load_conv(&vb.pp("cv2"), ConvSpec::new((2 + n) * half, to, 1))?,
            parts: (0..n)
                .map(|i| part(&vb.pp(format!("m.{i}")), half))
                .collect::<Result<_>>()?,
            half,
        })
    }
}

fn load_part(vb: &VarBuilder<'_>, c: usize, kind: Kind, shortcut: bool) -> Result<Box<dyn Block>> {
    Ok(match kind {
        Kind::Full => Box::new(Bottleneck::load(vb, c, shortcut, 1.0)?),
        Kind::Half => Box::new(Bottleneck::load(vb, c, shortcut, 0.5)?),
        Kind::C3k => Box::new(C3k::load(vb, c, 2, shortcut)?),
        Kind::Attention => Box::new(Chain(vec![
            Box::new(Bottleneck::load(&vb.pp("0"), c, shortcut, 0.5)?),
            Box::new(PsaBlock::load(&vb.pp("1"), c, (c / 64).max(1))?),
        ])),
    })
}

impl Block for C2f {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.cv1.forward(x)?;
        let mut last = y.narrow(1, self.half, self.half)?.contiguous()?;
        let mut all = vec![y];
        for part in &self.parts {
            last = part.forward(&last)?;
            all.push(last.clone());
        }
        self.cv2.forward_joined(&all)
    }
}
