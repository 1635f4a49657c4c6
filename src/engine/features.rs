//! The feature maps that one row put out, for looking at.

use std::sync::{Arc, Weak};

use candle_core::Tensor;
use rayon::prelude::*;

use super::store::Key;
use super::{Settings, Wish, badges};
use crate::Result;
use crate::attention::view::{Answer, Body, Gallery, Heat, View};
use crate::attention::{Array, Knobs, MapSize};
use crate::checkpoint::Model;
use crate::measure::{Activation, ChannelNumbers, ranked};
use crate::picture::Range;
use crate::picture::numbers::value_label;
use crate::yolo::Module;

/// What the values are called.
const QUANTITY: &str = "activation";

/// The feature maps of one row.
#[derive(Debug, Clone)]
pub struct FeatureMaps {
    /// The wish that they answer.
    pub wish: u64,
    /// Row of the network.
    pub row: usize,
    /// Its module name.
    pub module: String,
    /// The numbers; the very same as long as nothing changed that they depend on.
    pub maps: Arc<Channels>,
    /// Why they should be read with care: untrained values, random weights.
    pub badges: Vec<String>,
}

/// Values of all channels, and what they come to in each.
#[derive(Debug)]
pub struct Channels {
    /// The output of the row, `[C, H, W]`.
    pub values: Array,
    /// One per channel.
    pub numbers: Vec<ChannelNumbers>,
}

impl Channels {
    /// Copies a map `[1, C, H, W]` from its device.
    fn copy(map: &Tensor) -> candle_core::Result<Self> {
        let values = Array::from_tensor(&map.get(0)?)?;
        let channels = (0..values.shape()[0]).into_par_iter();
        let numbers = channels.map(|c| ChannelNumbers::of(values.row(c)));
        Ok(Self {
            numbers: numbers.collect(),
            values,
        })
    }

    /// How many channels there are.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Height and width, in cells.
    pub fn size(&self) -> MapSize {
        match *self.values.shape() {
            [_, h, w] => [h, w],
            _ => [0, 0],
        }
    }

    /// The map of a channel.
    pub fn heat(&self, channel: usize) -> Option<Heat> {
        let values = self.values.row(channel);
        let [rows, cols] = self.size();
        (!values.is_empty()).then(|| Heat {
            quantity: QUANTITY,
            values: values.into(),
            rows,
            cols,
            extent: [cols as f32, rows as f32],
        })
    }

    /// Range of the finite values of a channel; 0 to 0 if there are none.
    pub fn range(&self, channel: usize) -> Range {
        let numbers = self.numbers.get(channel);
        let known = numbers.filter(|n| n.min.is_finite());
        known.map_or(Range { min: 0.0, max: 0.0 }, |n| Range {
            min: n.min,
            max: n.max,
        })
    }

    /// Range of the finite values of all channels; 0 to 0 if there are none.
    pub fn common_range(&self) -> Range {
        let known = (0..self.count()).filter(|c| self.numbers[*c].min.is_finite());
        let ranges = known.map(|c| self.range(c));
        let all = ranges.reduce(Range::union);
        all.unwrap_or(Range { min: 0.0, max: 0.0 })
    }

    /// Channels from the strongest to the weakest, or by their number.
    pub fn order(&self, by: Option<Activation>) -> Vec<usize> {
        match by {
            Some(by) => ranked(&self.numbers, by),
            None => (0..self.count()).collect(),
        }
    }
}

