//! A network: the rows of a configuration with their weights, run one at a time.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::blocks::{
    Block, C2Psa, C2f, C2fCib, Chain, ConvSpec, Kind, ScDown, Sppf, Upsample, load_conv,
};
use super::detect::{Detect, DetectSpec};
use super::{Config, Head, RawHead, Row};
use crate::attention::{Arg, Attention, BuildArgs, Knobs, Trace, Watch, mechanism_of};
use crate::kernels;

/// Limits on single rows, far beyond any detector.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_KERNEL: usize = 63;
const MAX_STRIDE: f64 = 1024.0;
/// Output numbers of a row per pixel of the network input: x-scale detectors have 32.
const MAX_PER_PIXEL: f64 = 128.0;

/// What a row does.
#[derive(Debug)]
pub enum Module {
    /// One map in, one map out.
    Block(BlockModule),
    /// Joins maps along the channels.
    Concat,
    /// A layer that can be watched.
    Attention(Box<dyn Attention>),
    /// The detect head.
    Detect(Detect),
}

/// A block without anything to watch.
#[derive(Debug)]
pub struct BlockModule(Box<dyn Block>);

/// One row with its weights.
#[derive(Debug)]
pub struct Layer {
    /// Module name as in the file.
    pub name: String,
    /// Rows that feed it; `None` is the picture.
    pub from: Vec<Option<usize>>,
    /// Output channels.
    pub channels: usize,
    /// Pixels of the network input per cell of the output.
    pub stride: f64,
    /// What it does.
    pub module: Module,
}

/// What a row put out.
#[derive(Debug, Clone)]
pub enum Output {
    /// A feature map `[1, C, H, W]`.
    Map(Tensor),
    /// Boxes and scores.
    Raw(Arc<RawHead>),
}

/// A network ready to run.
#[derive(Debug)]
pub struct Network {
    layers: Vec<Layer>,
    stride: usize,
}

/// What the rows before have established.
struct Builder<'a> {
    config: &'a Config,
    layers: Vec<Layer>,
    legacy_head: bool,
}

impl Network {
    /// Builds every row. Weights are asked for as `model.<row>.…`; the variable builder decides
    /// what a missing one means.
    ///
    /// # Errors
    /// One sentence that names the row.
    pub fn build(config: &Config, weights: &VarBuilder<'_>) -> std::result::Result<Self, String> {
        let modern = ["C3k2", "C2fCIB", "A2C2f"];
        let mut builder = Builder {
            config,
            layers: Vec::with_capacity(config.rows.len()),
            legacy_head: !config
                .rows
                .iter()
                .any(|r| modern.contains(&r.module.as_str())),
        };
        let root = weights.pp("model");
        for (i, row) in config.rows.iter().enumerate() {
            let layer = builder.layer(row, &root.pp(i)).and_then(affordable);
            builder
                .layers
                .push(layer.map_err(|e| format!("row {i} ({}): {e}", row.module))?);
        }
        let stride = common_stride(&builder.layers)?;
        match builder.layers.last().map(|l| &l.module) {
            Some(Module::Detect(_)) => Ok(Self {
                layers: builder.layers,
                stride,
            }),
            _ => Err("the last row is no Detect: this is not a detector".into()),
        }
    }

    /// All rows.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The input sides must be multiples of this; then every map has `side / stride` cells.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The attention layers by row.
    pub fn attention(&self) -> impl Iterator<Item = (usize, &dyn Attention)> {
        self.layers
            .iter()
            .enumerate()
            .filter_map(|(i, l)| match &l.module {
                Module::Attention(a) => Some((i, a.as_ref())),
                _ => None,
            })
    }

    /// The attention layer of a row, if it is one.
    pub fn attention_at(&self, row: usize) -> Option<&dyn Attention> {
        match &self.layers.get(row)?.module {
            Module::Attention(a) => Some(a.as_ref()),
            _ => None,
        }
    }

