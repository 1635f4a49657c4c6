//! Which block a row names, and how it is built from the row.

use candle_core::Result as Tried;

use super::{Block, Source, cib, conv, csp, pool, psa};
use crate::attention::Given;
use crate::error::in_words;
use crate::yolo::{Config, Row};

/// Limits on single rows, far beyond any detector.
pub(crate) const MAX_CHANNELS: usize = 1 << 16;
pub(crate) const MAX_KERNEL: usize = 63;
pub(crate) const MAX_BLOCK_STRIDE: usize = 8;

/// Every block by the module name of its row. A new block is one function and one line in the
/// file of its family.
static FAMILIES: &[&[RowKind]] = &[conv::ROWS, csp::ROWS, cib::ROWS, pool::ROWS, psa::ROWS];

/// One kind of row.
pub(crate) struct RowKind {
    /// Module name.
    pub name: &'static str,
    /// Whether the block takes the repeats itself; others are repeated one after the other.
    pub repeats_inside: bool,
    /// Builds the block.
    pub build: fn(&RowSpec<'_>) -> Result<Built, String>,
}

impl RowKind {
    /// The kind of row with this module name.
    pub(crate) fn of(module: &str) -> Option<&'static Self> {
        FAMILIES
            .iter()
            .copied()
            .flatten()
            .find(|kind| kind.name == module)
    }

    /// A block that stands once.
    pub(super) const fn once(
        name: &'static str,
        build: fn(&RowSpec<'_>) -> Result<Built, String>,
    ) -> Self {
        Self {
            name,
            repeats_inside: false,
            build,
        }
    }

    /// A block that takes the repeats itself.
    pub(super) const fn repeating(
        name: &'static str,
        build: fn(&RowSpec<'_>) -> Result<Built, String>,
    ) -> Self {
        Self {
            repeats_inside: true,
            ..Self::once(name, build)
        }
    }
}

/// What a block is built from.
pub(crate) struct RowSpec<'a> {
    /// The row.
    pub row: &'a Row,
    /// The network.
    pub config: &'a Config,
    /// Channels of its input.
    pub from: usize,
    /// Repeats that the block is to take.
    pub repeats: usize,
    /// Its weights and attributes.
    pub source: Source<'a>,
}

impl<'a> RowSpec<'a> {
    /// Argument `i` of the row.
    pub(super) fn arg(&self, i: usize, name: &'a str) -> Given<'a> {
        let value = None;
        Given { name, value }.or(self.row.args.get(i))
    }

    /// The first argument as output channels at the scale of the network.
    pub(super) fn channels(&self) -> Result<usize, String> {
        let c = self.arg(0, "channels").count(None, MAX_CHANNELS)?;
        Ok(self.config.channels(c))
    }

    /// The same for blocks that cannot change the number of channels.
    pub(super) fn kept_channels(&self) -> Result<usize, String> {
        let (from, to) = (self.from, self.channels()?);
        match from == to {
            true => Ok(to),
            false => Err(format!(
                "it turns {from} into {to} channels; expected the same"
            )),
        }
    }
}

/// A block, its output channels and its factor on the stride.
pub(crate) struct Built {
    pub block: Box<dyn Block>,
    pub channels: usize,
    pub factor: f64,
}

impl Built {
    /// A block that keeps the size of the map.
    pub(super) fn new(block: Tried<impl Block + 'static>, channels: usize) -> Result<Self, String> {
        Self::strided(block, channels, 1.0)
    }

    /// A block whose map has a `factor` times larger stride.
    pub(super) fn strided(
        block: Tried<impl Block + 'static>,
        channels: usize,
        factor: f64,
    ) -> Result<Self, String> {
        Ok(Self {
            block: Box::new(block.map_err(|e| in_words(&e))?),
            channels,
            factor,
        })
    }
}
