//! What becomes of what is asked for, and of what was opened.

use std::collections::BTreeSet;

use super::command::{Ask, Command};
use super::export::{self, ExportDialog};
use super::layout::Layout;
use super::open::{News, Opened, Wanted};
use super::pane::{Camera, Selection};
use super::source;
use super::undo::History;
use super::window::App;
use crate::attention::MECHANISMS;
use crate::checkpoint::Model;
use crate::picture::{Photo, fonts};
use crate::view::{DETECTIONS, PhotoSource, View, ViewFile};

/// Seconds between looks at which recent files are still there.
const RECENT_SECONDS: f64 = 2.0;

impl App {
    /// Takes in what a thread found out.
    pub(super) fn hear(&mut self, news: News, ctx: &egui::Context) {
        match news {
            News::Opened(Ok(opened)) => self.take(opened),
            News::Opened(Err(error)) => self.toasts.error(error.to_string()),
            News::Started { model, photo, problems } => self.begin(model, photo, &problems),
            News::Picked(path) => self.opener.open(Wanted::Path(path)),
            News::NoDialog => self.toasts.error(
                "No file dialog could be shown on this system. Drag a picture or a model folder onto the window, \
                 or type its path above and press Enter.",
            ),
            News::Place(path) => {
                if let Some(dialog) = &mut self.export {
                    dialog.set_path(&path);
                }
            }
            News::Saved(Ok(path)) => self.toasts.note(format!("Saved {}", path.display())),
            News::Saved(Err(error)) => self.toasts.error(error.to_string()),
            News::Figure(Ok(image)) => {
                ctx.copy_image(image.as_ref().clone());
                self.toasts.note("The picture is on the clipboard.");
            }
            News::Figure(Err(why)) => self.toasts.error(why),
            News::Missing(missing) => self.missing = missing,
        }
    }

    /// The first picture and model are there.
    fn begin(
        &mut self,
        model: Option<crate::Result<Box<Model>>>,
        photo: Option<crate::Result<(Box<Photo>, PhotoSource)>>,
        problems: &[crate::Error],
    ) {
        if !problems.is_empty() {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            self.toasts.error(format!(
                "{}\nWhat comes with the program is shown instead.",
                list.join("\n")
            ));
        }
        match model {
            Some(Ok(model)) => self.take_first_model(*model),
            Some(Err(error)) => self.toasts.error(error.to_string()),
            None => {}
        }
        match photo {
            Some(Ok((photo, source))) => {
                let before = self.kept.photo.clone();
                self.note_photo(source);
                self.session.set_photo(*photo);
                if self.kept.photo != before {
                    self.forget_places();
                }
            }
            Some(Err(error)) => self.toasts.error(error.to_string()),
            None => {}
        }
    }

    /// Knobs and selection that were kept hold for the model they were kept with.
    fn take_first_model(&mut self, model: Model) {
        if self.kept.is_of(&model) {
            self.warn_of(&model);
            self.session.set_model(model);
        } else {
            self.take_model(model);
        }
    }

    fn take(&mut self, opened: Opened) {
        // A path that could not be opened stays there to be corrected.
        self.path.clear();
        match opened {
            Opened::Photo(photo, source) => {
                self.photo_source = None;
                if let Some(source) = source {
                    self.note_photo(source);
                }
                self.forget_places();
                self.session.set_photo(*photo);
            }
            Opened::Model(model) => self.take_model(*model),
            Opened::View(file, photo, model) => {
                for change in file.changes(&photo, &model) {
                    self.toasts.note(format!("In this view {change}."));
                }
                self.note_photo(file.picture.place.clone());
                self.session.set_photo(*photo);
                self.take_model(*model);
                self.kept.set_view(file.view.clone());
                self.view_arrives = true;
                self.history = History::new(&self.kept.settings);
                self.kept.layout.show_pane(&file.view.pane);
            }
        }
    }

    /// Remembers where the photograph is found again.
    fn note_photo(&mut self, source: PhotoSource) {
        self.photo_source = Some(source.clone());
        if let PhotoSource::File(path) = &source {
            self.warn_of_letters(&path.to_string_lossy());
        }
        if let PhotoSource::File(path) = &source {
            self.kept.recent.push(path);
            self.missing.remove(path);
        }
        if let Some(source) = source.lasting() {
            self.kept.photo = source;
        }
    }

    /// Rows of another model mean nothing on this one.
    fn take_model(&mut self, model: Model) {
        self.warn_of(&model);
        self.kept.note_model(&model);
        self.kept.settings.knobs.clear();
        self.kept.settings.erased.clear();
        self.kept.settings.probes.clear();
        self.kept.settings.size = None;
        self.kept.layer = None;
        self.kept.selection = Selection {
            point: self.kept.selection.point,
            ..Selection::default()
        };
        self.history = History::new(&self.kept.settings);
        // Panes of mechanisms that the model has come before those it lacks; the first one first.
        let has: BTreeSet<_> = model
            .network
            .attention()
            .map(|(_, a)| a.mechanism().id)
            .collect();
        for mechanism in MECHANISMS.iter().rev().filter(|m| has.contains(m.id)) {
            self.face(mechanism.id);
        }
        self.session.set_model(model);
    }

