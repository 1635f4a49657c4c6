//! The pane of a mechanism: one question at a time, answered over the photograph and beside it.

mod controls;
mod follow;
mod glyph;
mod overlay;
mod words;

use egui::Ui;

use super::areas::{self, Areas, Side};
use super::body::{Bodies, Chosen, Hand};
use super::layer::{self, Layer, Staleness};
use super::memo::{Anchor, Memo, TraceKey};
use super::parts;
use crate::app::canvas::{Canvas, HeatLayer, Shown};
use crate::app::color_bar::color_bar;
use crate::app::pane::{Context, Look, Pane};
use crate::attention::view::{Answer, Asked, Body, Overlay, Question, Units};
use crate::attention::{MapSize, Mechanism, Trace};
use crate::view;

/// Width of the column beside the picture, in points.
const COLUMN: f32 = 224.0;

/// What decides an answer.
type AnswerKey = (TraceKey, &'static str, Asked);

/// The pane.
pub struct AttentionPane {
    mechanism: &'static Mechanism,
    canvas: String,
    stale: Staleness,
    heat: HeatLayer,
    /// The answer about what is pressed.
    answer: Memo<AnswerKey, Option<Answer>>,
    /// The one about what is under the pointer, for what stands beside the picture.
    under: Memo<AnswerKey, Option<Answer>>,
    main: Bodies,
    beside: Vec<Bodies>,
    anchor: Anchor<(usize, Option<Units>, MapSize)>,
    /// The room beside the picture, by row and question: a press must not move the picture.
    side: Memo<(usize, &'static str), Side>,
}

/// One frame's view of the layer.
#[derive(Clone)]
struct Seen<'a> {
    layer: Layer<'a>,
    trace: &'a dyn Trace,
    question: &'static Question,
    asked: Asked,
    look: Look,
    stale: bool,
}

impl Seen<'_> {
    fn key(&self, asked: &Asked) -> AnswerKey {
        let trace = TraceKey::of(&self.layer.of.trace);
        (trace, self.question.id, asked.clone())
    }
}

impl Pane for AttentionPane {
    fn id(&self) -> &'static str {
        self.mechanism.id
    }
    fn title(&self) -> &'static str {
        self.mechanism.title
    }
    fn help(&self) -> String {
        format!(
            "{} Choose a question and press the picture: what lies there is selected in every \
             pane. Arrow keys step to the next one. Scroll to zoom, drag to move, double click to \
             fit.",
            self.mechanism.about
        )
    }

    fn mechanism(&self) -> Option<&'static Mechanism> {
        Some(self.mechanism)
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(self.mechanism.id, |ui| self.show(ui, cx));
    }
}

