//! 2-d convolution with bias and activation, as the blocks of a network use it.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};

use super::activation::Activation;
use super::conv_gemm::PackedConv;
use super::depthwise::Depthwise;
use super::maps::{Held, Maps};
use super::planes::Geometry;
use super::upsample::upsample_nearest2x;
use super::winograd::Winograd;
use super::{is_fast, plain};

/// A convolution with bias and activation, its weights packed once for the CPU.
///
/// Cloning shares the weights.
#[derive(Clone)]
pub struct Conv2d {
    weights: Weights,
    /// `[out, in / groups, k, k]`
    shape: [usize; 4],
    bias: Tensor,
    stride: usize,
    padding: usize,
    groups: usize,
    act: Activation,
}

/// The weights in one form only: those of large detectors are hundreds of megabytes.
#[derive(Clone)]
enum Weights {
    /// For the code of this module.
    Packed(Arc<Packed>),
    /// For candle's operations.
    Plain(Tensor),
}

enum Packed {
    Product(PackedConv),
    Depthwise(Depthwise),
    Winograd(Winograd),
}

impl Conv2d {
    /// `weight` is `[out, in / groups, k, k]`, `bias` `[out]` (zeros where there is none); `padding` zeros
    /// go on all four sides.
    ///
    /// # Errors
    /// When the shapes or numbers do not fit together.
    pub fn new(
        weight: Tensor,
        bias: Option<Tensor>,
        stride: usize,
        padding: usize,
        groups: usize,
        act: Activation,
    ) -> Result<Self> {
        let plain = Self::plain(weight, bias, stride, padding, groups, act)?;
        let Weights::Plain(weight) = &plain.weights else {
            return Ok(plain);
        };
        if !is_fast(weight) {
            return Ok(plain);
        }
        let bias = &plain.bias;
        let packed = if Depthwise::supports(weight, groups) {
            Packed::Depthwise(Depthwise::new(weight, bias, act)?)
        } else if Winograd::supports(weight, stride, groups) {
            Packed::Winograd(Winograd::new(weight, bias, act)?)
        } else {
            Packed::Product(PackedConv::new(weight, bias, groups, act)?)
        };
        Ok(Self {
            weights: Weights::Packed(Arc::new(packed)),
            ..plain
        })
    }

