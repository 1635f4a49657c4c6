//! Fewer keys and values per region, as some forms of BiFormer have them.

use candle_core::{Result, Tensor};

use super::regions::Regions;
use crate::attention::{Array, Given};

/// How keys and values of a region are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Every token is a key.
    None,
    /// So many keys per side, whatever the size of the region.
    Adaptive { side: usize, take: Take },
    /// One key for so many tokens per side; what is left over is dropped.
    Ratio { ratio: usize, take: Take },
}

/// What stands for the tokens of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Mean,
    Largest,
}

impl Pooling {
    /// The pooling of a mode; `side` and `ratio` are asked for where it needs them.
    pub(super) fn read(
        mode: Given<'_>,
        side: Given<'_>,
        ratio: Given<'_>,
    ) -> std::result::Result<Self, String> {
        let adaptive = |take| {
            let side = side.count(Some(4), 64)?;
            Ok(Self::Adaptive { side, take })
        };
        let strided = |take| match ratio.count(Some(4), 64)? {
            1 => Ok(Self::None),
            ratio => Ok(Self::Ratio { ratio, take }),
        };
        match mode.word("identity")? {
            "identity" => Ok(Self::None),
            "ada_avgpool" => adaptive(Take::Mean),
            "ada_maxpool" => adaptive(Take::Largest),
            "avgpool" => strided(Take::Mean),
            "maxpool" => strided(Take::Largest),
            other => Err(format!(
                "{} is {other}, which BiFormer names but does not have; expected identity, \
                 ada_avgpool, ada_maxpool, avgpool or maxpool",
                mode.name
            )),
        }
    }

    /// The tokens `start..end` along a side of a region that each key stands for.
    pub(super) fn windows(self, side: usize) -> Vec<[usize; 2]> {
        match self {
            Self::None => (0..side).map(|i| [i, i + 1]).collect(),
            Self::Adaptive { side: keys, .. } => (0..keys)
                .map(|i| [i * side / keys, ((i + 1) * side).div_ceil(keys)])
                .collect(),
            Self::Ratio { ratio, .. } => (0..side / ratio)
                .map(|i| [i * ratio, (i + 1) * ratio])
                .collect(),
        }
    }

    /// Shortest side of a region that leaves a key.
    pub(super) fn least_side(self) -> usize {
        match self {
            Self::Ratio { ratio, .. } => ratio,
            _ => 1,
        }
    }

    /// Channels of a padded map `[1, C, H, W]` by region: `[S², T, C]`, regions and the keys in
    /// them row-major.
    pub(super) fn by_region(self, x: &Tensor, r: Regions) -> Result<Tensor> {
        let c = x.dim(1)?;
        let [h, w] = r.region;
        let [rows, cols] = r.grid;
        let x = x.contiguous()?.reshape(&[c, rows, h, cols, w][..])?;
        let take = match self {
            Self::None => {
                return x.permute([1, 3, 2, 4, 0])?.reshape((r.count(), h * w, c));
            }
            Self::Adaptive { take, .. } | Self::Ratio { take, .. } => take,
        };
        let planes = Array::from_tensor(&x.permute([1, 3, 0, 2, 4])?.contiguous()?)?;
        let (tall, wide) = (self.windows(h), self.windows(w));
        let mut pooled = Vec::with_capacity(r.count() * c * tall.len() * wide.len());
        for plane in planes.data().chunks_exact((h * w).max(1)) {
            for &[top, bottom] in &tall {
                for &[left, right] in &wide {
                    let cells = (top..bottom).flat_map(|y| &plane[y * w + left..y * w + right]);
                    pooled.push(match take {
                        Take::Mean => cells.sum::<f32>() / ((bottom - top) * (right - left)) as f32,
                        Take::Largest => cells.copied().fold(f32::NEG_INFINITY, f32::max),
                    });
                }
            }
        }
        let shape = (r.count(), c, tall.len() * wide.len());
        Tensor::from_vec(pooled, shape, x.device())?
            .transpose(1, 2)?
            .contiguous()
    }
}
