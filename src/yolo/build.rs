//! Rows of a configuration to layers: each row's channels and stride follow from the rows before.

use candle_core::Result as Tried;
use candle_nn::VarBuilder;

use super::args::Args;
use super::blocks::{
    Block, C2Psa, C2f, C2fCib, Chain, ConvSpec, Kind, PsaBlock, ScDown, Sppf, Upsample, Watched,
    load_conv,
};
use super::detect::{Detect, DetectSpec};
use super::network::{BlockModule, Layer, Module};
use super::{Config, Row};
use crate::attention::{Arg, BuildArgs, Notes, mechanism_of};

/// Limits on single rows, far beyond any detector.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_KERNEL: usize = 63;
pub(super) const MAX_STRIDE: f64 = 1024.0;
/// Output numbers of a row per pixel of the network input: x-scale detectors have 32.
const MAX_PER_PIXEL: f64 = 128.0;

/// Why a row could not be built.
pub(super) enum RowError {
    /// Its module is not known.
    Unknown,
    /// One sentence.
    Bad(String),
}

impl From<String> for RowError {
    fn from(message: String) -> Self {
        Self::Bad(message)
    }
}

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => write!(f, "the module is not known"),
            Self::Bad(message) => f.write_str(message),
        }
    }
}

/// A block, its output channels and its factor on the stride.
type Built = (Box<dyn Block>, usize, f64);

/// What the rows before have established.
pub(super) struct Builder<'a> {
    config: &'a Config,
    layers: Vec<Layer>,
    legacy_head: bool,
    notes: Notes,
}

