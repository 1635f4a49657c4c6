//! A block as an attention layer: what attends inside it can be looked at.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::Block;
use crate::attention::position_sensitive::{self, Eye, PositionSensitiveTrace};
use crate::attention::{self, Attention, Knobs, Legal, MapSize, Mechanism, Watch};

/// A row with position-sensitive attention inside.
#[derive(Debug)]
pub(crate) struct Watched(pub Box<dyn Block>);

impl Attention for Watched {
    fn mechanism(&self) -> &'static Mechanism {
        &position_sensitive::MECHANISM
    }

    fn legal(&self, _map: MapSize, _wanted: &Knobs) -> Legal {
        Legal::default()
    }

    fn forward(&self, x: &Tensor, _knobs: &Knobs, watch: &Watch) -> Result<attention::Watched> {
        let (_, _, h, w) = x.dims4()?;
        let mut eye = Eye::new(watch);
        let y = self.0.forward(x, &mut eye)?;
        if !watch.is_on() {
            return Ok((y, None));
        }
        let trace = PositionSensitiveTrace {
            map: [h, w],
            attentions: eye.finish(),
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }
}
