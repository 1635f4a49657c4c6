//! The channels that are active inside a box.

use super::{Rect, cells_in, middles};
use crate::attention::MapSize;

/// A channel inside and outside of a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelShare {
    /// The channel.
    pub channel: usize,
    /// Mean absolute value over the cells inside.
    pub inside: f64,
    /// The same over the other cells on the photograph.
    pub outside: f64,
    /// The weight that the layer scales the channel with; 1 where it has none.
    pub weight: f32,
}

impl ChannelShare {
    /// How much stronger the channel leaves the layer inside than outside: `weight · (inside −
    /// outside)`.
    pub fn contrast(&self) -> f64 {
        f64::from(self.weight) * (self.inside - self.outside)
    }
}

/// Every channel of `features` (`[C, H, W]`, row-major), the largest contrast first; equal ones in
/// the order of the channels. Empty where the box or what is around it has no cell, and where
/// sizes do not fit.
pub fn channels(
    features: &[f32],
    [height, width]: MapSize,
    weights: Option<&[f32]>,
    rect: Rect,
    photo: Rect,
) -> Vec<ChannelShare> {
    let plane = height * width;
    let [rows, cols] = middles(photo, [1.0, 1.0], [height, width]);
    let [high, wide] = cells_in(rect, [1.0, 1.0], [height, width]);
    let on_photo = rows.flat_map(|y| cols.clone().map(move |x| (y, x)));
    let (own, other): (Vec<_>, Vec<_>) =
        on_photo.partition(|(y, x)| high.contains(y) && wide.contains(x));
    if own.is_empty() || other.is_empty() || !features.len().is_multiple_of(plane) {
        return Vec::new();
    }
    let mean = |channel: &[f32], cells: &[(usize, usize)]| {
        let value = |&(y, x): &(usize, usize)| f64::from(channel[y * width + x].abs());
        cells.iter().map(value).sum::<f64>() / cells.len() as f64
    };
    let mut all: Vec<ChannelShare> = features
        .chunks(plane)
        .enumerate()
        .map(|(channel, values)| ChannelShare {
            channel,
            inside: mean(values, &own),
            outside: mean(values, &other),
            weight: weights.and_then(|w| w.get(channel).copied()).unwrap_or(1.0),
        })
        .collect();
    all.sort_by(|a, b| {
        b.contrast()
            .total_cmp(&a.contrast())
            .then(a.channel.cmp(&b.channel))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contrast_is_weighted() {
        // Two by two cells; the box is the lower right one.
        let features = [1., 1., 1., 5., 0., 0., 0., -3., 9., 9., 9., 0.];
        let (rect, photo) = ([1.0, 1.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]);
        let weights = [0.25, 0.5, 1.0];
        let all = channels(&features, [2, 2], Some(&weights), rect, photo);
        let order: Vec<usize> = all.iter().map(|c| c.channel).collect();
        assert_eq!(order, [1, 0, 2]);
        assert_eq!(
            (all[0].inside, all[0].outside, all[0].contrast()),
            (3.0, 0.0, 1.5)
        );
        assert_eq!(all[2].contrast(), -9.0);
        let bare = channels(&features, [2, 2], None, rect, photo);
        assert_eq!(bare[0].channel, 0);
        assert!(channels(&features, [2, 2], None, photo, photo).is_empty());
        assert!(channels(&features, [5, 1], None, rect, photo).is_empty());
    }
}
