//! Where a block finds its weights, and what its checkpoint says about it.

use candle_core::{Result, Shape, Tensor};
use candle_nn::VarBuilder;

use crate::attention::{Arg, Attributes, Given};

/// The weights and the attributes below one path of a row.
#[derive(Clone)]
pub(crate) struct Source<'a> {
    weights: VarBuilder<'a>,
    attributes: &'a Attributes,
    /// Path below the row, with a dot behind it unless it is empty.
    path: String,
}

impl<'a> Source<'a> {
    /// The source of a whole row.
    pub(crate) fn new(weights: VarBuilder<'a>, attributes: &'a Attributes) -> Self {
        Self {
            weights,
            attributes,
            path: String::new(),
        }
    }

    /// What lies below `name`.
    pub(crate) fn pp(&self, name: impl ToString) -> Self {
        let name = name.to_string();
        Self {
            path: format!("{}{name}.", self.path),
            weights: self.weights.pp(name),
            attributes: self.attributes,
        }
    }

    /// The same weights without a word about them.
    pub(crate) fn without_attributes(&self) -> Self {
        static NONE: Attributes = Attributes::new();
        Self {
            attributes: &NONE,
            ..self.clone()
        }
    }

    /// A tensor of a known shape.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.weights.get(shape, name)
    }

    /// A tensor that starts at one value where the weights lack it.
    pub(crate) fn get_or(&self, shape: impl Into<Shape>, name: &str, start: f64) -> Result<Tensor> {
        let init = candle_nn::Init::Const(start);
        self.weights.get_with_hints(shape, name, init)
    }

    /// Whether the weights have a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.contains_tensor(name)
    }

    /// What the checkpoint says under a name.
    pub(crate) fn attribute<'n>(&'n self, name: &'n str) -> Given<'n> {
        let value = self.attributes.get(&format!("{}{name}", self.path));
        let value = value.filter(|v| **v != Arg::None);
        Given { name, value }
    }
}
