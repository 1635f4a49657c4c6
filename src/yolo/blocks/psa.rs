//! Blocks around YOLO's position-sensitive attention: PSABlock, C2PSA, PSA.

use candle_core::{Result, Tensor};

use super::csp::adds;
use super::rows::{Built, RowKind, RowSpec};
use super::{Block, ConvSpec, Source, expand, load_conv};
use crate::attention::position_sensitive::{Eye, PositionSensitiveAttention};
use crate::kernels::{Activation, Conv2d};

pub(super) const ROWS: &[RowKind] = &[
    RowKind::once("PSABlock", psa_block_row),
    RowKind::repeating("C2PSA", c2psa_row),
    RowKind::once("PSA", psa_row),
];

/// `x + attention(x)`, then `x + feed-forward(x)`.
#[derive(Debug)]
pub(super) struct PsaBlock {
    attn: PositionSensitiveAttention,
    up: Conv2d,
    down: Conv2d,
    add: bool,
}

impl PsaBlock {
    pub(super) fn load(source: &Source<'_>, c: usize, heads: usize, add: bool) -> Result<Self> {
        let attn = source.pp("attn");
        let conv = |name: &str, [to, from, kernel]: [usize; 3], groups: usize| {
            let spec = ConvSpec::new(from, to, kernel).groups(groups).no_act();
            load_conv(&attn.pp(name), spec)
        };
        let stated = attn.attribute("num_heads").count(Some(heads), c);
        let heads = stated.map_err(candle_core::Error::msg)?;
        let up = ConvSpec::new(c, 2 * c, 1).act(Activation::Silu);
        let down = ConvSpec::new(2 * c, c, 1).no_act();
        Ok(Self {
            attn: PositionSensitiveAttention::load(c, heads, &conv)?,
            up: load_conv(&source.pp("ffn.0"), up)?,
            down: load_conv(&source.pp("ffn.1"), down)?,
            add: adds(source, add),
        })
    }
}

impl Block for PsaBlock {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let attended = self.attn.forward(x, eye)?;
        if !self.add {
            return self.down.forward(&self.up.forward(&attended)?);
        }
        let x = (x + attended)?;
        self.down.forward_plus(&self.up.forward(&x)?, &x)
    }

    fn attends(&self) -> bool {
        true
    }
}

/// C2PSA: a part of the channels goes through position-sensitive blocks. YOLOv10's PSA is the same
/// with one block whose names carry no `m.0`.
#[derive(Debug)]
struct C2Psa {
    cv1: Conv2d,
    cv2: Conv2d,
    blocks: Vec<PsaBlock>,
    part: usize,
}

impl C2Psa {
    fn load(source: &Source<'_>, c: usize, e: f64, blocks: &[Source<'_>]) -> Result<Self> {
        let part = expand(c, e);
        let heads = (part / 64).max(1);
        Ok(Self {
            cv1: load_conv(&source.pp("cv1"), ConvSpec::new(c, 2 * part, 1))?,
            cv2: load_conv(&source.pp("cv2"), ConvSpec::new(2 * part, c, 1))?,
            blocks: blocks
                .iter()
                .map(|block| PsaBlock::load(block, part, heads, true))
                .collect::<Result<_>>()?,
            part,
        })
    }
}

impl Block for C2Psa {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let y = self.cv1.forward(x)?;
        let a = y.narrow(1, 0, self.part)?;
        let mut b = y.narrow(1, self.part, self.part)?.contiguous()?;
        for block in &self.blocks {
            b = block.forward(&b, eye)?;
        }
        self.cv2.forward_joined(&[a, b])
    }

    fn attends(&self) -> bool {
        !self.blocks.is_empty()
    }
}

/// `[channels, attn_ratio, num_heads, shortcut]`; the channels are those of the input.
fn psa_block_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let ratio = r.arg(1, "attn_ratio").factor(0.5, 1.0)?;
    if ratio != 0.5 {
        return Err(format!("attn_ratio is {ratio}; expected 0.5"));
    }
    let heads = r.arg(2, "num_heads").count(Some(4), r.from)?;
    let shortcut = r.arg(3, "shortcut").switch(true)?;
    let block = PsaBlock::load(&r.source, r.from, heads, shortcut);
    Built::new(block, r.from)
}

/// `[channels, expansion]`
fn c2psa_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let blocks = (0..r.repeats).map(|i| r.source.pp(format!("m.{i}")));
    c2psa(r, &blocks.collect::<Vec<_>>())
}

/// `[channels, expansion]`
fn psa_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    c2psa(r, std::slice::from_ref(&r.source))
}

fn c2psa(r: &RowSpec<'_>, blocks: &[Source<'_>]) -> std::result::Result<Built, String> {
    let c = r.kept_channels()?;
    let e = r.arg(1, "expansion").factor(0.5, 1.0)?;
    Built::new(C2Psa::load(&r.source, c, e, blocks), c)
}
