//! The window: panes around a photograph and a model, and the controls that act on them.
//!
//! It computes no attention and never waits: `session` talks with the engine's thread, `open`
//! opens files on threads of its own, and every frame draws the newest snapshot.

mod actions;
pub mod canvas;
pub mod color_bar;
mod command;
mod dialog;
mod drop;
mod export;
mod keep;
mod knobs_panel;
mod layout;
pub mod look_controls;
mod menu_bar;
mod open;
pub mod pane;
pub mod panes;
mod probe_panel;
mod report;
mod screenshots;
mod session;
mod source;
mod source_strip;
mod status_bar;
pub mod theme;
mod toasts;
mod undo;
mod welcome;
mod window;

use std::path::PathBuf;

use crate::engine::DeviceChoice;

pub use keep::Kept;
pub use screenshots::take as take_screenshots;
pub use toasts::{Kind, Message};
pub use window::App;

/// How the window starts.
#[derive(Debug, Clone, Default)]
pub struct AppOptions {
    /// The picture to open instead of the last one.
    pub photo: Option<PathBuf>,
    /// The model folder to open instead of the last one.
    pub model: Option<PathBuf>,
    /// Where the network runs.
    pub device: DeviceChoice,
}

/// Opens the window and returns when it is closed.
///
/// # Errors
/// [`crate::Error::Setting`] if the system gives no window.
pub fn run(options: AppOptions) -> crate::Result<()> {
    open(native_options(), |cc| {
        Ok(Box::new(App::new(options, cc.storage, &cc.egui_ctx)?))
    })
}

fn native_options() -> eframe::NativeOptions {
    let viewport = egui::ViewportBuilder::default()
        .with_app_id("attnscope")
        .with_title("attnscope")
        .with_inner_size([1400.0, 900.0])
        .with_min_inner_size([900.0, 600.0])
        .with_icon(theme::icon());
    eframe::NativeOptions {
        viewport,
        // Test builds bring wgpu along, which would be preferred.
        renderer: eframe::Renderer::Glow,
        ..Default::default()
    }
}

type Made<'a> = Result<Box<dyn eframe::App + 'a>, Box<dyn std::error::Error + Send + Sync>>;

fn open<'a>(
    native: eframe::NativeOptions,
    make: impl FnOnce(&eframe::CreationContext<'_>) -> Made<'a> + 'a,
) -> crate::Result<()> {
    eframe::run_native("attnscope", native, Box::new(make)).map_err(|error| {
        let hint = "attnscope analyze works without one";
        crate::Error::Setting(format!("no window could be opened ({error}); {hint}"))
    })
}
