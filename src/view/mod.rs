//! What is looked at, as data: what is pressed, what is asked of each mechanism, how maps look.
//!
//! The window keeps it, a view file carries it to another machine, and a figure is made from it
//! with or without a window.

mod asking;
mod camera;
mod examples;
mod export;
mod figure;
mod file;
mod selection;
mod source;

pub use asking::{Asking, asked, first_look, middle_unit, unit};
pub use camera::Camera;
pub use examples::{EXAMPLES, Example};
pub use export::Export;
pub use figure::{BY_NUMBER, Computed, DETECTIONS, LAYERS};
pub use file::{Known, View, ViewFile};
pub use selection::Selection;
pub use source::{ModelSource, PhotoSource, lasting};
