//! Any layer: the rows of the network as a list, and the feature maps of the chosen one.

mod grid;
mod large;
mod list;

use std::sync::Arc;

use egui::{ComboBox, Key, Modifiers, Rect, RichText, Ui, pos2};

use self::grid::Grid;
use self::large::Large;
use self::list::List;
use super::areas;
use super::layer::{self, Staleness};
use super::memo::{Memo, Same};
use super::parts::{self, Room};
use crate::app::color_bar::color_bar;
use crate::app::pane::{Context, Look, Pane, Selection};
use crate::engine::{Channels, FeatureMaps, RowInfo, Scene, Settings, rows};
use crate::measure::Activation;
use crate::picture::numbers::value_label;
use crate::picture::{Coloring, Range, RangeRule, range_words};
use crate::view;

const ID: &str = view::LAYERS;
/// From this width on the list stands beside the maps, otherwise above them.
const WIDE: f32 = 620.0;
/// Most width of the list.
const LIST: f32 = 470.0;
const GAP: f32 = 8.0;

/// The pane.
#[derive(Default)]
pub struct Layers {
    list: List,
    grid: Grid,
    large: Large,
    /// The row of which one map is shown large.
    enlarged: Option<usize>,
    order_by: Sorting,
    stale: Staleness,
    rows: Memo<Same<Scene>, Vec<RowInfo>>,
    order: Memo<(Same<Channels>, Sorting), Vec<usize>>,
    shared: Memo<(Same<Channels>, Look), Range>,
}

/// What the maps are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sorting {
    By(Activation),
    Number,
}

impl Default for Sorting {
    fn default() -> Self {
        Self::By(Activation::default())
    }
}

impl Sorting {
    fn measure(self) -> Option<Activation> {
        match self {
            Self::By(measure) => Some(measure),
            Self::Number => None,
        }
    }

    fn name(self) -> &'static str {
        self.measure().map_or("channel number", Activation::name)
    }

    /// Short name in view files.
    fn id(self) -> &'static str {
        self.measure().map_or(view::BY_NUMBER, Activation::id)
    }

    /// What is set.
    fn set(cx: &Context<'_>) -> Self {
        let id = cx.asking.get(ID).and_then(|a| a.question.as_deref());
        let all = Activation::ALL.into_iter().map(Self::By);
        let mut all = all.chain([Self::Number]);
        all.find(|s| Some(s.id()) == id).unwrap_or_default()
    }
}

/// One frame's view of the maps.
struct Seen<'a> {
    scene: &'a Arc<Scene>,
    features: &'a FeatureMaps,
    look: Look,
    /// The range of all maps together, if they share one.
    shared: Option<Range>,
    order: Vec<usize>,
    by: Option<Activation>,
    stale: bool,
}