    /// The heads that the model has.
    pub fn heads(&self) -> &'static [Head] {
        match self.layers.last().map(|l| &l.module) {
            Some(Module::Detect(d)) => d.heads(),
            _ => &[],
        }
    }

    /// Size of the input map of a row for a network input of `[height, width]`.
    pub fn map_size(&self, row: usize, input: [usize; 2]) -> [usize; 2] {
        let source = self.layers.get(row).and_then(|l| l.from.first().copied());
        let stride = match source {
            Some(Some(i)) => self.layers[i].stride,
            _ => 1.0,
        };
        input.map(|side| (side as f64 / stride).ceil() as usize)
    }
}

impl Layer {
    /// Runs the row on what its sources put out.
    ///
    /// # Errors
    /// If an input does not have the shape the row was built for.
    pub fn run(
        &self,
        inputs: &[Tensor],
        knobs: &Knobs,
        watch: &Watch,
        head: Head,
    ) -> Result<(Output, Option<Arc<dyn Trace>>)> {
        let Some(first) = inputs.first() else {
            candle_core::bail!("{} has no input", self.name);
        };
        // Inside the thread pool, or every operation would wait for a thread of it to wake up.
        rayon::scope(|_| self.run_on(first, inputs, knobs, watch, head))
    }

    fn run_on(
        &self,
        first: &Tensor,
        inputs: &[Tensor],
        knobs: &Knobs,
        watch: &Watch,
        head: Head,
    ) -> Result<(Output, Option<Arc<dyn Trace>>)> {
        Ok(match &self.module {
            Module::Block(block) => (Output::Map(block.0.forward(first)?), None),
            Module::Concat => (Output::Map(kernels::cat(inputs, 1)?), None),
            Module::Attention(attention) => {
                let (y, trace) = attention.forward(first, knobs, watch)?;
                (Output::Map(y), trace)
            }
            Module::Detect(detect) => (Output::Raw(Arc::new(detect.forward(inputs, head)?)), None),
        })
    }
}

impl Builder<'_> {
    fn channels(&self, source: Option<usize>) -> usize {
        source.map_or(3, |i| self.layers[i].channels)
    }

    fn stride(&self, source: Option<usize>) -> f64 {
        source.map_or(1.0, |i| self.layers[i].stride)
    }

    fn layer(&self, row: &Row, vb: &VarBuilder<'_>) -> std::result::Result<Layer, String> {
        let from = row.from.clone();
        let first = from.first().copied().flatten();
        if let Some(i) = from
            .iter()
            .flatten()
            .find(|&&i| matches!(self.layers[i].module, Module::Detect(_)))
        {
            return Err(format!("it reads row {i}, which is the detect head"));
        }
        let c = self.channels(first);
        let stride = self.stride(first);
        let many = matches!(row.module.as_str(), "Concat" | "Detect" | "v10Detect");
        if !many && from.len() != 1 {
            return Err(format!("it reads {} rows; expected one", from.len()));
        }
        let layer = |module, channels, stride| Layer {
            name: row.module.clone(),
            from: from.clone(),
            channels,
            stride,
            module,
        };
        if let Some(mechanism) = mechanism_of(&row.module) {
            let args = BuildArgs {
                module: &row.module,
                channels: c,
                args: &row.args,
                weights: vb.clone(),
            };
            if row.repeats != 1 {
                return Err(format!(
                    "repeats is {}; an attention row stands alone",
                    row.repeats
                ));
            }
            return Ok(layer(
                Module::Attention((mechanism.build)(&args)?),
                c,
                stride,
            ));
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
                    ));
                }
                Ok(layer(Module::Block(BlockModule(block)), channels, stride))
            }
        }
    }

    fn same_strides(&self, from: &[Option<usize>]) -> std::result::Result<(), String> {
        let strides: Vec<f64> = from.iter().map(|&f| self.stride(f)).collect();
        match strides.iter().all(|s| *s == strides[0]) {
            true => Ok(()),
            false => Err(format!(
                "it joins maps of strides {strides:?}; expected equal ones"
            )),
        }
    }

    fn detect(&self, row: &Row, vb: &VarBuilder<'_>) -> std::result::Result<Module, String> {
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

    /// A block, its output channels and its factor on the stride.
    fn block(
        &self,
        row: &Row,
        c1: usize,
        vb: &VarBuilder<'_>,
    ) -> std::result::Result<(Box<dyn Block>, usize, f64), String> {
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
    ) -> std::result::Result<(Box<dyn Block>, usize, f64), String> {
        let a = Args(&row.args);
        let to = || {
            a.count(0, "channels", None, MAX_CHANNELS)
                .map(|c| self.config.channels(c))
        };
        let block = |b: Result<Box<dyn Block>>| b.map_err(|e| e.to_string());
        let boxed = |b: Result<C2f>| b.map(|b| Box::new(b) as Box<dyn Block>);
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
                    return Err(format!(
                        "it turns {c1} into {c2} channels; expected the same"
                    ));
                }
                let psa = match row.module.as_str() {
                    "PSA" => C2Psa::load_single(vb, c2),
                    _ => C2Psa::load(vb, c2, n),
                };
                (block(psa.map(|b| Box::new(b) as Box<dyn Block>))?, c2, 1.0)
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
            other => return Err(format!("the module {other} is not known")),
        })
    }
}

