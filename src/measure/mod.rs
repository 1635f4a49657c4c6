//! Numbers about maps and detections. Nothing here reads a file.

mod activation;
mod average_precision;
pub mod evidence;
mod matching;
#[cfg(test)]
mod reference;

pub use activation::{Activation, ChannelNumbers, ranked};
pub use average_precision::{AveragePrecision, ClassScore, RECALLS, Scores};
pub use matching::{OVERLAPS, Truth, overlaps};
