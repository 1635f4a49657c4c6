//! The planes of feature maps, wherever they lie: maps that follow each other along the channels need not be copied
//! together to be read as one.

use candle_core::{Layout, Result, Storage, StorageRef, Tensor, bail};

use super::values;

/// Contiguous maps on the CPU, kept from being written to.
pub(super) struct Held<'a>(Vec<(StorageRef<'a>, &'a Layout)>);

impl<'a> Held<'a> {
    pub(super) fn new(maps: &'a [Tensor]) -> Self {
        Self(maps.iter().map(Tensor::storage_and_layout).collect())
    }

    /// The values of each map.
    pub(super) fn values(&self) -> Result<Vec<&[f32]>> {
        self.0
            .iter()
            .map(|(storage, layout)| match &**storage {
                Storage::Cpu(storage) => values(storage, layout),
                _ => bail!("the kernel needs tensors on the CPU"),
            })
            .collect()
    }
}

/// Every plane of one or several maps `[batch, channels, …]`, joined along the channels, image by image.
pub(super) struct Maps<'a> {
    planes: Vec<&'a [f32]>,
    batch: usize,
}

impl<'a> Maps<'a> {
    /// `parts`: the values of each map; `plane`: those of one plane.
    pub(super) fn new(parts: &[&'a [f32]], batch: usize, plane: usize) -> Self {
        let image = |b: usize| {
            parts.iter().flat_map(move |part| {
                let len = part.len() / batch;
                part[b * len..(b + 1) * len].chunks_exact(plane)
            })
        };
        Self {
            planes: (0..batch).flat_map(image).collect(),
            batch,
        }
    }

    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// All planes.
    pub(super) fn planes(&self) -> &[&'a [f32]] {
        &self.planes
    }

    /// The planes of one image.
    pub(super) fn image(&self, b: usize) -> &[&'a [f32]] {
        let channels = self.planes.len() / self.batch;
        &self.planes[b * channels..(b + 1) * channels]
    }
}
