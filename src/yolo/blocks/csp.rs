//! Cross-stage blocks: Bottleneck, C3, C3k, C2f and C3k2 (which is C2f wiring around other parts).

use candle_core::{Result, Tensor};

use super::psa::PsaBlock;
use super::rows::{Built, MAX_KERNEL, RowKind, RowSpec};
use super::{Block, Chain, ConvSpec, Source, expand, load_conv};
use crate::attention::Arg;
use crate::attention::position_sensitive::Eye;
use crate::kernels::Conv2d;
use crate::yolo::Map;

pub(super) const ROWS: &[RowKind] = &[
    RowKind::once("Bottleneck", bottleneck_row),
    RowKind::repeating("C3", c3_row),
    RowKind::once("C3k", c3k_row),
    RowKind::repeating("C2f", c2f_row),
    RowKind::repeating("C3k2", c3k2_row),
];

/// Shape of a Bottleneck.
#[derive(Debug, Clone, Copy)]
struct Neck {
    from: usize,
    to: usize,
    /// Channels between the two convolutions, as a part of the output's.
    expansion: f64,
    kernels: [usize; 2],
    groups: usize,
    shortcut: bool,
}

impl Neck {
    /// 3×3 and 3×3 on a map that keeps its channels.
    fn same(c: usize, expansion: f64, groups: usize, shortcut: bool) -> Self {
        Self {
            from: c,
            to: c,
            expansion,
            kernels: [3, 3],
            groups,
            shortcut,
        }
    }

    fn kernels(self, kernels: [usize; 2]) -> Self {
        Self { kernels, ..self }
    }
}

/// Two convolutions, added to the input where the channels allow it.
#[derive(Debug)]
struct Bottleneck {
    cv1: Conv2d,
    cv2: Conv2d,
    add: bool,
}

impl Bottleneck {
    fn load(source: &Source<'_>, n: Neck) -> Result<Self> {
        let hidden = expand(n.to, n.expansion);
        let first = ConvSpec::new(n.from, hidden, n.kernels[0]);
        let second = ConvSpec::new(hidden, n.to, n.kernels[1]).groups(n.groups);
        Ok(Self {
            cv1: load_conv(&source.pp("cv1"), first)?,
            cv2: load_conv(&source.pp("cv2"), second)?,
            add: adds(source, n.shortcut && n.from == n.to),
        })
    }
}

/// Whether a block adds its input: as the checkpoint states it, or else as computed.
pub(super) fn adds(source: &Source<'_>, computed: bool) -> bool {
    source.attribute("add").switch(computed).unwrap_or(computed)
}

impl Block for Bottleneck {
    fn forward(&self, x: &Tensor, _: &mut Eye<'_>) -> Result<Tensor> {
        let y = self.cv1.forward(x)?;
        if self.add {
            self.cv2.forward_plus(&y, x)
        } else {
            self.cv2.forward(&y)
        }
    }
}

/// C3 and C3k: two branches, one through bottlenecks, joined by a 1×1 convolution.
#[derive(Debug)]
struct C3 {
    cv1: Conv2d,
    cv2: Conv2d,
    cv3: Conv2d,
    inner: Chain,
}

impl C3 {
    /// `neck` is that of the branch, whose channels are its own.
    fn load(source: &Source<'_>, [from, to]: [usize; 2], n: usize, neck: Neck) -> Result<Self> {
        let inside = neck.from;
        let inner = (0..n)
            .map(|i| {
                let b = Bottleneck::load(&source.pp(format!("m.{i}")), neck)?;
                Ok(Box::new(b) as Box<dyn Block>)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            cv1: load_conv(&source.pp("cv1"), ConvSpec::new(from, inside, 1))?,
            cv2: load_conv(&source.pp("cv2"), ConvSpec::new(from, inside, 1))?,
            cv3: load_conv(&source.pp("cv3"), ConvSpec::new(2 * inside, to, 1))?,
            inner: Chain(inner),
        })
    }
}

impl Block for C3 {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let a = self.inner.forward(&self.cv1.forward(x)?, eye)?;
        let b = self.cv2.forward(x)?;
        self.cv3.forward_joined(&[a, b])
    }
}

/// C2f wiring: `cv1` makes two halves, each part continues the last one, `cv2` joins them all.
#[derive(Debug)]
pub(super) struct C2f {
    cv1: Conv2d,
    cv2: Conv2d,
    parts: Vec<Box<dyn Block>>,
    half: usize,
}

