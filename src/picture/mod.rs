//! From files to pixels and back: photographs, the letterbox, colours of numbers, and figures.
//!
//! Nothing here knows the window or the network. A map is a row-major slice of `f32` with its
//! number of rows and columns; a picture is 8-bit RGB.

pub mod arrow;
mod bars;
mod colorbar;
mod coloring;
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
mod page;
pub mod palette;
pub mod photo;
pub mod samples;
pub mod surface;
mod svg;
mod table;
pub mod text;

pub use bars::Bars;
pub use coloring::{Coloring, Origin, range_words};
pub use colormap::{Colormap, Range, Sampling};
pub use figure::{Body, Figure, Panel};
pub use gallery::Gallery;
pub use letterbox::{FILL, Letterbox};
pub use look::{Contour, Look, RangeRule};
pub use matrix::Matrix;
pub use overlay::{Heat, LabelledBox, Link, Mark, Overlay};
pub use photo::Photo;