impl Pane for Layers {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Layers"
    }
    fn help(&self) -> String {
        "Every row of the network with what it puts out, how long it took and what it holds. \
         Press one to see its feature maps, the most active first; arrow keys step through the \
         list. Press a map to see it over the photograph; Escape or another press goes back."
            .into()
    }

    fn features(&self, selection: &Selection) -> Option<usize> {
        selection.layer
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

impl Layers {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(scene) = layer::scene(ui, cx) else {
            return;
        };
        let settings = Settings {
            size: Some(scene.letterbox.input[0]),
            ..Settings::default()
        };
        let key = Same::of(scene);
        let listed = self.rows.get(key, || rows(&scene.model, &settings));
        if cx.selection.layer.is_none_or(|row| row >= listed.len()) {
            let first = listed.iter().find(|info| info.mechanism.is_some());
            cx.selection.layer = first.or(listed.first()).map(|info| info.row);
        }
        let [left, right] = divide(ui);
        let chosen = cx.selection.layer;
        areas::part(ui, left, "list", |ui| {
            self.list
                .show(ui, listed, cx.snapshot, &mut cx.selection.layer)
        });
        if chosen != cx.selection.layer {
            self.enlarged = None;
        }
        self.order_by = Sorting::set(cx);
        let info = cx.selection.layer.and_then(|row| listed.get(row)).cloned();
        let Some(info) = info else {
            return;
        };
        areas::part(ui, right, "maps", |ui| self.maps(ui, cx, scene, &info));
    }

    /// The maps of the chosen row, or why there are none.
    fn maps(&mut self, ui: &mut Ui, cx: &mut Context<'_>, scene: &Arc<Scene>, info: &RowInfo) {
        if info.shape.is_none() {
            let text = format!(
                "Row {} {} puts out boxes and scores, no feature maps. The Detections pane shows \
                 what becomes of them.",
                info.row, info.module
            );
            layer::say(ui, &text);
            return;
        }
        let features = cx.snapshot.features.clone();
        let features = features.filter(|f| f.row == info.row);
        self.controls(ui, cx, info);
        let Some(features) = features else {
            layer::wait(ui, cx);
            return;
        };
        let seen = self.seen(ui, cx, scene, &features);
        let channel = cx.selection.channel.filter(|c| *c < features.maps.count());
        match channel.filter(|_| self.enlarged == Some(info.row)) {
            Some(channel) => {
                let leave = self.large.show(ui, cx, &seen, channel) | escape(ui);
                if leave {
                    self.enlarged = None;
                }
            }
            None => self.overview(ui, cx, &seen),
        }
    }

    /// What is shown, with what it takes to show it.
    fn seen<'a>(
        &mut self,
        ui: &Ui,
        cx: &mut Context<'_>,
        scene: &'a Arc<Scene>,
        features: &'a FeatureMaps,
    ) -> Seen<'a> {
        let look = *parts::look_of(cx, ID, first_look());
        let maps = Same::of(&features.maps);
        let sorting = self.order_by;
        let order = self.order.get((maps.clone(), sorting), || {
            features.maps.order(sorting.measure())
        });
        let shared = (look.rule == RangeRule::Shared).then(|| {
            // Neither changes the range.
            let key = Look {
                opacity: 1.0,
                border: false,
                ..look
            };
            *self
                .shared
                .get((maps, key), || shared_range(&features.maps, &look))
        });
        Seen {
            scene,
            features,
            look,
            shared,
            order: order.clone(),
            by: sorting.measure(),
            stale: self.stale.shows(ui, features.wish, cx.newest),
        }
    }

    /// All maps; a press makes one of them large.
    fn overview(&mut self, ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>) {
        let areas = areas::divide(ui, seen.shared.is_some(), areas::Side::None, 1.0);
        let hand = areas::part(ui, areas.canvas, "grid", |ui| {
            self.grid.show(ui, seen, cx.selection.channel)
        });
        if let Some(channel) = hand.pressed {
            cx.selection.channel = Some(channel);
            self.enlarged = Some(seen.features.row);
        }
        if let (Some(rect), Some(range)) = (areas.bar, seen.shared) {
            let coloring = common_coloring(&seen.look, &seen.features.maps, range);
            color_bar(ui, rect, &coloring, QUANTITY, None);
        }
        layer::notes(ui, areas.canvas, &seen.features.badges, seen.stale);
        let n = seen.order.len();
        let selected = match n {
            1 => "1 channel".to_owned(),
            n => format!("{n} channels"),
        };
        let remark = format!("by {}", self.order_by.name());
        let pointer = hand.hover.map(|c| describe(seen, c)).unwrap_or_default();
        areas::lines(ui, areas.lines, &selected, &remark, &pointer);
    }

    fn controls(&mut self, ui: &mut Ui, cx: &mut Context<'_>, info: &RowInfo) {
        let room = Room::of(ui);
        ui.horizontal_wrapped(|ui| {
            let title = format!("row {} {}", info.row, info.module);
            ui.label(RichText::new(title).strong())
                .on_hover_text(info.shape_text());
            if self.enlarged == Some(info.row) {
                let back = ui
                    .button("All maps")
                    .on_hover_text("Back to all channels (Escape)");
                if back.clicked() {
                    self.enlarged = None;
                }
            } else {
                self.sorting(ui, cx);
            }
            let look = parts::look_of(cx, ID, first_look());
            common_switch(ui, look);
        });
        ui.horizontal_wrapped(|ui| {
            let look = parts::look_of(cx, ID, first_look());
            parts::looks(ui, room, look, self.large.coloring());
        });
    }

    fn sorting(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let combo = ComboBox::from_id_salt("sorted by")
            .selected_text(self.order_by.name())
            .width(112.0)
            .show_ui(ui, |ui| {
                for by in Activation::ALL {
                    ui.selectable_value(&mut self.order_by, Sorting::By(by), by.name())
                        .on_hover_text(by.help());
                }
                let number = Sorting::Number;
                ui.selectable_value(&mut self.order_by, number, number.name())
                    .on_hover_text("In the order in which the layer puts them out");
            });
        let asking = cx.asking.entry(ID.to_owned()).or_default();
        asking.question = Some(self.order_by.id().to_owned());
        combo
            .response
            .accessible_name("sorted by")
            .on_hover_text("What the maps are sorted by, largest first");
    }
}

