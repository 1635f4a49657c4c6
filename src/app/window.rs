//! The window itself: what it holds, one frame of it, and what becomes of what is asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use egui::{CentralPanel, Event, Frame, Margin, Panel, Ui};

use super::command::{self, Ask, Can, Command};
use super::keep::Kept;
use super::layout::Layout;
use super::open::{News, Opened, Opener, Wanted};
use super::pane::{Camera, Context, Pane, Selection};
use super::session::Session;
use super::source::{self, PhotoSource};
use super::source_strip::SourceStrip;
use super::toasts::{Message, Toasts};
use super::undo::History;
use super::{AppOptions, drop, knobs_panel, menu_bar, panes, status_bar, theme};
use crate::checkpoint::{Model, Origin};
use crate::engine::{Engine, OpenDevice, Snapshot, Worker};
use crate::picture::Photo;

/// Seconds between looks at which recent files are still there.
const RECENT_SECONDS: f64 = 2.0;

/// The window.
pub struct App {
    device: OpenDevice,
    session: Session,
    opener: Opener,
    kept: Kept,
    history: History,
    toasts: Toasts,
    panes: Vec<Box<dyn Pane>>,
    /// The path that is being typed.
    path: String,
    /// Recent files that are gone, and when that was looked up.
    missing: BTreeSet<PathBuf>,
    missing_since: f64,
    about_open: bool,
}

