//! Small pictures, models and outcomes for tests of the engine.

use std::sync::Arc;

use attnscope::attention::{KnobValue, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, Outcome, Settings, Wish};
use attnscope::picture::Photo;
use candle_core::Device;

use super::compare::flat;
use super::golden_path;

/// The tiny model: every attention row, random weights, a few milliseconds a run.
pub fn tiny() -> Arc<Model> {
    Arc::new(Model::open(&golden_path("tiny"), &Device::Cpu).unwrap())
}

/// A drawn picture; another `seed` is another picture.
pub fn photo(seed: usize, width: usize, height: usize) -> Arc<Photo> {
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let stripe = (x / (5 + seed % 7) + y / 9).is_multiple_of(2);
        let red = if stripe { 220 } else { 30 };
        [red, (x * 2) as u8, (y * 3 + seed * 40) as u8, 255]
    };
    let rgba: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    Arc::new(Photo::from_rgba(&format!("drawn {seed}"), width, height, &rgba).unwrap())
}

/// Default settings with every attention row watched.
pub fn watched(model: &Model) -> Settings {
    let mut settings = Settings::default();
    settings.watch_all(model, &Watch::All);
    settings.thresholds.confidence = 0.05;
    settings
}

/// The same settings with one knob turned.
pub fn turned(settings: &Settings, row: usize, knob: &str, value: KnobValue) -> Settings {
    let mut settings = settings.clone();
    let knobs = settings.knobs.entry(row).or_default();
    knobs.insert(knob.to_owned(), value);
    settings
}

pub fn wish(photo: &Arc<Photo>, model: &Arc<Model>, settings: &Settings) -> Wish {
    Wish {
        number: 1,
        photo: photo.clone(),
        model: model.clone(),
        settings: settings.clone(),
    }
}

pub fn run(
    engine: &mut Engine,
    photo: &Arc<Photo>,
    model: &Arc<Model>,
    settings: &Settings,
) -> Outcome {
    engine.run(&wish(photo, model, settings), &mut ()).unwrap()
}

/// Every number of an outcome, bit by bit.
pub fn bits(outcome: &Outcome) -> Vec<u32> {
    let mut all = Vec::new();
    for trace in outcome.traces.values() {
        for t in trace.trace.tensors().unwrap() {
            all.extend(flat(&t.tensor).iter().map(|v| v.to_bits()));
        }
    }
    for d in &outcome.detected.list {
        all.extend([d.class as u32, d.anchor as u32, d.score.to_bits()]);
        all.extend(d.rect.iter().chain(&d.scores).map(|v| v.to_bits()));
    }
    all
}
