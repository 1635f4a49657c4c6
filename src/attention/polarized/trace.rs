//! What polarized self-attention computed, and the maps that follow from it.

use candle_core::{Result, Tensor};

use super::{Form, MECHANISM, questions};
use crate::attention::view::{Answer, Asked, Bars, Fact, Heat, Question};
use crate::attention::{Array, MapSize, Mechanism, NamedTensor, Trace, named};

/// The trace of one PSA layer.
#[derive(Debug, Clone)]
pub struct PolarizedTrace {
    /// Feature map.
    pub map: MapSize,
    /// How the weights are put together.
    pub form: Form,
    /// `[C]` between 0 and 1.
    pub channel_weight: Array,
    /// `[H, W]` between 0 and 1.
    pub spatial_weight: Array,
    /// `[H, W]` softmax over positions: where the channel branch looks; sums to 1.
    pub channel_query: Array,
    /// `[C/2]` softmax over channels: which channels the spatial branch asks; sums to 1. In the
    /// original modules the plain mean of the query, without a softmax.
    pub spatial_query: Array,
    /// Whether `spatial_query` is a softmax.
    pub query_is_softmax: bool,
    /// `[C, H, W]` input of the module.
    pub input: Tensor,
    /// `[C, H, W]` output of the module.
    pub output: Tensor,
}

impl PolarizedTrace {
    /// The spatial weight as a map.
    pub fn spatial_map(&self) -> Heat {
        self.heat("spatial weight", &self.spatial_weight)
    }

    /// Where the channel branch looks, as a map.
    pub fn query_map(&self) -> Heat {
        self.heat("channel query", &self.channel_query)
    }

    /// The channel weights as bars.
    pub fn channel_bars(&self) -> Bars {
        Bars {
            quantity: "channel weight",
            values: self.channel_weight.shared(),
        }
    }

    /// The channels that the spatial branch asks, as bars.
    pub fn query_bars(&self) -> Bars {
        Bars {
            quantity: "spatial query",
            values: self.spatial_query.shared(),
        }
    }

    /// The factor on one channel at each position, as a map.
    pub fn factor_map(&self, channel: usize) -> Option<Heat> {
        let channel = *self.channel_weight.data().get(channel)?;
        let spatial = self.spatial_weight.data().iter();
        let values = spatial.map(|s| self.form.factor(*s, channel)).collect();
        Some(Heat::of_cells("factor", self.map, values))
    }

    /// A channel of the input as a map.
    pub fn input_map(&self, channel: usize) -> Option<Heat> {
        let plane = self.input.get(channel).ok()?;
        let values = Array::from_tensor(&plane).ok()?.shared();
        Some(Heat::of_cells("activation", self.map, values))
    }

    fn heat(&self, quantity: &'static str, array: &Array) -> Heat {
        Heat::of_cells(quantity, self.map, array.shared())
    }
}

impl Trace for PolarizedTrace {
    fn mechanism(&self) -> &'static Mechanism {
        &MECHANISM
    }

    fn map(&self) -> MapSize {
        self.map
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>> {
        let plain = |name: &str, tensor: &Tensor| NamedTensor {
            name: name.into(),
            tensor: tensor.clone(),
        };
        Ok(vec![
            plain("in", &self.input),
            plain("out", &self.output),
            named("cw", &self.channel_weight)?,
            named("sw", &self.spatial_weight)?,
            named("q_map", &self.channel_query)?,
            named("qs", &self.spatial_query)?,
        ])
    }

    fn questions(&self) -> &'static [Question] {
        &questions::ALL
    }

    fn answer(&self, question: &str, asked: &Asked) -> Option<Answer> {
        questions::answer(self, question, asked)
    }

    fn facts(&self, asked: &Asked) -> Vec<Fact> {
        questions::facts(self, asked)
    }

    fn channel_weights(&self) -> Option<&[f32]> {
        Some(self.channel_weight.data())
    }

    fn features(&self) -> Option<&Tensor> {
        Some(&self.input)
    }

    fn bytes(&self) -> usize {
        let arrays = [
            &self.channel_weight,
            &self.spatial_weight,
            &self.channel_query,
            &self.spatial_query,
        ];
        arrays.iter().map(|a| a.bytes()).sum::<usize>()
            + 4 * (self.input.elem_count() + self.output.elem_count())
    }
}
