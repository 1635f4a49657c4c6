//! Out of the window: a pane as a figure, as numbers, or as a view to be opened again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::{ColorImage, ComboBox, Context, Id, Key, Modal, Slider, TextEdit, Ui};

use super::command::Ask;
use super::dialog::Dialog;
use super::pane::Pane;
use super::{source, theme};
use crate::engine::Snapshot;
use crate::view::{Computed, Export, View, ViewFile};
use crate::{Error, files};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Png,
    Svg,
    Csv,
    Npz,
    View,
}

const FORMS: [(Form, &str, &str, &str); 5] = [
    (Form::Png, "PNG", "png", "A picture, at a chosen scale"),
    (
        Form::Svg,
        "SVG",
        "svg",
        "Vectors: text and colour bar stay text and lines",
    ),
    (Form::Csv, "CSV", "csv", "The numbers of the map, as text"),
    (
        Form::Npz,
        "NPZ",
        "npz",
        "The numbers of the map and of what stands beside it, for numpy",
    ),
    (
        Form::View,
        "View",
        "json",
        "Picture, model, knobs, selection and looks, to be opened again or drawn by attnscope render",
    ),
];

/// The dialog while it is open.
#[derive(Debug, Clone)]
pub struct ExportDialog {
    pane: String,
    form: Form,
    scale: f32,
    path: String,
}

/// What the dialog asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Write a file.
    Save(Job, PathBuf),
    /// Put the picture on the clipboard.
    Copy(Job),
}

/// What is to be written, apart from the window.
#[derive(Debug, Clone)]
pub struct Job {
    pane: String,
    form: Form,
    scale: f32,
}

impl ExportDialog {
    /// A dialog for a pane; files go to `folder` and bear the name of the photograph.
    pub fn new(pane: &str, photo: Option<&str>, folder: Option<PathBuf>) -> Self {
        let mut dialog = Self {
            pane: pane.to_owned(),
            form: Form::Png,
            scale: 2.0,
            path: String::new(),
        };
        let folder = folder.or_else(|| std::env::current_dir().ok());
        let stem = photo.and_then(|name| Path::new(name).file_stem()?.to_str());
        let name = match stem {
            Some(stem) => format!("{stem}-{pane}.png"),
            None => format!("{pane}.png"),
        };
        let path = folder.unwrap_or_default().join(name);
        dialog.path = path.display().to_string();
        dialog
    }

    /// A place that was chosen elsewhere.
    pub fn set_path(&mut self, path: &Path) {
        self.path = path.display().to_string();
    }

    /// Draws the dialog; `false` when it is to be closed.
    pub fn show(&mut self, ctx: &Context, panes: &[Box<dyn Pane>], asks: &mut Vec<Ask>) -> bool {
        let modal = Modal::new(Id::unique("export")).show(ctx, |ui| {
            ui.set_width((ctx.content_rect().width() - 80.0).clamp(240.0, 520.0));
            ui.heading("Export");
            ui.add_space(theme::GAP);
            self.what(ui, panes);
            ui.add_space(theme::GAP);
            self.place(ui, asks);
            ui.add_space(theme::GAP);
            self.buttons(ui, asks)
        });
        !(modal.inner || modal.should_close())
    }

    fn what(&mut self, ui: &mut Ui, panes: &[Box<dyn Pane>]) {
        let drawn = || panes.iter().filter(|p| View::draws(p.id()));
        let title = drawn()
            .find(|p| p.id() == self.pane)
            .map_or("", |p| p.title());
        ui.horizontal(|ui| {
            let combo = ComboBox::from_id_salt("pane")
                .selected_text(title)
                .show_ui(ui, |ui| {
                    for pane in drawn() {
                        let chosen = pane.id() == self.pane;
                        if ui.selectable_label(chosen, pane.title()).clicked() {
                            self.rename(pane.id(), self.form);
                        }
                    }
                });
            combo.response.accessible_name("pane");
            ui.separator();
            for (form, name, _, help) in FORMS {
                let chosen = self.form == form;
                if ui
                    .selectable_label(chosen, name)
                    .on_hover_text(help)
                    .clicked()
                {
                    let pane = self.pane.clone();
                    self.rename(&pane, form);
                }
            }
        });
        let help = FORMS.iter().find(|f| f.0 == self.form).map_or("", |f| f.3);
        ui.label(theme::quiet(help));
        let slider = Slider::new(&mut self.scale, 0.5..=4.0)
            .step_by(0.5)
            .text("scale");
        let pixels = matches!(self.form, Form::Png | Form::Svg);
        ui.add_enabled(pixels, slider)
            .on_hover_text("Pixels per point of a PNG or of the copied picture; 2 suits slides")
            .on_disabled_hover_text("Numbers and views have no scale");
    }