    /// The same, made of candle's operations on any device: what the tests compare with.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn plain(
        weight: Tensor,
        bias: Option<Tensor>,
        stride: usize,
        padding: usize,
        groups: usize,
        act: Activation,
    ) -> Result<Self> {
        let (out, group_in, kernel, kernel_width) = weight.dims4()?;
        if kernel != kernel_width || kernel == 0 || out == 0 || group_in == 0 {
            bail!(
                "convolution weights {:?}: expected [out, in / groups, k, k] with a square kernel",
                weight.shape()
            );
        }
        if stride == 0 || groups == 0 || out % groups != 0 {
            bail!("convolution of {out} output channels with stride {stride} and {groups} groups");
        }
        let bias = match bias {
            Some(bias) if bias.dims() == [out] => bias.to_dtype(weight.dtype())?,
            Some(bias) => bail!("convolution bias {:?}: expected [{out}]", bias.shape()),
            None => Tensor::zeros(out, weight.dtype(), weight.device())?,
        };
        Ok(Self {
            shape: [out, group_in, kernel, kernel],
            weights: Weights::Plain(weight),
            bias,
            stride,
            padding,
            groups,
            act,
        })
    }

    /// Convolves `x` `[B, in, H, W]`; the result is `[B, out, H', W']` with
    /// H' = (H + 2·padding − k) / stride + 1, rounded down.
    ///
    /// # Errors
    /// When `x` has another rank or number of channels, or is smaller than the kernel.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(std::slice::from_ref(x), None)
    }

    /// Convolves the maps `[B, ?, H, W]` joined along the channels, without copying them together.
    ///
    /// # Errors
    /// As [`Conv2d::forward`], and when the maps differ in more than their channels or there are none.
    pub fn forward_joined(&self, maps: &[Tensor]) -> Result<Tensor> {
        self.run(maps, None)
    }

    /// [`Conv2d::forward`] plus `shortcut`, which has the shape of the result.
    ///
    /// # Errors
    /// As [`Conv2d::forward`], and when the shapes differ.
    pub fn forward_plus(&self, x: &Tensor, shortcut: &Tensor) -> Result<Tensor> {
        self.run(std::slice::from_ref(x), Some(shortcut))
    }

    /// [`Conv2d::forward_joined`] plus `shortcut`, which has the shape of the result.
    ///
    /// # Errors
    /// As [`Conv2d::forward_joined`], and when the shapes differ.
    pub fn forward_joined_plus(&self, maps: &[Tensor], shortcut: &Tensor) -> Result<Tensor> {
        self.run(maps, Some(shortcut))
    }

    /// [`Conv2d::forward_joined`] of `small`, every pixel of which is taken twice in both directions, and `maps`.
    ///
    /// # Errors
    /// As [`Conv2d::forward_joined`].
    pub fn forward_doubled(&self, small: &Tensor, maps: &[Tensor]) -> Result<Tensor> {
        if let Weights::Packed(packed) = &self.weights
            && let Packed::Product(conv) = &**packed
            && conv.is_pointwise()
            && (self.stride, self.padding) == (1, 0)
            && let Some(y) = self.summed(conv, small, maps)?
        {
            return Ok(y);
        }
        let doubled = upsample_nearest2x(small)?;
        self.forward_joined(&[&[doubled], maps].concat())
    }

    /// A sum over channels and the doubling of pixels may change places: the part of the sum that belongs to `small`
    /// is made before its doubling. None where the maps do not fit together.
    fn summed(&self, conv: &PackedConv, small: &Tensor, maps: &[Tensor]) -> Result<Option<Tensor>> {
        let (batch, first, h, w) = small.dims4()?;
        let mut channels = first;
        for map in maps {
            let (b, c, height, width) = map.dims4()?;
            if (b, height, width) != (batch, 2 * h, 2 * w) {
                return Ok(None);
            }
            channels += c;
        }
        let fast = maps.iter().chain([small]).all(is_fast);
        let sizes = Geometry::new((h, w), 1, 1, 0).zip(Geometry::new((2 * h, 2 * w), 1, 1, 0));
        let Some((little, large)) =
            sizes.filter(|_| fast && channels == self.shape[1] && !maps.is_empty())
        else {
            return Ok(None);
        };
        let small = [small.contiguous()?];
        let small = Held::new(&small);
        let sums = conv.begin(&Maps::new(&small.values()?, batch, h * w), &little);
        let sums = Tensor::from_vec(sums, (batch, self.out_channels(), h, w), &Device::Cpu)?;
        let sums = [upsample_nearest2x(&sums)?];
        let maps = maps
            .iter()
            .map(Tensor::contiguous)
            .collect::<Result<Vec<_>>>()?;
        let (maps, sums) = (Held::new(&maps), Held::new(&sums));
        let (maps, sums) = (maps.values()?, sums.values()?);
        let y = conv.finish(&Maps::new(&maps, batch, 4 * h * w), &large, first, sums[0]);
        let shape = (batch, self.out_channels(), 2 * h, 2 * w);
        Tensor::from_vec(y, shape, &Device::Cpu).map(Some)
    }

    fn run(&self, maps: &[Tensor], add: Option<&Tensor>) -> Result<Tensor> {
        let Some(first) = maps.first() else {
            bail!("convolution of no map");
        };
        let (batch, _, height, width) = first.dims4()?;
        let mut channels = 0;
        for map in maps {
            let (b, c, h, w) = map.dims4()?;
            if (b, h, w) != (batch, height, width) {
                bail!(
                    "convolution of {:?} joined with {:?}: they may only differ in channels",
                    first.shape(),
                    map.shape()
                );
            }
            channels += c;
        }
        let [_, group_in, kernel, _] = self.shape;
        let expected = group_in * self.groups;
        if channels != expected {
            bail!(
                "convolution of {:?}: expected {expected} channels for weights {:?}",
                [batch, channels, height, width],
                self.shape
            );
        }
        let Some(geometry) = Geometry::new((height, width), kernel, self.stride, self.padding)
        else {
            bail!(
                "convolution of {:?}: smaller than the kernel {kernel}×{kernel}",
                first.shape()
            );
        };
        let shape = (
            batch,
            self.out_channels(),
            geometry.out_height,
            geometry.out_width,
        );
        if let Some(add) = add
            && add.dims4()? != shape
        {
            bail!(
                "shortcut {:?} around a convolution that gives {shape:?}",
                add.shape()
            );
        }
        match &self.weights {
            Weights::Packed(packed) if maps.iter().chain(add).all(is_fast) => {
                let y = packed.forward(maps, add, batch, &geometry)?;
                Tensor::from_vec(y, shape, first.device())
            }
            Weights::Packed(_) => bail!("packed convolution: expected f32 maps on the CPU"),
            Weights::Plain(weight) => {
                let numbers = (self.stride, self.padding, self.groups);
                let x = Tensor::cat(maps, 1)?;
                let y = plain::conv2d(&x, weight, &self.bias, numbers, self.act)?;
                add.map_or(Ok(y.clone()), |add| add + y)
            }
        }
    }

    /// `[out]`
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// Number of output channels.
    pub fn out_channels(&self) -> usize {
        self.bias.elem_count()
    }
}

impl std::fmt::Debug for Conv2d {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            shape,
            stride,
            padding,
            groups,
            act,
            ..
        } = self;
        write!(
            f,
            "Conv2d({shape:?}, stride {stride}, padding {padding}, groups {groups}, {act:?})"
        )
    }
}