impl AttentionPane {
    /// The pane of a mechanism.
    pub fn new(mechanism: &'static Mechanism) -> Self {
        Self {
            mechanism,
            canvas: format!("{} canvas", mechanism.title),
            stale: Staleness::default(),
            heat: HeatLayer::default(),
            answer: Memo::default(),
            under: Memo::default(),
            main: Bodies::default(),
            beside: Vec::new(),
            anchor: Anchor::default(),
            side: Memo::default(),
        }
    }

    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let id = self.mechanism.id;
        let Some(layer) = Layer::find(ui, cx, self.mechanism) else {
            return;
        };
        let trace = layer.of.trace.as_ref();
        follow::selection(&mut self.anchor, cx, &layer);
        let pressed = cx.selection.point.is_some();
        let asking = cx.asking.entry(id.to_owned()).or_default();
        let Some(question) = asking.question(trace, pressed) else {
            return;
        };
        let bare = |a: &Answer| !words::has_look(a);
        let bare = self
            .answer
            .kept()
            .and_then(Option::as_ref)
            .is_some_and(bare);
        let shown = (!bare).then(|| self.heat.coloring());
        controls::show(ui, cx, &layer, question, shown);
        // The controls may have chosen another one.
        let asking = cx.asking.entry(id.to_owned()).or_default();
        let Some(question) = asking.question(trace, pressed) else {
            return;
        };
        let asked = view::asked(
            cx.selection,
            asking,
            question,
            layer.of.row,
            trace,
            layer.place,
        );
        let mut seen = Seen {
            layer,
            trace,
            question,
            asked,
            look: Look::default(),
            stale: self.stale.shows(ui, layer.of.wish, cx.newest),
        };
        let first = self.held(&seen).map(view::first_look);
        seen.look = *parts::look_of(cx, id, first.unwrap_or_default());
        if first.is_none() {
            follow::ask_for(cx, &seen);
        }
        let over_photo = first.is_none()
            || self
                .held(&seen)
                .is_some_and(|h| matches!(h.view.body, Body::Overlay(_)));
        match over_photo {
            true => self.over_photo(ui, cx, &seen),
            false => self.by_itself(ui, cx, &seen),
        }
    }

    /// The answer about what is pressed.
    fn held(&mut self, seen: &Seen<'_>) -> Option<&Answer> {
        let make = || seen.trace.answer(seen.question.id, &seen.asked);
        self.answer.get(seen.key(&seen.asked), make).as_ref()
    }

    /// The room that what stands beside the picture takes, whether anything is pressed or not.
    fn side(&mut self, seen: &Seen<'_>) -> Side {
        let make = || {
            let [h, w] = seen.trace.map();
            let middle = Asked {
                cell: Some([h / 2, w / 2]),
                ..seen.asked.clone()
            };
            let answer = seen.trace.answer(seen.question.id, &middle);
            answer.as_ref().map_or(Side::None, side_of)
        };
        *self.side.get((seen.layer.of.row, seen.question.id), make)
    }

    /// An answer that lies over the photograph.
    fn over_photo(&mut self, ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>) {
        let empty = Overlay::default();
        let beyond = seen.look.border.then(|| {
            let heat = self.held(seen).and_then(|a| words::map_of(&a.view.body));
            follow::beyond(seen, heat.map(|m| m.extent))
        });
        let name = std::mem::take(&mut self.canvas);
        let canvas = Canvas {
            name: &name,
            scene: seen.layer.scene,
            beyond,
            dim: seen.stale,
        };
        let side = self.side(seen);
        let areas = areas::divide(ui, true, side, canvas.aspect());
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        follow::hand(cx, seen, &shown);
        let missing = self.held(seen).is_none();
        let held = self.answer.kept().and_then(Option::as_ref);
        let overlay = match held.map(|a| &a.view.body) {
            Some(Body::Overlay(overlay)) => overlay,
            _ => &empty,
        };
        let shared = cx
            .shared
            .follow(self.mechanism.id, &seen.look, overlay.heat.as_ref());
        let value = overlay::paint(&mut self.heat, seen, &shown, overlay, shared);
        let quantity = overlay.heat.as_ref().map(|h| h.quantity);
        if let (Some(rect), Some(quantity)) = (areas.bar, quantity)
            && let Some(coloring) = self.heat.coloring()
        {
            color_bar(ui, rect, coloring, quantity, value);
        }
        parts::elsewhere(&shown, cx);
        if missing {
            let text = follow::asking_text(seen);
            layer::over_canvas(ui, areas.canvas, &text);
        }
        layer::notes(ui, areas.canvas, &seen.layer.of.badges, seen.stale);
        let pointer = words::pointer(seen, &shown, value.zip(quantity));
        if areas.side.is_none() {
            // What would stand beside the picture has no room there.
            if let Some(answer) = self.under(seen, Some(&shown)) {
                glyph::in_corner(&shown, &answer.beside);
            }
        }
        self.canvas = name;
        let hand = self.column(ui, cx, seen, &areas, Some(&shown));
        self.lines(ui, seen, &areas, &hand, pointer);
    }

    /// An answer that has no place on the photograph.
    fn by_itself(&mut self, ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>) {
        let Some(held) = self.held(seen) else {
            return;
        };
        let side = side_of(held);
        let body = held.view.body.clone();
        let colored = words::colored(&body);
        let areas = areas::divide(ui, colored.is_some(), side, 1.0);
        let chosen = chosen(cx, seen);
        let hand = areas::part(ui, areas.canvas, "main", |ui| {
            self.main.show(ui, &body, &seen.look, chosen)
        });
        if let (Some(rect), Some(quantity)) = (areas.bar, colored)
            && let Some(coloring) = self.main.coloring()
        {
            color_bar(ui, rect, coloring, quantity, None);
        }
        layer::notes(ui, areas.canvas, &seen.layer.of.badges, seen.stale);
        follow::take(cx, seen, &hand);
        let beside = self.column(ui, cx, seen, &areas, None);
        let pointer = hand.under.clone();
        self.lines(ui, seen, &areas, &beside, pointer);
    }

    /// What stands beside the picture: about the cell under the pointer, or about what is pressed.
    fn column(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        areas: &Areas,
        shown: Option<&Shown>,
    ) -> Hand {
        let Some(rect) = areas.side else {
            return Hand::default();
        };
        let under = self.under(seen, shown);
        let answer = under.or_else(|| self.held(seen).cloned());
        let views = answer.map_or_else(Vec::new, |a| a.beside);
        self.beside.resize_with(views.len(), Bodies::default);
        let chosen = chosen(cx, seen);
        let bodies = &mut self.beside;
        let hand = areas::part(ui, rect, "beside", |ui| {
            words::beside(ui, &views, bodies, &seen.look, chosen)
        });
        follow::take(cx, seen, &hand);
        hand
    }

    /// The answer about the cell under the pointer.
    fn under(&mut self, seen: &Seen<'_>, shown: Option<&Shown>) -> Option<Answer> {
        let cell = seen.layer.place.cell(shown?.hover?)?;
        let asked = Asked {
            cell: Some(cell),
            ..seen.asked.clone()
        };
        let make = || seen.trace.answer(seen.question.id, &asked);
        self.under.get(seen.key(&asked), make).clone()
    }

    /// The two lines at the bottom.
    fn lines(
        &mut self,
        ui: &mut Ui,
        seen: &Seen<'_>,
        areas: &Areas,
        beside: &Hand,
        pointer: String,
    ) {
        let held = self.held(seen);
        let (title, about) = held.map_or((String::new(), String::new()), |a| {
            let about = match a.view.caption.is_empty() {
                true => a.chosen.clone(),
                false => format!("{} · {}", a.chosen, a.view.caption),
            };
            (a.view.title.clone(), about)
        });
        let pointer = match beside.under.is_empty() {
            true => pointer,
            false => beside.under.clone(),
        };
        areas::lines(ui, areas.lines, &title, &about, &pointer);
    }
}

/// What is chosen, to be marked in bodies.
fn chosen(cx: &Context<'_>, seen: &Seen<'_>) -> Chosen {
    Chosen {
        unit: seen.asked.unit,
        channel: cx.selection.channel,
    }
}

/// How much room is taken for what stands beside.
fn side_of(answer: &Answer) -> Side {
    let is_wide = |body: &Body| matches!(body, Body::Bars(_) | Body::Gallery(_) | Body::Curves(_));
    match answer.beside.as_slice() {
        [] => Side::None,
        views if views.iter().any(|v| is_wide(&v.body)) => Side::Share(0.42, 0.44),
        _ => Side::Column(COLUMN),
    }
}
