//! Weights by formula: every value follows from its tensor's name and its place in it, here and in
//! `tests/golden/reference/drawn.py` alike. So a network of any size needs no weights file.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

/// Every tensor that is asked for; `contains_tensor` knows of none.
pub struct Drawn;

impl Drawn {
    pub fn builder() -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(Self), DType::F32, Device::Cpu)
    }
}

impl SimpleBackend for Drawn {
    fn get(&self, shape: Shape, name: &str, _: Init, _: DType, device: &Device) -> Result<Tensor> {
        Tensor::from_vec(values(name, shape.dims()), shape, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} has no shape of its own")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        false
    }
}

/// The numbers of a tensor.
pub fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let (mean, spread) = kind(name, shape);
    let seed = name.bytes().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let value = |i: u32| {
        let mut x = seed ^ i.wrapping_mul(0x9e37_79b9);
        x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
        x ^= x >> 16;
        let unit = f64::from(x >> 8) / f64::from(1u32 << 23) - 1.0;
        (mean + spread * unit) as f32
    };
    (0..shape.iter().product::<usize>() as u32)
        .map(value)
        .collect()
}

/// Middle and half width of the values: signals keep their size through the layers.
fn kind(name: &str, shape: &[usize]) -> (f64, f64) {
    let last = name.rsplit('.').next().unwrap_or(name);
    match (last, shape.len()) {
        ("running_mean", _) => (0.0, 0.2),
        ("running_var", _) => (0.75, 0.25),
        ("bias", _) => (0.0, 0.3),
        (_, 1) => (1.0, 0.3),
        _ => {
            let inputs: usize = shape[1..].iter().product();
            // Else every token would read from all alike.
            let wide = if name.contains("qkv") { 2.5 } else { 1.0 };
            (0.0, wide * 1.7 / (inputs as f64).sqrt())
        }
    }
}
