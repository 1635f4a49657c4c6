//! The menus: every command, the examples, the recent files and the panes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use egui::{Button, MenuBar, ThemePreference, Ui};

use super::command::{Ask, Can, Command};
use super::keep::Kept;
use super::open::Wanted;
use super::pane::Pane;
use crate::checkpoint::BUNDLED;
use crate::picture::samples::SAMPLES;
use crate::view::EXAMPLES;

/// Draws the bar.
pub fn show(
    ui: &mut Ui,
    can: &Can,
    kept: &Kept,
    panes: &[Box<dyn Pane>],
    missing: &BTreeSet<PathBuf>,
    asks: &mut Vec<Ask>,
) {
    MenuBar::new().ui(ui, |ui| {
        ui.menu_button("File", |ui| {
            Command::OpenPicture.button(ui, can, asks);
            examples(ui, asks);
            recent_menu(ui, kept, missing, asks);
            Command::Paste.button(ui, can, asks);
            ui.separator();
            Command::OpenCheckpoint.button(ui, can, asks);
            Command::OpenModel.button(ui, can, asks);
            models(ui, asks);
            Command::LoadReport.button(ui, can, asks);
            ui.separator();
            example_views(ui, asks);
            Command::Export.button(ui, can, asks);
            ui.separator();
            Command::Quit.button(ui, can, asks);
        });
        ui.menu_button("Edit", |ui| {
            Command::Undo.button(ui, can, asks);
            Command::Redo.button(ui, can, asks);
            ui.separator();
            Command::ResetKnobs.button(ui, can, asks);
        });
        ui.menu_button("View", |ui| {
            for pane in panes {
                let mut shown = kept.layout.is_shown(pane.id());
                if ui
                    .checkbox(&mut shown, pane.title())
                    .on_hover_text("Show this pane")
                    .clicked()
                {
                    asks.push(Ask::TogglePane(pane.id()));
                }
            }
            Command::ResetLayout.button(ui, can, asks);
            ui.separator();
            Command::ZoomFit.button(ui, can, asks);
            Command::ZoomActual.button(ui, can, asks);
            ui.separator();
            ui.menu_button("Theme", |ui| {
                for theme in [
                    ThemePreference::System,
                    ThemePreference::Light,
                    ThemePreference::Dark,
                ] {
                    Command::Theme(theme).button(ui, can, asks);
                }
            });
        });
        ui.menu_button("Help", |ui| {
            Command::Welcome.button(ui, can, asks);
            Command::Messages.button(ui, can, asks);
            Command::About.button(ui, can, asks);
        });
    });
}

/// The bundled photographs.
pub fn examples(ui: &mut Ui, asks: &mut Vec<Ask>) {
    ui.menu_button("Examples", |ui| {
        for sample in &SAMPLES {
            if ui
                .button(sample.title)
                .on_hover_text(sample.credit)
                .clicked()
            {
                asks.push(Ask::Open(Wanted::Sample(sample)));
                ui.close();
            }
        }
    });
}

/// The bundled views.
fn example_views(ui: &mut Ui, asks: &mut Vec<Ask>) {
    ui.menu_button("Example views", |ui| {
        for example in &EXAMPLES {
            let entry = ui.button(example.title).on_hover_text(example.about);
            if entry.clicked() {
                asks.push(Ask::Open(Wanted::Example(example)));
                ui.close();
            }
        }
    });
}

/// The bundled models.
pub fn models(ui: &mut Ui, asks: &mut Vec<Ask>) {
    ui.menu_button("Bundled models", |ui| {
        for model in &BUNDLED {
            if ui.button(model.id).on_hover_text(model.about).clicked() {
                asks.push(Ask::Open(Wanted::Bundled(model)));
                ui.close();
            }
        }
    });
}

/// The files opened before.
pub fn recent_menu(ui: &mut Ui, kept: &Kept, missing: &BTreeSet<PathBuf>, asks: &mut Vec<Ask>) {
    let paths = kept.recent.paths();
    let menu = ui.add_enabled_ui(!paths.is_empty(), |ui| {
        ui.menu_button("Recent files", |ui| {
            for path in paths {
                let there = !missing.contains(path);
                let entry = ui
                    .add_enabled(there, Button::new(short(path)))
                    .on_hover_text(path.display().to_string())
                    .on_disabled_hover_text(format!("{} is not there any more", path.display()));
                if entry.clicked() {
                    asks.push(Ask::Open(Wanted::Path(path.clone())));
                    ui.close();
                }
            }
            ui.separator();
            if ui.button("Forget recent files").clicked() {
                asks.push(Ask::ClearRecent);
                ui.close();
            }
        })
    });
    if menu.inner.inner.is_some() {
        asks.push(Ask::CheckRecent);
    }
    menu.inner
        .response
        .on_disabled_hover_text("No file was opened yet");
}

/// The last two parts of a path, which tell files of one name apart.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|p| p.to_string_lossy()).collect();
    match parts.as_slice() {
        [.., folder, name] if parts.len() > 3 => format!("…/{folder}/{name}"),
        _ => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_shown_by_folder_and_name() {
        assert_eq!(short(Path::new("/home/a/b/c.png")), "…/b/c.png");
        assert_eq!(short(Path::new("/a/c.png")), "/a/c.png");
    }
}
