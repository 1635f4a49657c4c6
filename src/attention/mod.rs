//! The attention mechanisms: each turns a configuration and weights into a module, and a feature
//! map into `(output, trace)`.
//!
//! A mechanism is one file here: its module, its typed trace, its knobs, and one line in
//! [`MECHANISMS`]. Everything above finds it through [`Attention`] and [`Trace`]. Only the pane
//! that draws a mechanism, and its tests, name its trace type.

mod args;
mod array;
mod erasure;
mod heads;
pub mod knobs;
mod lines;
pub mod polarized;
pub mod position_sensitive;
pub mod routing;
pub mod super_token;
pub mod view;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{Result, Tensor};

pub use args::{Arg, Attributes, BuildArgs, Given, Notes};
pub use array::{Array, Indices};
pub use erasure::{Erasable, Erasure};
pub use knobs::{Clamp, Knob, KnobValue, Knobs, Legal};

use view::{Answer, Asked, Fact, Question, Turn, Units, View};

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
    /// Builds the module for one row; none where blocks of the detector itself hold it.
    pub build: Option<Build>,
    /// Builds the module without weights for any feature map of so many channels, to look at a
    /// layer that has no attention; none where the mechanism means nothing without training.
    pub probe: Option<Probe>,
}

/// Builds the module of one row, or says in one sentence why it cannot.
pub type Build = fn(&BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String>;
/// Builds a module without weights for a number of channels.
pub type Probe = fn(usize) -> std::result::Result<Box<dyn Attention>, String>;

/// Every mechanism that can be built and watched.
pub static MECHANISMS: &[&Mechanism] = &[
    &super_token::MECHANISM,
    &routing::MECHANISM,
    &polarized::MECHANISM,
    &position_sensitive::MECHANISM,
];

/// The mechanism that carries a module name, if any.
pub fn mechanism_of(module: &str) -> Option<&'static Mechanism> {
    MECHANISMS
        .iter()
        .find(|m| m.modules.contains(&module))
        .copied()
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

    /// What can be taken out of it at these legal knobs; `None` if it has no units that read from
    /// each other.
    fn erasable(&self, _map: MapSize, _knobs: &Knobs) -> Option<Erasable> {
        None
    }

    /// [`Attention::forward`] with something taken out. Where it does not act (see
    /// [`Erasure::acts_on`]) the result is the same, byte for byte.
    ///
    /// # Errors
    /// As [`Attention::forward`].
    fn forward_without(
        &self,
        x: &Tensor,
        knobs: &Knobs,
        _erasure: &Erasure,
        watch: &Watch,
    ) -> Result<Watched> {
        self.forward(x, knobs, watch)
    }

    /// What taking something out changes, each in a few words; empty where it does not act.
    fn erased(&self, map: MapSize, knobs: &Knobs, erasure: &Erasure) -> Vec<String> {
        let what = self.erasable(map, knobs);
        let acting = what.filter(|what| erasure.acts_on(what));
        acting.map_or_else(Vec::new, |what| erasure.words(&what))
    }
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

    /// What it can be asked, the most telling question first.
    fn questions(&self) -> &'static [Question];

    /// The answer to one of its questions. `None` for a question it does not know, and where the
    /// attention of the asked-for unit was not kept (see [`Watch::Focus`]).
    fn answer(&self, question: &str, asked: &Asked) -> Option<Answer>;

    /// The answers to all questions without anyone choosing anything, once for each attention in
    /// the row: then their names end in its number.
    fn views(&self) -> Vec<View> {
        let parts = self.choices(Turn::Part).max(1);
        let mut views = Vec::new();
        for part in 0..parts {
            for question in self.questions() {
                let by_part = parts > 1 && question.turns.contains(&Turn::Part);
                if part > 0 && !by_part {
                    continue;
                }
                let asked = Asked {
                    part: Some(part),
                    ..Asked::default()
                };
                let mut view = match self.answer(question.id, &asked) {
                    Some(answer) => answer.view,
                    None => continue,
                };
                if by_part {
                    view.name = format!("{}_{part}", view.name).into();
                }
                views.push(view);
            }
        }
        views
    }

    /// How many there are to choose from; 0 or 1 where there is nothing to choose.
    fn choices(&self, _turn: Turn) -> usize {
        0
    }

    /// What counts where nothing is chosen, of turns that are a number.
    fn usual(&self, _turn: Turn) -> usize {
        1
    }

    /// What its cells are grouped into.
    fn units(&self) -> Option<Units> {
        None
    }

    /// The unit that a cell (row, column) of the map belongs to, at an iteration (`None`: the
    /// last).
    fn unit_at(&self, _cell: [usize; 2], _iteration: Option<usize>) -> Option<usize> {
        None
    }

    /// Where a unit lies, `x0, y0, x1, y1` in cells of the map.
    fn unit_rect(&self, _unit: usize) -> Option<[f32; 4]> {
        None
    }

    /// What it says of a pressed place, each in a few words: its unit, weights, ranks.
    fn facts(&self, _asked: &Asked) -> Vec<Fact> {
        Vec::new()
    }

    /// What a unit reads from others, as shares that sum to 1: the mean of all heads, and of the
    /// first attention in the row. `None` where units do not read, or its attention was not kept.
    fn reads(&self, _unit: usize) -> Option<Vec<(usize, f32)>> {
        None
    }

    /// What the attention read, `[C, H, W]`.
    fn features(&self) -> Option<&Tensor> {
        None
    }

    /// The weight that each channel is scaled with, where there is one.
    fn channel_weights(&self) -> Option<&[f32]> {
        None
    }

    /// Memory held, in bytes.
    fn bytes(&self) -> usize;
}

/// The unit that is asked about: the pressed one, or that of the pressed cell.
fn asked_unit(trace: &impl Trace, asked: &Asked) -> Option<usize> {
    let of_cell = || trace.unit_at(asked.cell?, asked.iteration);
    let pressed = asked.unit.filter(|u| *u < trace.choices(Turn::Unit));
    pressed.or_else(of_cell)
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
