//! Numbers about maps and detections. Nothing here reads a file.

mod activation;

pub use activation::{Activation, ChannelNumbers, ranked};
