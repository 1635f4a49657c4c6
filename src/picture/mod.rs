//! From files to pixels and back: photographs, the letterbox, colours of numbers, and figures.
//!
//! Nothing here knows the window or the network. A map is a row-major slice of `f32` with its
//! number of rows and columns; a picture is 8-bit RGB.

pub mod colormap;
mod container;
pub mod letterbox;
pub mod photo;

pub use colormap::{Colormap, Range, Sampling};
pub use letterbox::Letterbox;
pub use photo::Photo;