/// Arguments of a row, read with checks.
struct Args<'a>(&'a [Arg]);

impl Args<'_> {
    fn count(
        &self,
        i: usize,
        name: &str,
        default: Option<usize>,
        max: usize,
    ) -> std::result::Result<usize, String> {
        match (self.0.get(i), default) {
            (None | Some(Arg::None), Some(d)) => Ok(d),
            (Some(Arg::Int(v)), _) if *v >= 1 && *v as u64 <= max as u64 => Ok(*v as usize),
            (other, _) => {
                let shown = other.map_or("missing".into(), Arg::show);
                Err(format!(
                    "{name} is {shown}; expected a count from 1 to {max}"
                ))
            }
        }
    }

    /// A count whose window has a middle: others would not keep the map's size.
    fn odd(
        &self,
        i: usize,
        name: &str,
        default: Option<usize>,
        max: usize,
    ) -> std::result::Result<usize, String> {
        match self.count(i, name, default, max)? {
            k if k.is_multiple_of(2) => Err(format!("{name} is {k}; expected an odd count")),
            k => Ok(k),
        }
    }

    fn float(&self, i: usize, name: &str, default: f64) -> std::result::Result<f64, String> {
        match self.0.get(i) {
            None | Some(Arg::None) => Ok(default),
            Some(Arg::Float(v)) if *v > 0.0 && *v <= 4.0 => Ok(*v),
            Some(Arg::Int(v)) if (1..=4).contains(v) => Ok(*v as f64),
            Some(other) => Err(format!(
                "{name} is {}; expected a factor up to 4",
                other.show()
            )),
        }
    }

    fn switch(&self, i: usize, name: &str, default: bool) -> std::result::Result<bool, String> {
        match self.0.get(i) {
            None | Some(Arg::None) => Ok(default),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(other) => Err(format!(
                "{name} is {}; expected True or False",
                other.show()
            )),
        }
    }
}

/// The smallest side that every stride divides. Powers of two in all but odd networks.
fn common_stride(layers: &[Layer]) -> std::result::Result<usize, String> {
    let mut common = 1;
    for stride in layers.iter().map(|l| l.stride as usize) {
        common *= stride / gcd(common, stride).max(1);
        if common as f64 > MAX_STRIDE {
            return Err(format!(
                "input sides would have to be multiples of {common}; expected at most {MAX_STRIDE}"
            ));
        }
    }
    Ok(common.max(1))
}

/// The layer, unless its output alone would fill the machine.
fn affordable(layer: Layer) -> std::result::Result<Layer, String> {
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

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
