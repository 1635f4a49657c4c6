//! YOLO detectors: the configuration of a network, its blocks, its head and its detections.

mod blocks;
mod build;
mod config;
mod detect;
mod detections;
mod map;
mod network;

pub use config::{Config, Row, Scale, class_names};
pub use detect::{Detect, Level, RawHead, RawLevel};
pub use detections::{
    Detection, Head, MAX_DETECTIONS, Thresholds, decode, detections, iou, smallest_at, top_k,
};
pub use map::Map;
pub use network::{BlockModule, Layer, Module, Network, Output, Stop};