    /// Chooses pane and form; a file name that was proposed follows.
    fn rename(&mut self, pane: &str, form: Form) {
        let ending = |form| FORMS.iter().find(|f| f.0 == form).map_or("", |f| f.2);
        let before = format!("{}.{}", self.pane, ending(self.form));
        if let Some(folder) = self.path.strip_suffix(&before) {
            self.path = format!("{folder}{pane}.{}", ending(form));
        } else {
            let path = PathBuf::from(&self.path).with_extension(ending(form));
            self.path = path.display().to_string();
        }
        self.pane = pane.to_owned();
        self.form = form;
    }

    fn place(&mut self, ui: &mut Ui, asks: &mut Vec<Ask>) {
        ui.horizontal(|ui| {
            let width = ui.available_width() - 84.0;
            let field = TextEdit::singleline(&mut self.path).desired_width(width);
            let field = ui.add(field).on_hover_text("The file to write");
            field.widget_info(|| {
                egui::WidgetInfo::text_edit(true, &self.path, &self.path, "file to write")
            });
            if ui.button("Browse…").clicked() {
                asks.push(Ask::Dialog(Dialog::Save));
            }
        });
    }

    fn buttons(&mut self, ui: &mut Ui, asks: &mut Vec<Ask>) -> bool {
        let path = source::path_from_text(&self.path);
        let exists = path.as_ref().is_ok_and(|p| p.is_file());
        let mut close = false;
        ui.horizontal(|ui| {
            let text = if exists { "Replace" } else { "Save" };
            let save = ui
                .add_enabled(path.is_ok(), egui::Button::new(text))
                .on_disabled_hover_text("Type the path of a file first");
            let enter = ui.input(|i| i.key_pressed(Key::Enter)) && !exists;
            if let (true, Ok(path)) = (save.clicked() || enter, &path) {
                asks.push(Ask::Export(Wish::Save(self.job(), path.clone())));
                close = true;
            }
            let picture = matches!(self.form, Form::Png | Form::Svg);
            let copy = ui
                .add_enabled(picture, egui::Button::new("Copy picture"))
                .on_hover_text("Put the figure on the clipboard, at this scale")
                .on_disabled_hover_text("Only pictures go to the clipboard");
            if copy.clicked() {
                asks.push(Ask::Export(Wish::Copy(self.job())));
                close = true;
            }
            close |= ui.button("Cancel").clicked();
            if exists {
                ui.label(theme::quiet("A file of this name is there."));
            }
        });
        close
    }

    fn job(&self) -> Job {
        Job {
            pane: self.pane.clone(),
            form: self.form,
            scale: self.scale,
        }
    }
}

impl Job {
    /// Writes the file.
    ///
    /// # Errors
    /// If there is nothing to draw, or the place cannot be written.
    pub fn save(
        &self,
        mut view: View,
        snapshot: &Snapshot,
        file: Result<ViewFile, String>,
        path: &Path,
    ) -> crate::Result<()> {
        let refused = |why: String| Error::path(path, why, "a pane that shows something");
        view.pane.clone_from(&self.pane);
        let export = match self.form {
            Form::View => {
                let mut file = file.map_err(refused)?;
                file.view = view;
                return file.write(path);
            }
            Form::Png => Export::Png(self.scale),
            Form::Svg => Export::Svg,
            Form::Csv => Export::Csv,
            Form::Npz => Export::Npz,
        };
        let computed = Computed::of(snapshot).ok_or("nothing was analysed yet".to_owned());
        let bytes = computed.and_then(|of| export.bytes(&view, of));
        files::write(path, &bytes.map_err(refused)?)
    }

    /// The figure as pixels.
    ///
    /// # Errors
    /// One sentence if there is nothing to draw.
    pub fn picture(&self, mut view: View, snapshot: &Snapshot) -> Result<Arc<ColorImage>, String> {
        view.pane.clone_from(&self.pane);
        let of = Computed::of(snapshot).ok_or("Nothing was analysed yet")?;
        let page = view.figure(of)?.render(self.scale);
        let size = [page.width() as usize, page.height() as usize];
        let image = ColorImage::from_rgba_unmultiplied(size, page.as_raw());
        Ok(Arc::new(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposed_name_follows_pane_and_form_and_a_typed_one_only_the_form() {
        let mut dialog = ExportDialog::new("routing", Some("cat.jpg"), Some("/a".into()));
        assert_eq!(dialog.path, "/a/cat-routing.png");
        dialog.rename("polarized", Form::Svg);
        assert_eq!(dialog.path, "/a/cat-polarized.svg");
        dialog.path = "/b/figure 3.svg".into();
        dialog.rename("routing", Form::View);
        assert_eq!(dialog.path, "/b/figure 3.json");
    }
}