impl<'a> Builder<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        let modern = ["C3k2", "C2fCIB", "A2C2f"];
        let is_modern = |row: &Row| modern.contains(&row.module.as_str());
        Self {
            config,
            layers: Vec::with_capacity(config.rows.len()),
            legacy_head: !config.rows.iter().any(is_modern),
            notes: Notes::default(),
        }
    }

    /// Builds the next row.
    pub(super) fn add(&mut self, row: &Row, vb: &VarBuilder<'_>) -> Result<(), RowError> {
        self.notes.start_row(self.layers.len(), &row.module);
        let layer = affordable(self.layer(row, vb)?)?;
        self.layers.push(layer);
        Ok(())
    }

    /// The layers, and what was decided on the way.
    pub(super) fn finish(self) -> (Vec<Layer>, Vec<String>) {
        (self.layers, self.notes.finish())
    }

    fn channels(&self, source: Option<usize>) -> usize {
        source.map_or(3, |i| self.layers[i].channels)
    }

    fn stride(&self, source: Option<usize>) -> f64 {
        source.map_or(1.0, |i| self.layers[i].stride)
    }

    fn layer(&self, row: &Row, vb: &VarBuilder<'_>) -> Result<Layer, RowError> {
        let from = row.from.clone();
        let first = from.first().copied().flatten();
        if let Some(i) = from
            .iter()
            .flatten()
            .find(|&&i| matches!(self.layers[i].module, Module::Detect(_)))
        {
            return Err(format!("it reads row {i}, which is the detect head").into());
        }
        let c = self.channels(first);
        let stride = self.stride(first);
        let many = matches!(row.module.as_str(), "Concat" | "Detect" | "v10Detect");
        if !many && from.len() != 1 {
            return Err(format!("it reads {} rows; expected one", from.len()).into());
        }
        let layer = |module, channels, stride| Layer {
            name: row.module.clone(),
            from: from.clone(),
            channels,
            stride,
            module,
            probe: false,
        };
        if let Some(build) = mechanism_of(&row.module).and_then(|m| m.build) {
            let args = BuildArgs {
                module: &row.module,
                channels: c,
                args: &row.args,
                attributes: &row.attributes,
                notes: &self.notes,
                weights: vb.clone(),
            };
            if row.repeats != 1 {
                return Err(
                    format!("repeats is {}; an attention row stands alone", row.repeats).into(),
                );
            }
            return Ok(layer(Module::Attention(build(&args)?), c, stride));
        }
        match row.module.as_str() {
            "Concat" => {
                self.same_strides(&from)?;
                let channels = from.iter().map(|&f| self.channels(f)).sum();
                Ok(layer(Module::Concat, channels, stride))
            }
            "Detect" | "v10Detect" => Ok(layer(self.detect(row, vb)?, 0, stride)),
            _ => {
                let (block, channels, factor) = self.block(row, c, vb)?;
                let exact = stride * factor;
                let stride = exact.round();
                if !(1.0..=MAX_STRIDE).contains(&stride) || (exact - stride).abs() > 1e-6 {
                    return Err(format!(
                        "the map would have stride {exact}; expected a whole number from 1 to {MAX_STRIDE}"
                    ).into());
                }
                let module = match block.attends() {
                    true => Module::Attention(Box::new(Watched(block))),
                    false => Module::Block(BlockModule(block)),
                };
                Ok(layer(module, channels, stride))
            }
        }
    }

    fn same_strides(&self, from: &[Option<usize>]) -> Result<(), String> {
        let strides: Vec<f64> = from.iter().map(|&f| self.stride(f)).collect();
        match strides.iter().all(|s| *s == strides[0]) {
            true => Ok(()),
            false => Err(format!(
                "it joins maps of strides {strides:?}; expected equal ones"
            )),
        }
    }

    fn detect(&self, row: &Row, vb: &VarBuilder<'_>) -> Result<Module, String> {
        let channels: Vec<usize> = row.from.iter().map(|&f| self.channels(f)).collect();
        let classes = match row.args.first() {
            Some(Arg::Int(n)) if *n == self.config.classes as i64 => self.config.classes,
            other => {
                let shown = other.map_or("missing".into(), Arg::show);
                return Err(format!(
                    "its class count is {shown}; expected nc, which is {}",
                    self.config.classes
                ));
            }
        };
        let spec = DetectSpec {
            channels: &channels,
            strides: row.from.iter().map(|&f| self.stride(f) as f32).collect(),
            classes,
            reg_max: self.config.reg_max,
            end_to_end: self.config.end_to_end || row.module == "v10Detect",
            legacy: self.legacy_head,
        };
        let detect = Detect::load(vb, spec).map_err(|e| e.to_string())?;
        Ok(Module::Detect(detect))
    }

    /// The block of a row, repeated as often as the row says.
    fn block(&self, row: &Row, c1: usize, vb: &VarBuilder<'_>) -> Result<Built, RowError> {
        let inner = matches!(row.module.as_str(), "C2f" | "C3k2" | "C2PSA" | "C2fCIB");
        if inner || row.repeats == 1 {
            return self.single(row, c1, vb, row.repeats);
        }
        // Other modules are repeated one after the other, under `0.`, `1.`, …
        let mut blocks = Vec::new();
        let (mut channels, mut factor) = (c1, 1.0);
        for i in 0..row.repeats {
            let (block, c, f) = self.single(row, channels, &vb.pp(i), 1)?;
            blocks.push(block);
            (channels, factor) = (c, factor * f);
        }
        Ok((Box::new(Chain(blocks)), channels, factor))
    }

    fn single(
        &self,
        row: &Row,
        c1: usize,
        vb: &VarBuilder<'_>,
        n: usize,
    ) -> Result<Built, RowError> {
        let a = Args(&row.args);
        let to = || {
            a.count(0, "channels", None, MAX_CHANNELS)
                .map(|c| self.config.channels(c))
        };
        let block = |b: Tried<Box<dyn Block>>| b.map_err(|e| e.to_string());
        let boxed = |b: Tried<C2f>| b.map(|b| Box::new(b) as Box<dyn Block>);
        Ok(match row.module.as_str() {
            "Conv" | "DWConv" => {
                let (c2, k) = (to()?, a.odd(1, "kernel", Some(1), MAX_KERNEL)?);
                let s = a.count(2, "stride", Some(1), 8)?;
                let groups = if row.module == "DWConv" {
                    gcd(c1, c2)
                } else {
                    1
                };
                let spec = ConvSpec {
                    groups,
                    ..ConvSpec::new(c1, c2, k).stride(s)
                };
                let conv = load_conv(vb, spec).map(|b| Box::new(b) as Box<dyn Block>);
                (block(conv)?, c2, s as f64)
            }
            "C2f" => {
                let (c2, e) = (to()?, a.float(2, "expansion", 0.5)?);
                let shortcut = a.switch(1, "shortcut", false)?;
                (
                    block(boxed(C2f::load(vb, [c1, c2], n, e, Kind::Full, shortcut)))?,
                    c2,
                    1.0,
                )
            }
            "C3k2" => {
                let (c2, e) = (to()?, a.float(2, "expansion", 0.5)?);
                let large = matches!(self.config.scale_name.as_str(), "m" | "l" | "x");
                let kind = if a.switch(3, "attn", false)? {
                    Kind::Attention
                } else if a.switch(1, "c3k", false)? || large {
                    Kind::C3k
                } else {
                    Kind::Half
                };
                let shortcut = a.switch(5, "shortcut", true)?;
                (
                    block(boxed(C2f::load(vb, [c1, c2], n, e, kind, shortcut)))?,
                    c2,
                    1.0,
                )
            }
            "C2fCIB" => {
                let c2 = to()?;
                let (shortcut, large) =
                    (a.switch(1, "shortcut", false)?, a.switch(2, "lk", false)?);
                let cib = C2fCib::load(vb, [c1, c2], n, shortcut, large);
                (block(cib.map(|b| Box::new(b) as Box<dyn Block>))?, c2, 1.0)
            }
            "SPPF" => {
                let (c2, k) = (to()?, a.odd(1, "kernel", Some(5), MAX_KERNEL)?);
                let pools = a.count(2, "pools", Some(3), 16)?;
                let shortcut = a.switch(3, "shortcut", false)?;
                // YOLO26 writes all four arguments and has no activation there.
                let sppf = Sppf::load(vb, [c1, c2], k, pools, shortcut, row.args.len() <= 2);
                (block(sppf.map(|b| Box::new(b) as Box<dyn Block>))?, c2, 1.0)
            }
            "C2PSA" | "PSA" => {
                let c2 = to()?;
                if c1 != c2 {
                    return Err(
                        format!("it turns {c1} into {c2} channels; expected the same").into(),
                    );
                }
                let psa = match row.module.as_str() {
                    "PSA" => C2Psa::load_single(vb, c2),
                    _ => C2Psa::load(vb, c2, n),
                };
                (block(psa.map(|b| Box::new(b) as Box<dyn Block>))?, c2, 1.0)
            }
            "PSABlock" => {
                let heads = a.count(2, "num_heads", Some((c1 / 64).max(1)), 1024)?;
                let psa = PsaBlock::load(vb, c1, heads);
                (block(psa.map(|b| Box::new(b) as Box<dyn Block>))?, c1, 1.0)
            }
            "SCDown" => {
                let (c2, k) = (to()?, a.odd(1, "kernel", None, MAX_KERNEL)?);
                let s = a.count(2, "stride", None, 8)?;
                let down = ScDown::load(vb, [c1, c2], k, s);
                (
                    block(down.map(|b| Box::new(b) as Box<dyn Block>))?,
                    c2,
                    s as f64,
                )
            }
            "Upsample" => {
                let factor = a.count(1, "scale_factor", Some(2), 16)?;
                (Box::new(Upsample(factor)), c1, 1.0 / factor as f64)
            }
            _ => return Err(RowError::Unknown),
        })
    }
}

/// The layer, unless its output alone would fill the machine.
fn affordable(layer: Layer) -> Result<Layer, String> {
    let per_pixel = layer.channels as f64 / (layer.stride * layer.stride);
    if per_pixel <= MAX_PER_PIXEL && layer.channels <= MAX_CHANNELS {
        return Ok(layer);
    }
    Err(format!(
        "it would have {} channels at stride {}; expected at most {}",
        layer.channels,
        layer.stride,
        ((MAX_PER_PIXEL * layer.stride * layer.stride) as usize).min(MAX_CHANNELS)
    ))
}

pub(super) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
