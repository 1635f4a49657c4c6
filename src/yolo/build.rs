//! Rows of a configuration to layers: each row's channels and stride follow from the rows before.

use candle_nn::VarBuilder;

use super::blocks::{Built, Chain, MAX_CHANNELS, RowKind, RowSpec, Source, Watched, activation};
use super::detect::{Detect, DetectSpec};
use super::network::{BlockModule, Layer, Module};
use super::{Config, Row};
use crate::attention::{Arg, BuildArgs, Given, Notes, mechanism_of};
use crate::error::in_words;
use crate::kernels::Activation;

/// Limits on single rows, far beyond any detector.
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

/// Whether rows of this module can be built.
pub(super) fn is_known(module: &str) -> bool {
    matches!(module, "Concat" | "Detect" | "v10Detect")
        || mechanism_of(module).is_some_and(|m| m.build.is_some())
        || RowKind::of(module).is_some()
}

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
        let notes = Notes::default();
        let stated = config.activation.clone().map(Arg::Word);
        let value = stated.as_ref();
        if !matches!(
            activation(Given {
                name: "activation",
                value
            }),
            Ok(None | Some(Activation::Silu))
        ) {
            let word = config.activation.as_deref().unwrap_or_default();
            notes.add(format_args!(
                "activation {word} is not followed: every convolution has SiLU"
            ));
        }
        Self {
            config,
            layers: Vec::with_capacity(config.rows.len()),
            legacy_head: !config.rows.iter().any(is_modern),
            notes,
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
                let axis = row.args.first().unwrap_or(&Arg::Int(1));
                if *axis != Arg::Int(1) {
                    return Err(format!("its axis is {}; expected 1", axis.show()).into());
                }
                self.same_strides(&from)?;
                let channels = from.iter().map(|&f| self.channels(f)).sum();
                Ok(layer(Module::Concat, channels, stride))
            }
            "Detect" | "v10Detect" => Ok(layer(self.detect(row, vb)?, 0, stride)),
            _ => {
                let Built {
                    block,
                    channels,
                    factor,
                } = self.block(row, c, vb)?;
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
        let source = Source::new(vb.clone(), &row.attributes);
        let detect = Detect::load(&source, spec, &self.notes).map_err(|e| in_words(&e))?;
        Ok(Module::Detect(detect))
    }

    /// The block of a row, repeated as often as the row says.
    fn block(&self, row: &Row, from: usize, vb: &VarBuilder<'_>) -> Result<Built, RowError> {
        let kind = RowKind::of(&row.module).ok_or(RowError::Unknown)?;
        let source = Source::new(vb.clone(), &row.attributes);
        let build = |from, repeats, source| {
            (kind.build)(&RowSpec {
                row,
                config: self.config,
                from,
                repeats,
                source,
            })
        };
        if kind.repeats_inside || row.repeats == 1 {
            return Ok(build(from, row.repeats, source)?);
        }
        // Other modules are repeated one after the other, under `0.`, `1.`, …
        let mut blocks = Vec::new();
        let (mut channels, mut factor) = (from, 1.0);
        for i in 0..row.repeats {
            let one = build(channels, 1, source.pp(i))?;
            (channels, factor) = (one.channels, factor * one.factor);
            blocks.push(one.block);
        }
        Ok(Built {
            block: Box::new(Chain(blocks)),
            channels,
            factor,
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