impl FeatureMaps {
    /// The first `most` maps in an order, as a picture.
    pub fn answer(&self, by: Option<Activation>, most: usize) -> Answer {
        let all = self.maps.count();
        let order = self.maps.order(by).into_iter().take(most);
        let shown = order.filter_map(|c| Some((c, self.maps.heat(c)?)));
        let label = |c: usize| match by {
            Some(by) => {
                let value = value_label(self.maps.numbers[c].by(by), 4);
                format!("channel {c}, {} {value}", by.name())
            }
            None => format!("channel {c}"),
        };
        let (channels, maps): (Vec<_>, Vec<_>) =
            shown.map(|(c, heat)| (c, (label(c), heat))).unzip();
        let how = match by {
            Some(by) => format!("largest {} first", by.name()),
            None => "by their number".to_owned(),
        };
        let n = channels.len();
        let view = View {
            name: "feature_maps".into(),
            title: "Feature maps".into(),
            caption: format!("{n} of the {all} channels that the row puts out, {how}"),
            body: Body::Gallery(Gallery { maps, channels }),
        };
        let [h, w] = self.maps.size();
        Answer {
            view,
            beside: Vec::new(),
            chosen: format!("row {} {}, {all} × {h} × {w}", self.row, self.module),
        }
    }
}

impl Settings {
    /// The row whose feature maps are wanted, if it puts out any.
    pub(super) fn features_on(&self, model: &Model) -> Option<usize> {
        let row = self.features?;
        let layer = model.network.layers().get(row)?;
        (!matches!(layer.module, Module::Detect(_))).then_some(row)
    }
}

/// The last copy, as long as somebody has it: the same numbers are not copied twice.
#[derive(Default)]
pub(super) struct LastCopy(Option<(Key, Weak<Channels>)>);

impl LastCopy {
    /// The feature maps of a row, from its output `[1, C, H, W]` under this key.
    pub(super) fn of(
        &mut self,
        wish: &Wish,
        row: usize,
        knobs: Option<&Knobs>,
        key: Key,
        map: &Tensor,
    ) -> Result<Arc<FeatureMaps>> {
        let same = self.0.as_ref().filter(|(kept, _)| *kept == key);
        let maps = match same.and_then(|(_, maps)| maps.upgrade()) {
            Some(maps) => maps,
            None => Arc::new(Channels::copy(map)?),
        };
        self.0 = Some((key, Arc::downgrade(&maps)));
        let layer = wish.model.network.layers().get(row);
        let none = Knobs::new();
        Ok(Arc::new(FeatureMaps {
            wish: wish.number,
            row,
            module: layer.map_or_else(String::new, |l| l.name.clone()),
            maps,
            badges: badges::of_row(&wish.model, row, knobs.unwrap_or(&none), &wish.settings),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn maps() -> FeatureMaps {
        let values = vec![0.0f32, 1.0, 5.0, -5.0, f32::NAN, f32::NAN];
        let map = Tensor::from_vec(values, (1, 3, 1, 2), &Device::Cpu).unwrap();
        FeatureMaps {
            wish: 1,
            row: 4,
            module: "Conv".into(),
            maps: Arc::new(Channels::copy(&map).unwrap()),
            badges: Vec::new(),
        }
    }

    #[test]
    fn a_gallery_holds_the_strongest_maps_with_their_numbers() {
        let answer = maps().answer(Some(Activation::Maximum), 2);
        let Body::Gallery(gallery) = answer.view.body else {
            panic!("a gallery")
        };
        assert_eq!(gallery.channels, [1, 0]);
        assert_eq!(gallery.maps[0].0, "channel 1, maximum 5");
        assert_eq!(*gallery.maps[0].1.values, [5.0, -5.0]);
        assert_eq!(gallery.maps[0].1.extent, [2.0, 1.0]);
        assert!(answer.view.caption.starts_with("2 of the 3 channels"));
        assert_eq!(answer.chosen, "row 4 Conv, 3 × 1 × 2");
        let Body::Gallery(plain) = maps().answer(None, 9).view.body else {
            panic!("a gallery")
        };
        assert_eq!(plain.channels, [0, 1, 2]);
    }

    #[test]
    fn ranges_are_those_of_the_finite_values() {
        let maps = maps().maps;
        let range = |min, max| Range { min, max };
        assert_eq!(maps.range(0), range(0.0, 1.0));
        assert_eq!(maps.range(2), range(0.0, 0.0));
        assert_eq!(maps.range(9), range(0.0, 0.0));
        assert_eq!(maps.common_range(), range(-5.0, 5.0));
        assert!(maps.heat(3).is_none());
    }
}
