//! The line at the bottom: where it runs, how long it took, how far it is.

use std::time::Duration;

use egui::{Align, Layout, ProgressBar, RichText, Spinner, Ui};

use super::command::{Ask, Can, Command};
use super::open::Opener;
use super::session::Session;
use super::toasts::{Kind, Toasts};
use crate::engine::{OpenDevice, Progress};

/// Shorter runs need no progress bar.
const WORTH_SHOWING: Duration = Duration::from_millis(150);

/// Draws the line.
pub fn show(
    ui: &mut Ui,
    device: &OpenDevice,
    session: &Session,
    opener: &Opener,
    toasts: &Toasts,
    can: &Can,
    asks: &mut Vec<Ask>,
) {
    ui.horizontal(|ui| {
        device_label(ui, device);
        ui.separator();
        last_run(ui, session);
        now(ui, session, opener);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let errors = toasts
                .messages()
                .iter()
                .filter(|m| m.kind == Kind::Error)
                .count();
            Command::Messages.button(ui, can, asks);
            if errors > 0 {
                let color = ui.visuals().error_fg_color;
                let word = if errors == 1 { "error" } else { "errors" };
                ui.label(RichText::new(format!("{errors} {word}")).color(color));
            }
        });
    });
}

fn device_label(ui: &mut Ui, device: &OpenDevice) {
    match &device.note {
        None => ui
            .label(&device.name)
            .on_hover_text("Where the network runs"),
        Some(note) => {
            let color = ui.visuals().warn_fg_color;
            ui.label(RichText::new(format!("{} ({note})", device.name)).color(color))
        }
    };
}

fn last_run(ui: &mut Ui, session: &Session) {
    let Some(timing) = &session.snapshot().timing else {
        ui.weak("Nothing was analysed yet");
        return;
    };
    let ms = timing.total.as_secs_f64() * 1e3;
    let text = format!(
        "Last run {ms:.0} ms, {} of {} layers",
        timing.ran, timing.rows
    );
    let mut slowest: Vec<_> = timing.by_row.iter().collect();
    slowest.sort_by(|a, b| b.1.cmp(a.1));
    ui.label(text).on_hover_ui(|ui| {
        ui.label("Layers that do not depend on what was changed are not run again.");
        for (row, time) in slowest.iter().take(5) {
            ui.weak(format!("layer {row}: {:.1} ms", time.as_secs_f64() * 1e3));
        }
    });
}

/// What is under way.
fn now(ui: &mut Ui, session: &Session, opener: &Opener) {
    if let Some(name) = opener.pending().last() {
        ui.separator();
        ui.add(Spinner::new().size(14.0));
        ui.label(format!("Opening {name}"));
    }
    if session.has_failed() {
        ui.separator();
        let color = ui.visuals().error_fg_color;
        ui.label(RichText::new("The last run failed: older results are shown").color(color));
        return;
    }
    if !session.is_stale() {
        return;
    }
    // The engine tells of traces, not of every layer: look again soon.
    ui.ctx().request_repaint_after(Duration::from_millis(50));
    let progress = session.snapshot().progress.as_ref();
    let Some(progress) = progress.filter(|p| p.since.elapsed() > WORTH_SHOWING) else {
        return;
    };
    ui.separator();
    ui.add(Spinner::new().size(14.0));
    ui.add(
        ProgressBar::new(share(progress))
            .desired_width(90.0)
            .desired_height(8.0),
    );
    ui.label(format!(
        "Layer {} of {}: {}",
        progress.row + 1,
        progress.rows,
        progress.name
    ));
    if session.snapshot().fulfilled > 0 {
        ui.weak("Stale: the panes show older settings");
    }
}

fn share(progress: &Progress) -> f32 {
    (progress.row + 1) as f32 / progress.rows.max(1) as f32
}