impl C2f {
    /// The wiring around `n` parts that keep their channels.
    pub(super) fn load(
        source: &Source<'_>,
        [from, to]: [usize; 2],
        n: usize,
        e: f64,
        part: impl Fn(&Source<'_>, usize) -> Result<Box<dyn Block>>,
    ) -> Result<Self> {
        let half = expand(to, e);
        if half < 2 {
            candle_core::bail!("expansion {e} leaves {half} of {to} channels inside");
        }
        Ok(Self {
            cv1: load_conv(&source.pp("cv1"), ConvSpec::new(from, 2 * half, 1))?,
            cv2: load_conv(&source.pp("cv2"), ConvSpec::new((2 + n) * half, to, 1))?,
            parts: (0..n)
                .map(|i| part(&source.pp(format!("m.{i}")), half))
                .collect::<Result<_>>()?,
            half,
        })
    }
}

impl C2f {
    /// What follows `cv1`.
    fn rest(&self, y: Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let mut last = y.narrow(1, self.half, self.half)?.contiguous()?;
        let mut all = vec![y];
        for part in &self.parts {
            last = part.forward(&last, eye)?;
            all.push(last.clone());
        }
        self.cv2.forward_joined(&all)
    }
}

impl Block for C2f {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        self.rest(self.cv1.forward(x)?, eye)
    }

    fn forward_map(&self, x: &Map, eye: &mut Eye<'_>) -> Result<Map> {
        Ok(self.rest(x.convolved(&self.cv1)?, eye)?.into())
    }

    fn attends(&self) -> bool {
        self.parts.iter().any(|part| part.attends())
    }
}

/// `[channels, shortcut, groups, kernels, expansion]`
fn bottleneck_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let kernels = match r.arg(3, "kernels").value {
        None => [3, 3],
        Some(Arg::List(list)) if list.len() == 2 => {
            let side = |i: usize| {
                let value = list.get(i);
                let name = "a kernel";
                crate::attention::Given { name, value }.odd(None, MAX_KERNEL)
            };
            [side(0)?, side(1)?]
        }
        Some(other) => {
            return Err(format!(
                "kernels is {}; expected a list of two",
                other.show()
            ));
        }
    };
    let neck = Neck {
        from: r.from,
        to,
        expansion: r.arg(4, "expansion").factor(0.5, 4.0)?,
        kernels,
        groups: r.arg(2, "groups").count(Some(1), to)?,
        shortcut: r.arg(1, "shortcut").switch(true)?,
    };
    Built::new(Bottleneck::load(&r.source, neck), to)
}

/// `[channels, shortcut, groups, expansion]`
fn c3_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let inside = expand(to, r.arg(3, "expansion").factor(0.5, 4.0)?);
    let shortcut = r.arg(1, "shortcut").switch(true)?;
    let groups = r.arg(2, "groups").count(Some(1), to)?;
    let neck = Neck::same(inside, 1.0, groups, shortcut).kernels([1, 3]);
    Built::new(C3::load(&r.source, [r.from, to], r.repeats, neck), to)
}

/// `[channels, n, shortcut, groups, expansion, kernel]`
fn c3k_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let n = r.arg(1, "n").count(Some(1), 100)?;
    let shortcut = r.arg(2, "shortcut").switch(true)?;
    let groups = r.arg(3, "groups").count(Some(1), to)?;
    let inside = expand(to, r.arg(4, "expansion").factor(0.5, 4.0)?);
    let kernel = r.arg(5, "kernel").odd(Some(3), MAX_KERNEL)?;
    let neck = Neck::same(inside, 1.0, groups, shortcut).kernels([kernel; 2]);
    Built::new(C3::load(&r.source, [r.from, to], n, neck), to)
}

/// `[channels, shortcut, groups, expansion]`
fn c2f_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let shortcut = r.arg(1, "shortcut").switch(false)?;
    let groups = r.arg(2, "groups").count(Some(1), to)?;
    let e = r.arg(3, "expansion").factor(0.5, 4.0)?;
    let part = |source: &Source<'_>, c: usize| -> Result<Box<dyn Block>> {
        let neck = Neck::same(c, 1.0, groups, shortcut);
        Ok(Box::new(Bottleneck::load(source, neck)?))
    };
    Built::new(C2f::load(&r.source, [r.from, to], r.repeats, e, part), to)
}

/// `[channels, c3k, expansion, attn, groups, shortcut]`
fn c3k2_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    // The larger scales have the larger part, whatever the row says.
    let large = matches!(r.config.scale_name.as_str(), "m" | "l" | "x");
    let c3k = r.arg(1, "c3k").switch(false)? || large;
    let e = r.arg(2, "expansion").factor(0.5, 4.0)?;
    let attn = r.arg(3, "attn").switch(false)?;
    let groups = r.arg(4, "groups").count(Some(1), to)?;
    let shortcut = r.arg(5, "shortcut").switch(true)?;
    let part = |source: &Source<'_>, c: usize| -> Result<Box<dyn Block>> {
        let half = Neck::same(c, 0.5, groups, shortcut);
        Ok(match (attn, c3k) {
            (true, _) => Box::new(Chain(vec![
                Box::new(Bottleneck::load(&source.pp("0"), half)?),
                Box::new(PsaBlock::load(&source.pp("1"), c, (c / 64).max(1), true)?),
            ])),
            (_, true) => {
                let neck = Neck::same(c / 2, 1.0, groups, shortcut);
                Box::new(C3::load(source, [c, c], 2, neck)?)
            }
            _ => Box::new(Bottleneck::load(source, half)?),
        })
    };
    Built::new(C2f::load(&r.source, [r.from, to], r.repeats, e, part), to)
}
