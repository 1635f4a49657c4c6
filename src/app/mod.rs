//! The window.

pub mod canvas;
pub mod color_bar;
pub mod look_controls;
pub mod pane;
pub mod panes;

/// How the window starts.
#[derive(Debug, Clone, Default)]
pub struct AppOptions {
    /// A picture to open.
    pub photo: Option<std::path::PathBuf>,
    /// A model folder to open.
    pub model: Option<std::path::PathBuf>,
    /// Where the network runs.
    pub device: crate::engine::DeviceChoice,
}

/// Opens the window and returns when it is closed.
///
/// # Errors
/// If no window can be opened.
pub fn run(_options: AppOptions) -> crate::Result<()> {
    Ok(())
}
