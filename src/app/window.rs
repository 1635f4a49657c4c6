//! The window itself: what it holds, one frame of it, and what becomes of what is asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use egui::{CentralPanel, Event, Frame, Margin, Panel, Ui};

use super::command::{self, Ask, Can};
use super::export::ExportDialog;
use super::keep::Kept;
use super::layout::Layout;
use super::open::{Opener, Wanted};
use super::pane::{Context, Pane, Shared};
use super::session::Session;
use super::source_strip::SourceStrip;
use super::toasts::{Message, Toasts};
use super::undo::History;
use super::{AppOptions, drop, knobs_panel, menu_bar, panes, report, status_bar, theme, welcome};
use crate::checkpoint::{Model, Origin};
use crate::engine::{Engine, OpenDevice, Snapshot, Worker};
use crate::picture::Photo;
use crate::view::PhotoSource;

/// The window.
pub struct App {
    pub(super) device: OpenDevice,
    pub(super) session: Session,
    pub(super) opener: Opener,
    pub(super) kept: Kept,
    pub(super) history: History,
    pub(super) toasts: Toasts,
    pub(super) panes: Vec<Box<dyn Pane>>,
    /// The path that is being typed.
    pub(super) path: String,
    /// Recent files that are gone, and when that was looked up.
    pub(super) missing: BTreeSet<PathBuf>,
    pub(super) missing_since: f64,
    pub(super) about_open: bool,
    pub(super) report_open: bool,
    pub(super) welcome_open: bool,
    pub(super) export: Option<ExportDialog>,
    /// The range of the maps that are compared.
    pub(super) shared: Shared,
    /// Where the open photograph is found again.
    pub(super) photo_source: Option<PhotoSource>,
    /// A view was opened that no wish was sent for yet.
    pub(super) view_arrives: bool,
    /// The wish that the last opened view led to; older results are not of it.
    viewed_from: u64,
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
        let model = options.model.as_deref().map(Origin::named);
        opener.start(model.or_else(|| kept.model_origin()), photo);
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
            report_open: false,
            // A state that can be kept, but was not: the program is new here.
            welcome_open: storage.is_some_and(Kept::is_none),
            export: None,
            shared: Shared::default(),
            photo_source: None,
            view_arrives: false,
            viewed_from: 0,
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
        Can {
            undo: self.history.can_undo(),
            redo: self.history.can_redo(),
            reset_knobs: !self.kept.settings.knobs.is_empty(),
            reset_layout: self.kept.layout != Layout::default(),
            zoom: self.photo().is_some(),
            report: self.model().is_some(),
            export: self.snapshot().scene.is_some(),
            theme: self.kept.theme,
        }
    }

    /// Asks the engine for what is set now.
    fn wish(&mut self) {
        if let Some(problem) = self.session.follow_probes(&mut self.kept.settings) {
            self.toasts.error(problem);
        }
        let Kept {
            layout, selection, ..
        } = &self.kept;
        self.shared.retain(|pane| layout.is_in_sight(pane));
        let in_sight = || self.panes.iter().filter(|p| layout.is_in_sight(p.id()));
        let watched = in_sight().flat_map(|p| p.mechanisms()).map(|m| m.id);
        let features = in_sight().find_map(|p| p.features(selection));
        let (settings, watched) = (&self.kept.settings, watched.collect());
        self.session.wish(settings, &watched, features, selection);
        if std::mem::take(&mut self.view_arrives) {
            self.viewed_from = self.session.newest();
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
            for sample in &crate::picture::samples::SAMPLES {
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
            .show(ui, |ui| self.draw_panes(ui, asks));
        central.response.rect
    }

    fn draw_panes(&mut self, ui: &mut Ui, asks: &mut Vec<Ask>) {
        let mut snapshot = self.session.snapshot().clone();
        if snapshot.fulfilled < self.viewed_from && !self.session.has_failed() {
            // What is pressed in a view belongs to its own grids, not to those of the last picture.
            snapshot = Arc::default();
        }
        let Kept {
            layout,
            settings,
            selection,
            asking,
            looks,
            camera,
            ..
        } = &mut self.kept;
        let cx = Context {
            snapshot: &snapshot,
            newest: self.session.newest(),
            settings,
            selection,
            asking,
            looks,
            shared: &mut self.shared,
            camera,
        };
        layout.show(ui, &mut self.panes, cx, asks);
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        for news in self.opener.news() {
            self.hear(news, ctx);
        }
        if let Some(failure) = self.session.refresh() {
            self.toasts.error(failure);
        }
        self.wish();
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
        if let (true, Some(model)) = (self.report_open, self.session.model()) {
            self.report_open = report::show(&ctx, model);
        }
        if self.welcome_open {
            self.welcome_open = welcome::show(&ctx, &can, &mut asks);
        }
        if let Some(mut dialog) = self.export.take() {
            let open = dialog.show(&ctx, &self.panes, &mut asks);
            self.export = open.then_some(dialog);
        }
        drop::overlay(&ctx);
        if !asks.is_empty() {
            // What is asked for now is seen in the next frame.
            ctx.request_repaint();
        }
        for ask in asks {
            self.perform(ask, &ctx);
        }
        let held = ctx.input(|i| i.pointer.any_down());
        self.history.follow(&self.kept.settings, held);
        self.wish();
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        self.kept.save(storage);
    }
}
