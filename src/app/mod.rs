//! The window.

pub mod pane;
pub mod panes;
