//! What a row puts out as others read it: doubling pixels and joining channels wait until somebody needs the values.

use candle_core::{Result, Tensor, bail};

use crate::kernels::{self, Conv2d};

/// A feature map `[1, C, H, W]`, or the maps that it is made of. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Map(Vec<Part>);

/// Some channels of a map.
#[derive(Debug, Clone)]
struct Part {
    map: Tensor,
    /// Whether every pixel stands for four.
    doubled: bool,
}

impl From<Tensor> for Map {
    fn from(map: Tensor) -> Self {
        let doubled = false;
        Self(vec![Part { map, doubled }])
    }
}

impl Map {
    /// Every pixel twice in both directions.
    pub(super) fn doubled(&self) -> Result<Self> {
        let map = self.tensor()?;
        let doubled = true;
        Ok(Self(vec![Part { map, doubled }]))
    }

    /// Maps one after the other along the channels.
    ///
    /// # Errors
    /// When they differ in another axis, or there are none.
    pub(super) fn joined(maps: &[Self]) -> Result<Self> {
        let parts: Vec<Part> = maps.iter().flat_map(|map| map.0.clone()).collect();
        let sizes = parts.iter().map(Part::size).collect::<Result<Vec<_>>>()?;
        if sizes.is_empty() || sizes.iter().any(|size| *size != sizes[0]) {
            bail!("maps of {sizes:?} pixels joined: expected equal sizes");
        }
        Ok(Self(parts))
    }

    /// The values as one tensor.
    ///
    /// # Errors
    /// When there is no memory for it on its device.
    pub fn tensor(&self) -> Result<Tensor> {
        let parts = self.0.iter().map(Part::tensor);
        match parts.collect::<Result<Vec<_>>>()?.as_slice() {
            [one] => Ok(one.clone()),
            all => kernels::cat(all, 1),
        }
    }

    /// The map after a convolution, without writing it as one where that can be avoided.
    pub(super) fn convolved(&self, conv: &Conv2d) -> Result<Tensor> {
        let plain = |parts: &[Part]| -> Option<Vec<Tensor>> {
            let whole = |part: &Part| (!part.doubled).then(|| part.map.clone());
            parts.iter().map(whole).collect()
        };
        if let Some(maps) = plain(&self.0) {
            return conv.forward_joined(&maps);
        }
        match self.0.split_first() {
            Some((first, rest)) if first.doubled => match plain(rest) {
                Some(rest) => conv.forward_doubled(&first.map, &rest),
                None => conv.forward(&self.tensor()?),
            },
            _ => conv.forward(&self.tensor()?),
        }
    }

    /// Memory of what it is made of, in bytes.
    pub fn bytes(&self) -> usize {
        let numbers: usize = self.0.iter().map(|part| part.map.elem_count()).sum();
        size_of::<f32>() * numbers
    }
}

impl Part {
    fn tensor(&self) -> Result<Tensor> {
        match self.doubled {
            true => kernels::upsample_nearest2x(&self.map),
            false => Ok(self.map.clone()),
        }
    }

    /// Batch, height and width.
    fn size(&self) -> Result<[usize; 3]> {
        let (batch, _, height, width) = self.map.dims4()?;
        let factor = if self.doubled { 2 } else { 1 };
        Ok([batch, factor * height, factor * width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Activation;
    use candle_core::{Device, Result};

    fn map(channels: usize, side: usize) -> Tensor {
        let count = (channels * side * side) as f32;
        let values = Tensor::arange(0.0, count, &Device::Cpu).unwrap();
        let values = (values * 0.37).unwrap().sin().unwrap();
        values.reshape((1, channels, side, side)).unwrap()
    }

    /// The four ways in which a map may be made of others, with their values.
    fn maps() -> Result<Vec<(Map, Tensor)>> {
        let (small, large) = (map(5, 6), map(3, 12));
        let twice = kernels::upsample_nearest2x(&small)?;
        let doubled = Map::from(small).doubled()?;
        let whole = Map::from(large.clone());
        let join =
            |maps: &[&Map]| Map::joined(&maps.iter().map(|m| (*m).clone()).collect::<Vec<_>>());
        let cat = |tensors: &[&Tensor]| Tensor::cat(tensors, 1);
        Ok(vec![
            (doubled.clone(), twice.clone()),
            (join(&[&whole, &whole])?, cat(&[&large, &large])?),
            (join(&[&doubled, &whole])?, cat(&[&twice, &large])?),
            (join(&[&whole, &doubled])?, cat(&[&large, &twice])?),
            (
                join(&[&doubled, &doubled, &whole])?,
                cat(&[&twice, &twice, &large])?,
            ),
        ])
    }

    #[test]
    fn a_map_has_the_values_of_its_parts() {
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (map, values) in maps().unwrap() {
            assert_eq!(flat(&map.tensor().unwrap()), flat(&values));
            assert!(map.bytes() <= 4 * values.elem_count());
            let channels = values.dim(1).unwrap();
            for kernel in [1, 3] {
                let weight = Tensor::ones(
                    (8, channels, kernel, kernel),
                    candle_core::DType::F32,
                    &Device::Cpu,
                );
                let conv =
                    Conv2d::new(weight.unwrap(), None, 1, kernel / 2, 1, Activation::Silu).unwrap();
                let (got, want) = (
                    map.convolved(&conv).unwrap(),
                    conv.forward(&values).unwrap(),
                );
                let off = flat(&got)
                    .iter()
                    .zip(flat(&want))
                    .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(got.dims() == want.dims() && off < 1e-5, "{off}");
            }
        }
    }

    #[test]
    fn maps_of_other_sizes_are_not_joined() {
        let (small, large) = (Map::from(map(1, 6)), Map::from(map(1, 12)));
        assert!(Map::joined(&[small.clone(), large.clone()]).is_err());
        assert!(Map::joined(&[small.doubled().unwrap(), large]).is_ok());
        assert!(Map::joined(&[]).is_err());
    }
}