    /// Brings the pane of a mechanism in front of those it shares its place with.
    fn face(&mut self, mechanism: &str) {
        for pane in &self.panes {
            if pane.mechanism().is_some_and(|m| m.id == mechanism) {
                self.kept.layout.bring_forward(pane.id());
            }
        }
    }

    fn warn_of(&mut self, model: &Model) {
        self.warn_of_letters(&format!("{} {}", model.name, model.classes.join(" ")));
        if let Some(warning) = model.warning() {
            self.toasts.note(warning);
        }
    }

    /// Says which font to install for letters that no font has.
    fn warn_of_letters(&mut self, text: &str) {
        if let Some(advice) = fonts::covering(text).advice() {
            self.toasts.note(advice);
        }
    }

    /// What points at places of the last picture.
    fn forget_places(&mut self) {
        self.kept.selection.point = None;
        self.kept.selection.detection = None;
        self.kept.camera = Camera::default();
    }

    /// Does what a control asked for.
    pub(super) fn perform(&mut self, ask: Ask, ctx: &egui::Context) {
        match ask {
            Ask::Do(command) => self.command(command, ctx),
            Ask::Open(wanted) => self.opener.open(wanted),
            Ask::OpenText(text) => match source::path_from_text(&text) {
                Ok(path) => self.opener.open(Wanted::Path(path)),
                Err(why) => self.toasts.error(why),
            },
            Ask::CheckRecent => {
                let now = ctx.input(|i| i.time);
                if now - self.missing_since > RECENT_SECONDS {
                    self.missing_since = now;
                    self.opener.check(self.kept.recent.paths());
                }
            }
            Ask::ClearRecent => self.kept.recent.clear(),
            Ask::TogglePane(pane) => self.kept.layout.toggle(pane),
            Ask::Dialog(dialog) => self.opener.ask(dialog),
            Ask::ExportPane(pane) => self.ask_export(pane),
            Ask::Export(wish) => self.export_now(wish),
            Ask::Face(mechanism) => self.face(mechanism),
        }
    }

    /// Asks how a pane shall be written; beside the photograph, where that is a file.
    fn ask_export(&mut self, pane: &str) {
        let folder = match &self.photo_source {
            Some(PhotoSource::File(path)) => path.parent().map(std::path::Path::to_owned),
            _ => None,
        };
        let photo = self.session.photo().map(|p| p.name.as_str());
        self.export = Some(ExportDialog::new(pane, photo, folder));
    }

    /// Writes or copies what was asked for, beside the window.
    fn export_now(&mut self, wish: export::Wish) {
        let snapshot = self.session.snapshot().clone();
        let view = View {
            shared: self.shared.range(),
            ..self.kept.view("")
        };
        match wish {
            export::Wish::Save(job, path) => {
                let file = match (self.photo(), self.model()) {
                    (Some(photo), Some(model)) => {
                        let photo = (&**photo, self.photo_source.as_ref());
                        ViewFile::new(view.clone(), photo, model)
                    }
                    _ => Err("no picture is open".into()),
                };
                self.opener.work("the export", move || {
                    let saved = job.save(view, &snapshot, file, &path);
                    News::Saved(saved.map(|()| path))
                });
            }
            export::Wish::Copy(job) => self.opener.work("the copy", move || {
                News::Figure(job.picture(view, &snapshot))
            }),
        }
    }

    fn command(&mut self, command: Command, ctx: &egui::Context) {
        match command {
            Command::OpenPicture | Command::OpenModel | Command::OpenCheckpoint => {
                if let Some(dialog) = command.dialog() {
                    self.opener.ask(dialog);
                }
            }
            Command::Paste => ctx.send_viewport_cmd(egui::ViewportCommand::RequestPaste),
            Command::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            Command::Export => self.ask_export(DETECTIONS),
            Command::Welcome => self.welcome_open = true,
            Command::Undo => self.history.undo(&mut self.kept.settings),
            Command::Redo => self.history.redo(&mut self.kept.settings),
            Command::ResetKnobs => self.kept.settings.knobs.clear(),
            Command::ResetLayout => self.kept.layout = Layout::default(),
            Command::ZoomFit => self.kept.camera = Camera::default(),
            Command::ZoomActual => self.zoom_actual(ctx),
            Command::Theme(theme) => {
                self.kept.theme = theme;
                ctx.set_theme(theme);
            }
            Command::Messages => self.toasts.list_open = !self.toasts.list_open,
            Command::LoadReport => self.report_open = true,
            Command::About => self.about_open = true,
        }
    }

    /// One pixel of the picture on one of the screen, in the largest pane.
    fn zoom_actual(&mut self, ctx: &egui::Context) {
        let sizes = self
            .panes
            .iter()
            .filter_map(|p| self.kept.layout.rect_of(p.id()));
        let largest = sizes.map(|r| r.size()).max_by(|a, b| a.x.total_cmp(&b.x));
        if let (Some(size), Some(photo)) = (largest, self.photo()) {
            let [w, h] =
                [photo.width, photo.height].map(|side| side as f32 / ctx.pixels_per_point());
            self.kept.camera.zoom = (w / size.x).max(h / size.y);
        }
    }
}
