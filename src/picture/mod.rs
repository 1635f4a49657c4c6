//! From files to pixels and back: photographs, the letterbox, colours of numbers, and figures.
//!
//! Nothing here knows the window or the network. A map is a row-major slice of `f32` with its
//! number of rows and columns; a picture is 8-bit RGB.

mod bars;
mod colorbar;
pub mod colormap;
mod container;
mod contour;
mod curves;
pub mod draw;
pub mod figure;
pub mod fonts;
mod gallery;
pub mod heat;
pub mod letterbox;
mod look;
mod matrix;
pub mod numbers;
mod overlay;
pub mod palette;
pub mod photo;
pub mod samples;
pub mod surface;
mod svg;
mod table;
pub mod text;

pub use bars::Bars;
pub use colormap::{Colormap, Range, Sampling};
pub use figure::{Body, Figure, Panel};
pub use gallery::Gallery;
pub use letterbox::{FILL, Letterbox};
pub use look::{Coloring, Contour, Look, Origin, RangeRule, range_words};
pub use matrix::Matrix;
pub use overlay::{Heat, LabelledBox, Link, Mark, Overlay};
pub use photo::Photo;
