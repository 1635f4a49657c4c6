//! The strip at the top: what is looked at, and how the network is asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use egui::{Button, ComboBox, Key, Label, Slider, TextEdit, Ui, UiBuilder, vec2};

use super::command::{Ask, Can, Command};
use super::keep::Kept;
use super::menu_bar;
use super::session::Session;
use super::theme;
use crate::checkpoint::{Model, Origin};
use crate::engine::{MAX_SIZE, Settings};
use crate::picture::{Photo, fonts};
use crate::yolo::Head;

/// Smallest input side that is offered.
const MIN_SIZE: usize = 160;
/// Width that a badge beside the model's name takes.
const BADGE: f32 = 220.0;
/// From this width on, model and thresholds stand in one row.
const WIDE_ENOUGH: f32 = 1360.0;

/// What the strip draws from and writes to.
pub struct SourceStrip<'a> {
    /// What is open.
    pub session: &'a Session,
    /// What is set.
    pub kept: &'a mut Kept,
    /// The path that is being typed.
    pub path: &'a mut String,
    /// Recent files that are gone.
    pub missing: &'a BTreeSet<PathBuf>,
    /// What is possible.
    pub can: &'a Can,
    /// What is asked for.
    pub asks: &'a mut Vec<Ask>,
}

impl SourceStrip<'_> {
    /// Draws the strip.
    pub fn show(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| self.picture(ui));
        let model = self.session.model().cloned();
        let badges = model.as_ref().map_or(0, |m| {
            let random = m.card.random || !m.random_rows().is_empty();
            usize::from(random) + usize::from(m.network.stopped().is_some())
        });
        let wide = ui.available_width() >= WIDE_ENOUGH + badges as f32 * BADGE;
        ui.horizontal(|ui| {
            self.model(ui, model.as_deref());
            if wide {
                ui.separator();
                self.thresholds(ui, model.as_deref());
            }
        });
        if !wide {
            ui.horizontal(|ui| self.thresholds(ui, model.as_deref()));
        }
    }

    fn picture(&mut self, ui: &mut Ui) {
        match self.session.photo() {
            Some(photo) => picture_name(ui, photo),
            None => {
                ui.weak("No picture is open yet");
            }
        }
        ui.separator();
        Command::OpenPicture.button(ui, self.can, self.asks);
        menu_bar::examples(ui, self.asks);
        menu_bar::recent_menu(ui, self.kept, self.missing, self.asks);
        let field = TextEdit::singleline(self.path)
            .hint_text("Type or paste a path and press Enter")
            .desired_width(ui.available_width() - 60.0);
        let field = ui
            .add(field)
            .on_hover_text("Path of a picture, a checkpoint or a model folder");
        let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
        let given = !self.path.trim().is_empty();
        let open = ui
            .add_enabled(given, Button::new("Open"))
            .on_disabled_hover_text("Type a path first");
        if (enter && given) || open.clicked() {
            self.asks.push(Ask::OpenText(self.path.clone()));
        }
    }

    fn model(&mut self, ui: &mut Ui, model: Option<&Model>) {
        match model {
            Some(model) => model_name(ui, model),
            None => {
                ui.weak("No model is open yet");
            }
        }
        ui.separator();
        Command::OpenCheckpoint.button(ui, self.can, self.asks);
        menu_bar::models(ui, self.asks);
        if let Some(model) = model {
            ui.separator();
            input_size(ui, &mut self.kept.settings, model);
        }
    }

    fn thresholds(&mut self, ui: &mut Ui, model: Option<&Model>) {
        let Some(model) = model else {
            return;
        };
        let settings = &mut self.kept.settings;
        heads(ui, settings, model);
        ui.separator();
        let slider = Slider::new(&mut settings.thresholds.confidence, 0.0..=1.0);
        let slider = slider.step_by(0.01).fixed_decimals(2).text("confidence");
        ui.add(slider)
            .on_hover_text("A detection needs a score above this");
        if settings.head_on(model) == Head::OneToMany {
            let slider = Slider::new(&mut settings.thresholds.iou, 0.0..=1.0);
            let slider = slider.step_by(0.01).fixed_decimals(2).text("overlap (IoU)");
            ui.add(slider).on_hover_text(
                "Of two boxes of one class that overlap more than this, the weaker goes (non-maximum suppression)",
            );
        }
    }
}

