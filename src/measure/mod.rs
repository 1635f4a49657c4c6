//! Numbers about detections: how good they are. Nothing here reads a file.

mod average_precision;
mod matching;
#[cfg(test)]
mod reference;

pub use average_precision::{AveragePrecision, ClassScore, RECALLS, Scores};
pub use matching::{OVERLAPS, Truth, overlaps};
