//! From files to pixels and back: photographs, the letterbox, colours of numbers, and figures.
//!
//! Nothing here knows the window or the network. A map is a row-major slice of `f32` with its
//! number of rows and columns; a picture is 8-bit RGB.

mod bars;
mod colorbar;
pub mod colormap;
mod container;
pub mod draw;
pub mod figure;
pub mod heat;
pub mod letterbox;
mod look;
pub mod numbers;
mod overlay;
pub mod palette;
pub mod photo;
pub mod samples;
pub mod text;

pub use bars::Bars;
pub use colormap::{Colormap, Range, Sampling};
pub use figure::{Body, Figure};
pub use letterbox::{FILL, Letterbox};
pub use look::Look;
pub use overlay::{Heat, LabelledBox, Link, Mark, Overlay};
pub use photo::Photo;
