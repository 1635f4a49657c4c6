//! The attention mechanisms: each turns a configuration and weights into a module, and a feature
//! map into `(output, trace)`.
//!
//! A mechanism is one file here: its module, its typed trace, its knobs, and one line in
//! [`MECHANISMS`]. Everything above finds it through [`Attention`] and [`Trace`]. Only the pane
//! that draws a mechanism, and its tests, name its trace type.

mod array;
pub mod knobs;
pub mod polarized;
pub mod position_sensitive;
pub mod routing;
pub mod super_token;
pub mod view;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

pub use array::{Array, Indices};
pub use knobs::{Clamp, Knob, KnobValue, Knobs, Legal};

use view::View;

/// Height and width of a feature map, in cells.
pub type MapSize = [usize; 2];

/// A mechanism as the registry knows it.
#[derive(Debug)]
pub struct Mechanism {
    /// Stable short name, used in file names and settings: `super_token`.
    pub id: &'static str,
    /// Short name in tensor names: `sta`.
    pub short: &'static str,
    /// Name shown to a person.
    pub title: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Module names that users' YAML files carry.
    pub modules: &'static [&'static str],
    /// Builds the module for one row.
    pub build: fn(&BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String>,
    /// Builds the module without weights for any feature map of so many channels, to look at a
    /// layer that has no attention; none where the mechanism means nothing without training.
    pub probe: Option<fn(usize) -> std::result::Result<Box<dyn Attention>, String>>,
}

/// Every mechanism that can be built and watched.
pub static MECHANISMS: &[&Mechanism] = &[
    &super_token::MECHANISM,
    &routing::MECHANISM,
    &polarized::MECHANISM,
];

/// The mechanism that carries a module name, if any.
pub fn mechanism_of(module: &str) -> Option<&'static Mechanism> {
    MECHANISMS
        .iter()
        .find(|m| m.modules.contains(&module))
        .copied()
}

/// One argument of a YAML row.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// `None`, `null` or `~`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A word.
    Word(String),
    /// A list.
    List(Vec<Arg>),
}

/// Hyperparameters that a pickled module carries itself, by dotted path below its row:
/// `n_win`, `stoken_refine.num_heads`, `cv1.act`. They win over the arguments of the row.
pub type Attributes = BTreeMap<String, Arg>;

/// Takes down what was decided where a definition leaves a choice.
#[derive(Debug, Default)]
pub struct Notes {
    row: String,
    taken: RefCell<Vec<String>>,
}

impl Notes {
    /// From here on the notes are about this row.
    pub fn start_row(&mut self, row: usize, module: &str) {
        self.row = format!("row {row} ({module})");
    }

    /// Takes down one sentence about the row.
    pub fn add(&self, sentence: impl std::fmt::Display) {
        let note = format!("{}: {sentence}", self.row);
        self.taken.borrow_mut().push(note);
    }

    /// All sentences.
    pub fn finish(self) -> Vec<String> {
        self.taken.into_inner()
    }
}

/// What a mechanism is built from.
pub struct BuildArgs<'a> {
    /// Module name of the row.
    pub module: &'a str,
    /// Channels of the input feature map.
    pub channels: usize,
    /// Arguments of the row.
    pub args: &'a [Arg],
    /// Hyperparameters that the checkpoint states itself.
    pub attributes: &'a Attributes,
    /// Where decisions are taken down.
    pub notes: &'a Notes,
    /// Weights of the row.
    pub weights: VarBuilder<'a>,
}

impl BuildArgs<'_> {
    /// The attribute of this name, or else argument `i` of the row.
    pub fn arg(&self, i: usize, name: &str) -> Option<&Arg> {
        self.attributes.get(name).or_else(|| self.args.get(i))
    }

    /// Argument `i` as a count within `1..=max`, or `default` where it is not given.
    pub fn count(
        &self,
        i: usize,
        name: &str,
        default: usize,
        max: usize,
    ) -> std::result::Result<usize, String> {
        match self.arg(i, name) {
            None | Some(Arg::None) => Ok(default),
            Some(Arg::Int(v)) if *v >= 1 && *v as u64 <= max as u64 => Ok(*v as usize),
            Some(other) => Err(format!(
                "{name} is {}; expected a count from 1 to {max}",
                other.show()
            )),
        }
    }

    /// Argument `i` as a switch, or `default` where it is not given.
    pub fn switch(&self, i: usize, name: &str, default: bool) -> std::result::Result<bool, String> {
        match self.arg(i, name) {
            None | Some(Arg::None) => Ok(default),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(other) => Err(format!(
                "{name} is {}; expected True or False",
                other.show()
            )),
        }
    }
}

