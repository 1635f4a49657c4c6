//! 2-d convolution with bias and activation, as the blocks of a network use it.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::activation::Activation;
use super::conv_gemm::PackedConv;
use super::depthwise::Depthwise;
use super::planes::Geometry;
use super::winograd::Winograd;
use super::{is_fast, plain, values};

/// A convolution with bias and activation, its weights packed once for the CPU.
///
/// Cloning shares the weights.
#[derive(Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
    groups: usize,
    act: Activation,
    packed: Option<Arc<Packed>>,
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
        let packed = if !is_fast(&weight) {
            None
        } else if Depthwise::supports(&weight, groups) {
            Some(Packed::Depthwise(Depthwise::new(&weight, &bias, act)?))
        } else if Winograd::supports(&weight, stride, groups) {
            Some(Packed::Winograd(Winograd::new(&weight, &bias, act)?))
        } else {
            Some(Packed::Product(PackedConv::new(
                &weight, &bias, groups, act,
            )?))
        };
        Ok(Self {
            weight,
            bias,
            stride,
            padding,
            groups,
            act,
            packed: packed.map(Arc::new),
        })
    }

    /// Convolves `x` `[B, in, H, W]`; the result is `[B, out, H', W']` with
    /// H' = (H + 2·padding − k) / stride + 1, rounded down.
    ///
    /// # Errors
    /// When `x` has another rank or number of channels, or is smaller than the kernel.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, channels, height, width) = x.dims4()?;
        let expected = self.weight.dim(1)? * self.groups;
        if channels != expected {
            bail!(
                "convolution of {:?}: expected {expected} channels for weights {:?}",
                x.shape(),
                self.weight.shape()
            );
        }
        let kernel = self.weight.dim(2)?;
        let Some(geometry) = Geometry::new((height, width), kernel, self.stride, self.padding)
        else {
            bail!(
                "convolution of {:?}: smaller than the kernel {kernel}×{kernel}",
                x.shape()
            );
        };
        match &self.packed {
            Some(packed) if is_fast(x) => {
                x.contiguous()?.apply_op1_no_bwd(&Run { packed, geometry })
            }
            _ => self.forward_plain(x),
        }
    }

    /// The same with ordinary candle operations.
    ///
    /// # Errors
    /// As [`Conv2d::forward`].
    pub fn forward_plain(&self, x: &Tensor) -> Result<Tensor> {
        let numbers = (self.stride, self.padding, self.groups);
        plain::conv2d(x, &self.weight, &self.bias, numbers, self.act)
    }

    /// `[out, in / groups, k, k]`
    pub fn weight(&self) -> &Tensor {
        &self.weight
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
            weight,
            stride,
            padding,
            groups,
            act,
            ..
        } = self;
        write!(
            f,
            "Conv2d({:?}, stride {stride}, padding {padding}, groups {groups}, {act:?})",
            weight.dims()
        )
    }
}

struct Run<'a> {
    packed: &'a Packed,
    geometry: Geometry,
}

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        "conv2d-bias-activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let batch = layout.dims()[0];
        let g = &self.geometry;
        let y = match self.packed {
            Packed::Product(conv) => conv.forward(x, batch, g),
            Packed::Depthwise(conv) => conv.forward(x, batch, g),
            Packed::Winograd(conv) => conv.forward(x, batch, g),
        };
        let channels = y.len() / (batch * g.out_height * g.out_width).max(1);
        Ok((
            CpuStorage::F32(y),
            Shape::from((batch, channels, g.out_height, g.out_width)),
        ))
    }
}