impl Packed {
    /// The values of the result, with `add` added.
    fn forward(
        &self,
        maps: &[Tensor],
        add: Option<&Tensor>,
        batch: usize,
        g: &Geometry,
    ) -> Result<Vec<f32>> {
        let contiguous = |map: &Tensor| map.contiguous();
        let maps = maps.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
        let add = add
            .into_iter()
            .map(contiguous)
            .collect::<Result<Vec<_>>>()?;
        let (maps, add) = (Held::new(&maps), Held::new(&add));
        let (maps, add) = (maps.values()?, add.values()?);
        let maps = Maps::new(&maps, batch, g.height * g.width);
        let add = add.first().copied();
        Ok(match self {
            Packed::Product(conv) => conv.forward(&maps, g, add),
            Packed::Depthwise(conv) => conv.forward(&maps, g, add),
            Packed::Winograd(conv) => conv.forward(&maps, g, add),
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::tests::{difference, noise};
    use super::*;

    /// One of each kernel with its twin: products in place and unfolded, with several groups,
    /// depthwise, Winograd.
    fn each_kernel() -> Vec<(Conv2d, Conv2d)> {
        [
            (20, 1, 1, 1),
            (20, 3, 2, 1),
            (20, 3, 1, 5),
            (20, 3, 1, 20),
            (36, 3, 1, 1),
        ]
        .into_iter()
        .map(|(out, k, stride, groups)| {
            let weight = noise(&[out, 20 / groups, k, k], 1);
            let bias = Some(noise(&[out], 2));
            let make = |new: fn(_, _, _, _, _, _) -> Result<Conv2d>| {
                let (weight, bias) = (weight.clone(), bias.clone());
                new(weight, bias, stride, k / 2, groups, Activation::Silu).unwrap()
            };
            (make(Conv2d::new), make(Conv2d::plain))
        })
        .collect()
    }

    #[test]
    fn joined_maps_are_read_where_they_lie() {
        for (batch, h, w) in [(1, 12, 16), (2, 5, 7)] {
            let whole = noise(&[batch, 30, h, w], 3);
            let maps =
                [(20, 4), (0, 1), (7, 15)].map(|(at, len)| whole.narrow(1, at, len).unwrap());
            let together = Tensor::cat(&maps, 1).unwrap();
            for (conv, twin) in each_kernel() {
                let joined = conv.forward_joined(&maps).unwrap();
                let plus = conv.forward_joined_plus(&maps, &joined).unwrap();
                assert_eq!(difference(&plus, &(&joined + &joined).unwrap()), 0.0);
                assert_eq!(difference(&joined, &conv.forward(&together).unwrap()), 0.0);
                assert!(difference(&joined, &twin.forward(&together).unwrap()) < 1e-5);
            }
        }
    }

    #[test]
    fn a_doubled_map_is_one_whose_pixels_were_doubled() {
        for (batch, h, w) in [(1, 6, 8), (2, 5, 7), (1, 20, 20)] {
            let small = noise(&[batch, 13, h, w], 3);
            let wide = noise(&[batch, 30, 2 * h, 2 * w], 4);
            let maps = [(20, 4), (7, 3)].map(|(at, len)| wide.narrow(1, at, len).unwrap());
            let doubled = upsample_nearest2x(&small).unwrap();
            let all = [doubled, maps[0].clone(), maps[1].clone()];
            for (conv, twin) in each_kernel() {
                let want = twin.forward_joined(&all).unwrap();
                let got = conv.forward_doubled(&small, &maps).unwrap();
                assert!(difference(&got, &want) < 1e-5, "{conv:?}");
                assert!(conv.forward_doubled(&small, &maps[..1]).is_err());
                assert!(conv.forward_doubled(&wide, &maps).is_err());
            }
        }
    }

    #[test]
    fn a_shortcut_is_added_after_the_activation() {
        for (conv, twin) in each_kernel() {
            let x = noise(&[2, 20, 9, 18], 4);
            let plain = twin.forward(&x).unwrap();
            let (_, out, h, w) = plain.dims4().unwrap();
            let wide = noise(&[2, out + 5, h, w], 5);
            let shortcut = wide.narrow(1, 3, out).unwrap();
            let want = (&shortcut + plain).unwrap();
            let got = conv.forward_plus(&x, &shortcut).unwrap();
            assert!(difference(&got, &want) < 1e-5, "{conv:?}");
        }
    }

    #[test]
    fn maps_and_shortcuts_that_do_not_fit_are_refused() {
        for (conv, _) in each_kernel() {
            let map = |c, h| noise(&[1, c, h, 6], 1);
            assert!(conv.forward_joined(&[]).is_err());
            assert!(conv.forward_joined(&[map(10, 6), map(10, 5)]).is_err());
            assert!(conv.forward_joined(&[map(10, 6), map(9, 6)]).is_err());
            assert!(conv.forward_joined(&[map(10, 6), map(10, 6)]).is_ok());
            assert!(conv.forward_plus(&map(20, 6), &map(20, 7)).is_err());
        }
    }

    #[test]
    fn a_shortcut_of_another_number_type_is_refused() {
        let (conv, _) = &each_kernel()[0];
        let double = noise(&[1, 20, 3, 3], 1).to_dtype(DType::F64).unwrap();
        assert!(
            conv.forward_plus(&noise(&[1, 20, 3, 3], 2), &double)
                .is_err()
        );
        let none = Tensor::zeros((0, 20, 3, 3), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(conv.forward(&none).unwrap().dims(), [0, 20, 3, 3]);
    }
}