impl App {
    /// A window with its engine; it opens its first picture and model on a thread. `storage` holds
    /// what was kept of the last window.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn new(
        options: AppOptions,
        storage: Option<&dyn eframe::Storage>,
        ctx: &egui::Context,
    ) -> std::io::Result<Self> {
        theme::apply(ctx);
        let (kept, note) = Kept::load(storage);
        ctx.set_theme(kept.theme);
        let mut toasts = Toasts::default();
        if let Some(note) = note {
            toasts.note(note);
        }
        let device = options.device.open();
        let waking = ctx.clone();
        let worker = Worker::start(Engine::default(), move || waking.request_repaint())?;
        let mut opener = Opener::new(device.device.clone(), ctx.clone());
        let photo = options
            .photo
            .map_or_else(|| kept.photo.clone(), PhotoSource::File);
        opener.start(options.model.or_else(|| kept.model.clone()), photo);
        Ok(Self {
            device,
            session: Session::new(worker),
            opener,
            history: History::new(&kept.settings),
            kept,
            toasts,
            panes: panes::all(),
            path: String::new(),
            missing: BTreeSet::new(),
            missing_since: f64::NEG_INFINITY,
            about_open: false,
        })
    }

    /// The newest results.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        self.session.snapshot()
    }

    /// The open photograph.
    pub fn photo(&self) -> Option<&Arc<Photo>> {
        self.session.photo()
    }

    /// The open model.
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.session.model()
    }

    /// What outlives the window: settings, selection, layout and so on.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Notes and errors since the start, oldest first.
    pub fn messages(&self) -> &[Message] {
        self.toasts.messages()
    }

    /// Whether everything is open that was asked for, and analysed as it is set.
    pub fn is_settled(&self) -> bool {
        let open = self.photo().is_some() && self.model().is_some();
        open && self.opener.pending().next().is_none()
            && self.session.newest() > 0
            && !self.session.is_stale()
    }

    fn can(&self) -> Can {
        let bundled = self.model().is_some_and(|m| m.origin == Origin::Bundled);
        Can {
            undo: self.history.can_undo(),
            redo: self.history.can_redo(),
            reset_knobs: !self.kept.settings.knobs.is_empty(),
            reset_layout: self.kept.layout != Layout::default(),
            zoom: self.photo().is_some(),
            bundled_model: !bundled,
            theme: self.kept.theme,
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Opened(Ok(opened)) => self.take(opened),
            News::Opened(Err(error)) => self.toasts.error(error.to_string()),
            News::Started { model, photo, problems } => self.begin(model, photo, &problems),
            News::Picked(path) => self.opener.open(Wanted::Path(path)),
            News::NoDialog => self.toasts.error(
                "No file dialog could be shown on this system. Drag a picture or a model folder onto the window, \
                 or type its path above and press Enter.",
            ),
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
                let same = self.kept.photo == source;
                self.note_photo(&source);
                self.session.set_photo(*photo);
                if !same {
                    self.forget_places();
                }
            }
            Some(Err(error)) => self.toasts.error(error.to_string()),
            None => {}
        }
    }

    /// Knobs and selection that were kept hold for the model they were kept with.
    fn take_first_model(&mut self, model: Model) {
        let path = folder_of(&model);
        if path == self.kept.model {
            self.warn_of(&model);
            self.session.set_model(model);
        } else {
            self.take_model(model);
        }
    }

    fn take(&mut self, opened: Opened) {
        match opened {
            Opened::Photo(photo, source) => {
                if let Some(source) = source {
                    self.note_photo(&source);
                }
                self.forget_places();
                self.session.set_photo(*photo);
            }
            Opened::Model(model) => self.take_model(*model),
        }
    }

    fn note_photo(&mut self, source: &PhotoSource) {
        if let PhotoSource::File(path) = source {
            self.kept.recent.push(path);
            self.missing.remove(path);
            if path.to_str().is_none() {
                return;
            }
        }
        self.kept.photo = source.clone();
    }

    /// Rows of another model mean nothing on this one.
    fn take_model(&mut self, model: Model) {
        self.warn_of(&model);
        self.kept.model = folder_of(&model);
        if let Some(folder) = &self.kept.model {
            self.kept.recent.push(folder);
        }
        self.kept.settings.knobs.clear();
        self.kept.settings.size = None;
        self.kept.layer = None;
        self.kept.selection = Selection {
            point: self.kept.selection.point,
            ..Selection::default()
        };
        self.history = History::new(&self.kept.settings);
        self.session.set_model(model);
    }

    fn warn_of(&mut self, model: &Model) {
        if let Some(warning) = model.warning() {
            self.toasts.note(warning);
        }
    }

    /// What points at places of the last picture.
    fn forget_places(&mut self) {
        self.kept.selection.point = None;
        self.kept.selection.detection = None;
        self.kept.camera = Camera::default();
    }

    fn perform(&mut self, ask: Ask, ctx: &egui::Context) {
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
        }
    }

    fn command(&mut self, command: Command, ctx: &egui::Context) {
        match command {
            Command::OpenPicture | Command::OpenModel => {
                if let Some(dialog) = command.dialog() {
                    self.opener.ask(dialog);
                }
            }
            Command::BundledModel => self.opener.open(Wanted::BundledModel),
            Command::Paste => ctx.send_viewport_cmd(egui::ViewportCommand::RequestPaste),
            Command::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
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

    /// What arrives through the window: dropped files, and pictures or paths from the clipboard.
    fn receive(&mut self, ctx: &egui::Context) {
        if let Some((path, more)) = drop::dropped(ctx) {
            self.opener.open(Wanted::Path(path));
            if more > 0 {
                self.toasts
                    .note("One file is opened at a time: the first of those that were dropped.");
            }
        }
        if ctx.text_edit_focused() {
            return;
        }
        let mut pasted = None;
        ctx.input(|input| {
            for event in &input.events {
                match event {
                    Event::Paste(text) => pasted = Some(Ask::OpenText(text.clone())),
                    Event::PasteImage(image) => {
                        pasted = Some(Ask::Open(Wanted::Pixels(image.clone())))
                    }
                    _ => {}
                }
            }
        });
        if let Some(ask) = pasted {
            self.perform(ask, ctx);
        }
    }

    fn about(&mut self, ctx: &egui::Context) {
        if !self.about_open {
            return;
        }
        let modal = egui::Modal::new(egui::Id::unique("about")).show(ctx, |ui| {
            ui.set_width(420.0);
            ui.heading(concat!("attnscope ", env!("CARGO_PKG_VERSION")));
            ui.add_space(theme::GAP);
            ui.label(
                "Shows, live, why an attention-augmented YOLO detector looks where it looks: super tokens, \
                 routed regions and polarized weights beside the detections they lead to.",
            );
            ui.add_space(theme::GAP);
            ui.label(theme::quiet("Licence: MIT or Apache-2.0"));
            for sample in &super::samples::SAMPLES {
                ui.label(theme::quiet(format!("{}: {}", sample.file, sample.credit)));
            }
            ui.add_space(theme::GAP);
            ui.button("Close").clicked()
        });
        if modal.inner || modal.should_close() {
            self.about_open = false;
        }
    }

    /// Draws bars and panels from the outside in, and the panes in what is left.
    fn draw(&mut self, ui: &mut Ui, can: &Can, asks: &mut Vec<Ask>) -> egui::Rect {
        let bar =
            Frame::side_top_panel(ui.style()).inner_margin(Margin::symmetric(theme::MARGIN, 3));
        let padded = Frame::side_top_panel(ui.style()).inner_margin(theme::MARGIN);
        Panel::top("menu").frame(bar).show(ui, |ui| {
            menu_bar::show(ui, can, &self.kept, &self.panes, &self.missing, asks);
        });
        Panel::top("source").frame(padded).show(ui, |ui| {
            let mut strip = SourceStrip {
                session: &self.session,
                kept: &mut self.kept,
                path: &mut self.path,
                missing: &self.missing,
                can,
                asks,
            };
            strip.show(ui);
        });
        Panel::bottom("status").frame(bar).show(ui, |ui| {
            status_bar::show(
                ui,
                &self.device,
                &self.session,
                &self.opener,
                &self.toasts,
                can,
                asks,
            );
        });
        let model = self.session.model().cloned();
        Panel::left("knobs")
            .frame(padded)
            .default_size(300.0)
            .size_range(260.0..=460.0)
            .show(ui, |ui| {
                knobs_panel::show(ui, model.as_deref(), &mut self.kept, can, asks)
            });
        let deep = Frame::new().fill(ui.visuals().extreme_bg_color);
        let central = CentralPanel::default()
            .frame(deep)
            .show(ui, |ui| self.draw_panes(ui));
        central.response.rect
    }

    fn draw_panes(&mut self, ui: &mut Ui) {
        let snapshot = self.session.snapshot().clone();
        let Kept {
            layout,
            settings,
            selection,
            looks,
            camera,
            ..
        } = &mut self.kept;
        let cx = Context {
            snapshot: &snapshot,
            newest: self.session.newest(),
            settings,
            selection,
            looks,
            camera,
        };
        layout.show(ui, &mut self.panes, cx);
    }
}

fn folder_of(model: &Model) -> Option<PathBuf> {
    match &model.origin {
        Origin::Bundled => None,
        Origin::Folder(folder) => folder.to_str().map(PathBuf::from),
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        for news in self.opener.news() {
            self.hear(news);
        }
        if let Some(failure) = self.session.refresh() {
            self.toasts.error(failure);
        }
        self.session.wish(&self.kept.settings, &self.kept.selection);
        let _ = ctx;
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        let can = self.can();
        let mut asks = Vec::new();
        self.receive(&ctx);
        command::pressed(&ctx, &can, &mut asks);
        let area = self.draw(ui, &can, &mut asks);
        self.toasts.show(&ctx, area);
        self.about(&ctx);
        drop::overlay(&ctx);
        for ask in asks {
            self.perform(ask, &ctx);
        }
        let held = ctx.input(|i| i.pointer.any_down());
        self.history.follow(&self.kept.settings, held);
        self.session.wish(&self.kept.settings, &self.kept.selection);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        self.kept.save(storage);
    }
}