impl Arg {
    /// The argument as a person would write it.
    pub fn show(&self) -> String {
        match self {
            Arg::None => "None".into(),
            Arg::Bool(true) => "True".into(),
            Arg::Bool(false) => "False".into(),
            Arg::Int(v) => v.to_string(),
            Arg::Float(v) => v.to_string(),
            Arg::Word(w) => w.clone(),
            Arg::List(items) => {
                let items: Vec<_> = items.iter().map(Arg::show).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

/// What a run should keep for looking at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Nothing: costs nothing.
    #[default]
    Off,
    /// The trace, with the token attention of these regions or tokens only.
    Focus(Vec<usize>),
    /// The trace with everything, however large.
    All,
}

impl Watch {
    /// Whether a trace is wanted.
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// The asked-for indices below `n`, sorted and once each.
    pub fn focus(&self, n: usize) -> Vec<usize> {
        match self {
            Self::Off => Vec::new(),
            Self::All => (0..n).collect(),
            Self::Focus(list) => {
                let mut list: Vec<usize> = list.iter().copied().filter(|&i| i < n).collect();
                list.sort_unstable();
                list.dedup();
                list
            }
        }
    }

    /// Whether what was kept under `self` serves someone who asks for `other`.
    pub fn covers(&self, other: &Watch) -> bool {
        match (self, other) {
            (_, Self::Off) | (Self::All, _) => true,
            (Self::Focus(have), Self::Focus(want)) => want.iter().all(|i| have.contains(i)),
            _ => false,
        }
    }
}

/// The output of a module, and its trace if one was asked for.
pub type Watched = (Tensor, Option<Arc<dyn Trace>>);

/// One attention layer of a network.
pub trait Attention: Send + Sync + Debug {
    /// Which mechanism this is.
    fn mechanism(&self) -> &'static Mechanism;

    /// The knobs that are legal on a feature map of this size, with `wanted` moved into range.
    fn legal(&self, map: MapSize, wanted: &Knobs) -> Legal;

    /// Runs the layer on `x` `[B, C, H, W]`. The trace describes the first image of the batch.
    /// `knobs` must be legal for the map (see [`Attention::legal`]).
    ///
    /// # Errors
    /// Only if `x` does not have the channels the layer was built for.
    fn forward(&self, x: &Tensor, knobs: &Knobs, watch: &Watch) -> Result<Watched>;
}

/// A tensor of a trace with its documented name.
#[derive(Debug, Clone)]
pub struct NamedTensor {
    /// Name within the layer, e.g. `affinity_it0`.
    pub name: String,
    /// The numbers.
    pub tensor: Tensor,
}

/// What one attention layer computed on one picture.
pub trait Trace: Any + Send + Sync + Debug {
    /// Which mechanism made it.
    fn mechanism(&self) -> &'static Mechanism;

    /// Size of the feature map it was computed on (without padding).
    fn map(&self) -> MapSize;

    /// Every tensor under its documented name.
    ///
    /// # Errors
    /// If a tensor cannot be made, which no input reaches.
    fn tensors(&self) -> Result<Vec<NamedTensor>>;

    /// The pictures that show it without anyone choosing anything.
    fn views(&self) -> Vec<View>;

    /// Memory held, in bytes.
    fn bytes(&self) -> usize;
}

impl dyn Trace {
    /// The trace as its own type.
    pub fn downcast<T: Trace>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Names an array for [`Trace::tensors`].
fn named(name: impl Into<String>, array: &Array) -> Result<NamedTensor> {
    Ok(NamedTensor {
        name: name.into(),
        tensor: array.to_tensor()?,
    })
}

/// Smallest multiple of `m` that is at least `x`.
fn ceil_to(x: usize, m: usize) -> usize {
    x.div_ceil(m) * m
}

/// Zero-pads `[B, C, H, W]` at the bottom and right to `H × W`.
fn pad_to(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    x.pad_with_zeros(2, 0, height - h)?
        .pad_with_zeros(3, 0, width - w)
}
