//! Functions of single values, over whole tensors.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::isa::vectorised;
use super::output::{Parts, filled};
use super::{activation, is_fast, values};

/// Values that one task works on.
const CHUNK: usize = 16 << 10;

/// `x · Φ(x)`, the exact GELU, of every value.
///
/// # Errors
/// None that a tensor can cause.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if !is_fast(x) {
        return x.gelu_erf();
    }
    x.contiguous()?.apply_op1_no_bwd(&Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let fill = |out: Parts<'_>| {
            x.par_chunks(CHUNK).enumerate().for_each(|(i, x)| {
                let mut y = [0.0; CHUNK];
                gelu_of(x, &mut y[..x.len()]);
                // SAFETY: chunks are disjoint.
                unsafe { out.write(i * CHUNK, &y[..x.len()]) };
            });
        };
        // SAFETY: the chunks cover all of `x`.
        let y = unsafe { filled(x.len(), fill) };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}

vectorised! {
    fn gelu_of(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = activation::gelu::<FUSED>(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_equals_candles() {
        let x = Tensor::arange(-9.0f32, 9.0, &candle_core::Device::Cpu).unwrap();
        let x = (x
            .reshape((1, 18))
            .unwrap()
            .broadcast_as((3001, 18))
            .unwrap()
            * 0.7)
            .unwrap();
        let difference = (gelu(&x).unwrap() - x.gelu_erf().unwrap()).unwrap();
        let largest = difference
            .abs()
            .unwrap()
            .flatten_all()
            .unwrap()
            .max(0)
            .unwrap();
        assert!(largest.to_scalar::<f32>().unwrap() < 1e-6);
    }
}
