//! Numbers about maps and detections. Nothing here reads a file.

pub mod evidence;
