//! A network: the rows of a configuration with their weights, run one at a time.

use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;

use super::blocks::Block;
use super::build::{Builder, MAX_STRIDE, RowError, gcd};
use super::detect::Detect;
use super::{Config, Head, Map, RawHead};
use crate::attention::position_sensitive::Eye;
use crate::attention::{Attention, Erasure, Knobs, Mechanism, Trace, Watch};
use crate::kernels;

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
pub struct BlockModule(pub(super) Box<dyn Block>);

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
    /// Whether it only looks: a probe computes beside the network, and nothing reads it.
    pub probe: bool,
}

/// Where a definition could not be followed any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The first row that is not there.
    pub row: usize,
    /// Its module name.
    pub module: String,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { row, module } = self;
        write!(
            f,
            "the network ends before row {row}, whose module {module} is not known"
        )
    }
}

/// What a row put out.
#[derive(Debug, Clone)]
pub enum Output {
    /// A feature map `[1, C, H, W]`.
    Map(Map),
    /// Boxes and scores.
    Raw(Arc<RawHead>),
}

/// A network ready to run. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Network {
    /// The rows of the definition, then the probes.
    layers: Vec<Arc<Layer>>,
    /// Rows of the definition that were built.
    rows: usize,
    stride: usize,
    stop: Option<Stop>,
    notes: Vec<String>,
}

impl Network {
    /// Builds every row, up to the first whose module is not known. Weights are asked for as
    /// `model.<row>.…`; the variable builder decides what a missing one means.
    ///
    /// # Errors
    /// One sentence that names the row.
    pub fn build(config: &Config, weights: &VarBuilder<'_>) -> std::result::Result<Self, String> {
        let mut builder = Builder::new(config);
        let root = weights.pp("model");
        let mut stop = None;
        for (i, row) in config.rows.iter().enumerate() {
            let module = row.module.clone();
            match builder.add(row, &root.pp(i)) {
                Ok(()) => {}
                Err(RowError::Unknown) if i > 0 => {
                    stop = Some(Stop { row: i, module });
                    break;
                }
                Err(e) => {
                    return Err(format!("row {i} ({module}): {e}"));
                }
            }
        }
        let (layers, notes) = builder.finish();
        let network = Self {
            stride: common_stride(&layers)?,
            rows: layers.len(),
            layers: layers.into_iter().map(Arc::new).collect(),
            stop,
            notes,
        };
        match network.head_row() {
            None if network.stop.is_none() => {
                Err("the last row is no Detect: this is not a detector".into())
            }
            _ => Ok(network),
        }
    }

    /// The same network with a probe on the output of row `on`. It has the next free row, and
    /// leaves all others as they are.
    ///
    /// # Errors
    /// One sentence, if the row puts out no map or the mechanism cannot look at it.
    pub fn with_probe(
        &self,
        on: usize,
        mechanism: &'static Mechanism,
    ) -> std::result::Result<Self, String> {
        let source = match self.layers.get(on) {
            Some(layer) if !layer.probe && !matches!(layer.module, Module::Detect(_)) => layer,
            _ => return Err(format!("row {on} puts out no feature map to look at")),
        };
        let Some(probe) = mechanism.probe else {
            return Err(format!("{} needs trained weights", mechanism.title));
        };
        let layer = Layer {
            name: mechanism
                .modules
                .first()
                .copied()
                .unwrap_or_default()
                .into(),
            from: vec![Some(on)],
            channels: source.channels,
            stride: source.stride,
            module: Module::Attention(probe(source.channels)?),
            probe: true,
        };
        let mut network = self.clone();
        network.layers.push(Arc::new(layer));
        Ok(network)
    }

    /// The same network without its probes.
    pub fn without_probes(&self) -> Self {
        let mut network = self.clone();
        network.layers.truncate(self.rows);
        network
    }

    /// All rows, then the probes.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// Row of the detect head; none if the network stops before it.
    pub fn head_row(&self) -> Option<usize> {
        let last = self.rows.checked_sub(1)?;
        matches!(self.layers[last].module, Module::Detect(_)).then_some(last)
    }

    /// Where and why the network ends before its head, if it does.
    pub fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// What was decided where the definition leaves a choice, in sentences that name the row.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
        match self.head_row().map(|row| &self.layers[row].module) {
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
        inputs: &[Map],
        knobs: &Knobs,
        watch: &Watch,
        head: Head,
    ) -> Result<(Output, Option<Arc<dyn Trace>>)> {
        self.run_without(inputs, (knobs, None), watch, head)
    }

    /// The same with something taken out of its attention.
    ///
    /// # Errors
    /// As [`Layer::run`].
    pub fn run_without(
        &self,
        inputs: &[Map],
        set: (&Knobs, Option<&Erasure>),
        watch: &Watch,
        head: Head,
    ) -> Result<(Output, Option<Arc<dyn Trace>>)> {
        let Some(first) = inputs.first() else {
            candle_core::bail!("{} has no input", self.name);
        };
        kernels::in_pool(|| self.run_on(first, inputs, set, watch, head))
    }

    fn run_on(
        &self,
        first: &Map,
        inputs: &[Map],
        (knobs, erasure): (&Knobs, Option<&Erasure>),
        watch: &Watch,
        head: Head,
    ) -> Result<(Output, Option<Arc<dyn Trace>>)> {
        Ok(match &self.module {
            Module::Block(block) => (
                Output::Map(block.0.forward_map(first, &mut Eye::closed())?),
                None,
            ),
            Module::Concat => (Output::Map(Map::joined(inputs)?), None),
            Module::Attention(attention) => {
                let first = &first.tensor()?;
                let (y, trace) = match erasure {
                    Some(erasure) => attention.forward_without(first, knobs, erasure, watch)?,
                    None => attention.forward(first, knobs, watch)?,
                };
                (Output::Map(y.into()), trace)
            }
            Module::Detect(detect) => {
                let levels = inputs.iter().map(Map::tensor).collect::<Result<Vec<_>>>()?;
                (Output::Raw(Arc::new(detect.forward(&levels, head)?)), None)
            }
        })
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