/// A label of at most a sixth of the window, cut with "…".
fn cut(ui: &mut Ui, text: egui::RichText) -> egui::Response {
    let font = egui::TextStyle::Body.resolve(ui.style());
    let galley =
        ui.painter()
            .layout_no_wrap(text.text().to_owned(), font, ui.visuals().text_color());
    let width = galley.size().x.min(ui.ctx().content_rect().width() / 6.0) + theme::SMALL;
    let (_, rect) = ui.allocate_space(vec2(width, ui.spacing().interact_size.y));
    ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
        ui.add(Label::new(text).truncate())
    })
    .inner
}

fn picture_name(ui: &mut Ui, photo: &Photo) {
    let place = photo
        .path
        .as_ref()
        .map_or_else(|| photo.name.clone(), |p| p.display().to_string());
    cut(
        ui,
        egui::RichText::new(fonts::legible(&photo.name)).strong(),
    )
    .on_hover_text(place);
    ui.weak(format!("{} × {}", photo.width, photo.height));
    if !photo.notes.is_empty() {
        theme::badge(ui, "changed on opening").on_hover_text(photo.notes.join("\n"));
    }
}

fn model_name(ui: &mut Ui, model: &Model) {
    let place = match &model.origin {
        Origin::Bundled(_) => "Comes with the program".to_owned(),
        Origin::Folder(folder) => folder.display().to_string(),
    };
    let about = format!(
        "{place}\n{} layers, {} parameters, {} classes",
        model.network.layers().len(),
        model.report.parameters,
        model.classes.len(),
    );
    cut(
        ui,
        egui::RichText::new(fonts::legible(&model.name)).strong(),
    )
    .on_hover_text(about);
    let random = model.random_rows().len();
    if model.card.random || model.report.found == 0 {
        theme::badge(ui, "random weights")
            .on_hover_text("The weights are random numbers: the maps show nothing learned");
    } else if random > 0 {
        let text = format!(
            "random weights in {random} of {} layers",
            model.config.rows.len()
        );
        theme::badge(ui, &text)
            .on_hover_text(
                "The file lacks tensors of these layers. They run on random numbers; File, Load report names them.",
            );
    }
    if let Some(stop) = model.network.stopped() {
        theme::badge(ui, &format!("ends before layer {}", stop.row))
            .on_hover_text(stop.to_string());
    }
}

/// The side of the network input: multiples of the stride, the model's best marked.
fn input_size(ui: &mut Ui, settings: &mut Settings, model: &Model) {
    let (used, clamp) = settings.size_on(model);
    let best = model.best_size();
    let stride = model.network.stride().max(1);
    let text = |size: usize| match size == best {
        true => format!("{size} (best)"),
        false => size.to_string(),
    };
    let combo = ComboBox::from_label("input size")
        .height(340.0)
        .selected_text(text(used))
        .show_ui(ui, |ui| {
            let first = MIN_SIZE.div_ceil(stride) * stride;
            for size in (first..=MAX_SIZE).step_by(stride) {
                if ui.selectable_label(size == used, text(size)).clicked() {
                    settings.size = (size != best).then_some(size);
                }
            }
        });
    combo.response.on_hover_text(format!(
        "Side of the square network input in pixels. Larger shows smaller things and takes longer; the model is best at {best}."
    ));
    if let Some(clamp) = clamp {
        ui.label(theme::quiet(clamp.reason))
            .on_hover_text(format!("{} was asked for", clamp.asked));
    }
}

fn heads(ui: &mut Ui, settings: &mut Settings, model: &Model) {
    let used = settings.head_on(model);
    let of_model = model.network.heads();
    for (head, about) in [
        (
            Head::OneToOne,
            "One box per object by training; no suppression",
        ),
        (
            Head::OneToMany,
            "Many boxes per object, thinned by non-maximum suppression",
        ),
    ] {
        let button = Button::selectable(head == used, head.name());
        let response = ui
            .add_enabled(of_model.contains(&head), button)
            .on_hover_text(match head == model.best_head() {
                true => format!("{about}. The model is better with this head."),
                false => about.to_owned(),
            })
            .on_disabled_hover_text("The model has no such head");
        if response.clicked() {
            settings.head = Some(head);
        }
    }
}
