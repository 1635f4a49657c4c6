//! Checkpoints of PyTorch: every form opens as the same network, and every damaged or malicious
//! file is refused at once, with little memory, and without running anything.

#[path = "../common/mod.rs"]
mod common;

mod forms;
mod hostile;

use std::path::PathBuf;

use attnscope::checkpoint::Model;
use attnscope::yolo::RawHead;
use candle_core::{DType, Device, Tensor};

use attnscope::attention::{Knobs, Watch};
use common::meter::Counting;
use common::rows;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A file of `tests/checkpoints`.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/checkpoints")
        .join(name)
}

fn open(path: &std::path::Path) -> Model {
    Model::open(path, &Device::Cpu).unwrap_or_else(|e| panic!("{e}"))
}

/// What a model puts out for one picture, with knobs as the model has them.
fn output(model: &Model) -> RawHead {
    let wave = |i: u32| (f64::from(i) * 0.37).sin().abs() as f32;
    let pixels: Vec<f32> = (0..3 * 96 * 96).map(wave).collect();
    let input = Tensor::from_vec(pixels, (1, 3, 96, 96), &Device::Cpu).unwrap();
    assert_eq!(input.dtype(), DType::F32);
    let knobs = |row: usize, map| {
        let attention = model.network.attention_at(row).unwrap();
        attention.legal(map, &Knobs::new()).values
    };
    let run = rows::run(&model.network, &input, &Watch::Off, knobs);
    run.one_to_many.as_ref().clone()
}