/// What the values are called.
const QUANTITY: &str = "activation";

/// Maps can be compared by colour as long as nothing else is wanted.
fn first_look() -> Look {
    Look {
        rule: RangeRule::Shared,
        ..Look::default()
    }
}

/// One range for all maps, or one for each.
fn common_switch(ui: &mut Ui, look: &mut Look) {
    let mut common = look.rule == RangeRule::Shared;
    let switch = ui.checkbox(&mut common, "common range").on_hover_text(
        "On: all maps over one range, so that colours can be compared. Off: each over its own, \
         so that weak ones can be seen.",
    );
    if switch.changed() {
        look.rule = match common {
            true => RangeRule::Shared,
            false => RangeRule::Own,
        };
    }
}

/// The smallest range that holds all maps as the look clips them.
fn shared_range(maps: &Channels, look: &Look) -> Range {
    if look.clip <= 0.0 {
        return maps.common_range();
    }
    let clipped = (0..maps.count()).map(|c| look.own_range(maps.values.row(c)));
    clipped
        .reduce(Range::union)
        .unwrap_or_else(|| maps.common_range())
}

/// The colours that all maps share.
fn common_coloring(look: &Look, maps: &Channels, shared: Range) -> Coloring {
    let all = maps.common_range();
    let ends = Look {
        // A share of the mass is another value in each map.
        mass: None,
        ..*look
    };
    ends.coloring(&[all.min, all.max], Some(shared))
}

/// A channel in words: `channel 17 · mean magnitude 0.531 · rank 3 of 64 · -0.28 to 4.1`.
fn describe(seen: &Seen<'_>, channel: usize) -> String {
    let maps = &seen.features.maps;
    let mut text = format!("channel {channel}");
    if let (Some(by), Some(numbers)) = (seen.by, maps.numbers.get(channel)) {
        let rank = seen.order.iter().position(|c| *c == channel);
        let (name, value) = (by.name(), value_label(numbers.by(by), 4));
        let (rank, n) = (rank.map_or(0, |r| r + 1), seen.order.len());
        text += &format!(" · {name} {value} · rank {rank} of {n}");
    }
    text + " · " + &range_words(maps.range(channel))
}

/// Whether Escape was pressed for the pane, and not for a list or a text field.
fn escape(ui: &Ui) -> bool {
    let ctx = ui.ctx();
    let free = !ctx.text_edit_focused() && !egui::Popup::is_any_open(ctx);
    free && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape))
}

/// The room of the list and of the maps.
fn divide(ui: &mut Ui) -> [Rect; 2] {
    let mut all = ui.available_rect_before_wrap();
    all.max.x = all.max.x.min(ui.clip_rect().right());
    ui.advance_cursor_after_rect(all);
    let (mut left, mut right) = (all, all);
    if all.width() >= WIDE {
        let width = LIST.min(0.5 * all.width());
        left.set_right(all.left() + width);
        right.min = pos2(left.right() + GAP, all.top());
    } else {
        left.set_bottom(all.top() + 0.34 * all.height());
        right.min = pos2(all.left(), left.bottom() + GAP);
    }
    [left, right]
}
