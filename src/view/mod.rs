//! What is looked at, as data: what is pressed, what is asked of each mechanism, how maps look.
//!
//! The window keeps it, a view file carries it to another machine, and a figure is made from it
//! with or without a window.

mod asking;
mod camera;
mod selection;

pub use asking::{Asking, asked, first_look, unit};
pub use camera::Camera;
pub use selection::Selection;
