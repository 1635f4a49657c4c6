//! attnscope shows, live, why an attention-augmented YOLO detector looks where it looks.
//!
//! The library is built in floors; an arrow only ever points down:
//!
//! ```text
//! app        cli           the window | the same engine without a window
//! view                     what is looked at, as data: pressed, asked, figures, view files
//! engine                   picture + model + settings -> outcome, reuse, worker thread
//! picture  checkpoint  dataset  measure
//! yolo                     configuration, blocks, network, detections
//! attention                super tokens, routing, polarized, position-sensitive
//! kernels                  the few operations candle's own are too slow for
//! ```
//!
//! Nothing below [`app`] names egui, and nothing in [`app`] computes attention: it draws what a
//! trace holds.

pub mod app;
pub mod attention;
pub mod checkpoint;
pub mod cli;
pub mod dataset;
pub mod engine;
mod error;
mod files;
pub mod kernels;
pub mod measure;
mod numbers;
pub mod picture;
pub mod view;
pub mod yolo;

pub use error::{Error, Result};
