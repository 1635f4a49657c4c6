//! Every question of every mechanism, asked by hand in the window: chosen, pressed and read. The
//! numbers that are read are those that `attnscope analyze` writes to `traces.npz` for the same
//! picture, from which each is worked out here once more.

mod polarized;
mod position_sensitive;
mod reading;
mod routing;
mod selection;
mod super_tokens;
mod traces;
#[allow(dead_code)]
#[path = "../window_panes/window.rs"]
mod window;

use attnscope::app::pane::Look;
use attnscope::engine::Outcome;
use egui::Theme;
use egui_kittest::Harness;

use window::{Window, cat, run, trace};

/// Wide enough for all that stands beside a picture.
const SIZE: [f32; 2] = [1100.0, 640.0];

/// Pixels of the photograph far apart, one of them near its corner.
const PIXELS: [[f32; 2]; 4] = [[80.0, 60.0], [300.0, 170.0], [201.0, 240.0], [6.0, 5.0]];

/// The pane of a mechanism. Without the border the photograph alone fits the canvas, so that a
/// test knows where its pixels lie.
fn open(pane: &str, outcome: &Outcome) -> Harness<'static, Window> {
    let mut window = Window::new(pane, Some(outcome));
    window.looks.insert(pane.to_owned(), Look::default());
    window.open(SIZE, Theme::Dark)
}

/// The cell of a map (row, column) under a pixel of the photograph.
fn cell(outcome: &Outcome, map: [usize; 2], [x, y]: [f32; 2]) -> [usize; 2] {
    let [x, y] = outcome.scene.place(map).to_map(x, y);
    [y as usize, x as usize]
}
