//! The window.

pub mod canvas;
pub mod color_bar;
pub mod look_controls;
pub mod pane;
pub mod panes;
