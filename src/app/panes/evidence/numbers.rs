//! The numbers on a box: made a few at a time, so that no frame waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use egui::Ui;

use crate::app::pane::Context;
use crate::app::panes::memo::TraceKey;
use crate::attention::view::{Asked, Body, Heat, Question};
use crate::attention::{MapSize, Trace};
use crate::engine::causal::Target;
use crate::engine::{LayerTrace, Placement, Scene};
use crate::measure::evidence::{
    ChannelShare, Mass, Peak, Rect, UnitsInside, channels, mass, peaks, units_inside,
};

/// Time for numbers in one frame.
const FRAME: Duration = Duration::from_millis(4);
/// Pixels that are listed.
const PEAKS: usize = 5;

/// A map with its numbers.
pub struct MapNumbers {
    /// Row of the layer.
    pub row: usize,
    /// The question that it answers.
    pub question: &'static Question,
    /// The map.
    pub heat: Heat,
    /// The feature map that it lies on.
    pub map: MapSize,
    /// How much of it lies inside.
    pub mass: Mass,
    /// Its largest cells inside.
    pub peaks: Vec<Peak>,
}

/// What is still to be made.
enum Todo {
    Map(usize, &'static Question),
    Units(usize),
    Channels(usize),
}

/// What all numbers follow from.
#[derive(PartialEq)]
struct Key {
    traces: Vec<(usize, TraceKey)>,
    target: Target,
}

/// The numbers of all layers on one box.
#[derive(Default)]
pub struct Numbers {
    key: Option<Key>,
    todo: Vec<Todo>,
    maps: Vec<MapNumbers>,
    units: BTreeMap<usize, UnitsInside>,
    channels: BTreeMap<usize, Vec<ChannelShare>>,
    /// Questions whose answer is no map: they are not asked again.
    no_maps: BTreeSet<(&'static str, &'static str)>,
}

impl Numbers {
    /// Starts anew where a trace or the box has changed, and goes on where there is more to do.
    pub fn follow(&mut self, ui: &Ui, cx: &Context<'_>, scene: &Scene, target: Target) {
        let traces = &cx.snapshot.traces;
        let of = |(row, of): (&usize, &std::sync::Arc<LayerTrace>)| (*row, TraceKey::of(&of.trace));
        let key = Key {
            traces: traces.iter().map(of).collect(),
            target,
        };
        if self.key.as_ref() != Some(&key) {
            self.key = Some(key);
            self.maps.clear();
            self.units.clear();
            self.channels.clear();
            // The last is made first.
            self.todo = traces
                .values()
                .rev()
                .flat_map(|t| self.questions(t))
                .collect();
            // This frame has the answers of the other panes to make.
            ui.ctx().request_repaint();
            return;
        }
        let start = Instant::now();
        while let Some(todo) = self.todo.pop() {
            self.make(&todo, cx, scene, target);
            if start.elapsed() > FRAME {
                break;
            }
        }
        if !self.todo.is_empty() {
            ui.ctx().request_repaint();
        }
    }

    fn questions(&self, of: &LayerTrace) -> Vec<Todo> {
        let id = of.trace.mechanism().id;
        let maps = of.trace.questions().iter().rev();
        let maps = maps.filter(|q| !self.no_maps.contains(&(id, q.id)));
        let maps = maps.map(|q| Todo::Map(of.row, q));
        [Todo::Channels(of.row), Todo::Units(of.row)]
            .into_iter()
            .chain(maps)
            .collect()
    }

    fn make(&mut self, todo: &Todo, cx: &Context<'_>, scene: &Scene, target: Target) {
        let (Todo::Map(row, _) | Todo::Units(row) | Todo::Channels(row)) = *todo;
        let Some(of) = cx.snapshot.traces.get(&row) else {
            return;
        };
        let trace = of.trace.as_ref();
        let place = scene.place(trace.map());
        let on_map = |rect: Rect| -> Rect {
            let [[x0, y0], [x1, y1]] =
                [[rect[0], rect[1]], [rect[2], rect[3]]].map(|[x, y]| place.to_map(x, y));
            [x0, y0, x1, y1]
        };
        let photo = [
            0.0,
            0.0,
            scene.photo.width as f32,
            scene.photo.height as f32,
        ];
        let (rect, photo) = (on_map(target.rect), on_map(photo));
        match todo {
            Todo::Units(_) => {
                self.units
                    .extend(units_inside(trace, rect, photo).map(|u| (row, u)));
            }
            Todo::Channels(_) => {
                let features = trace
                    .features()
                    .and_then(|t| t.flatten_all().ok()?.to_vec1().ok());
                let all = features.map_or_else(Vec::new, |f: Vec<f32>| {
                    channels(&f, trace.map(), trace.channel_weights(), rect, photo)
                });
                self.channels.insert(row, all);
            }
            Todo::Map(_, question) => {
                let Some(heat) = answered(trace, question, target, place) else {
                    self.no_maps.insert((trace.mechanism().id, question.id));
                    return;
                };
                if let Some(mass) = heat.as_ref().and_then(|heat| mass(heat, rect, photo))
                    && let Some(heat) = heat
                {
                    self.maps.push(MapNumbers {
                        row,
                        question,
                        peaks: peaks(&heat, rect, photo, PEAKS),
                        heat,
                        map: trace.map(),
                        mass,
                    });
                }
            }
        }
    }

    /// All maps, by row and question.
    pub fn maps(&self) -> &[MapNumbers] {
        &self.maps
    }

    /// The chosen map, or the first.
    pub fn map(&self, chosen: Option<(usize, &'static str)>) -> Option<&MapNumbers> {
        let is_it = |m: &&MapNumbers| Some((m.row, m.question.id)) == chosen;
        self.maps.iter().find(is_it).or(self.maps.first())
    }

    /// Whether more is on the way.
    pub fn is_whole(&self) -> bool {
        self.todo.is_empty()
    }

    /// The units of a row in the box.
    pub fn units(&self, row: usize) -> Option<&UnitsInside> {
        self.units.get(&row)
    }

    /// The channels of a row.
    pub fn channels(&self, row: usize) -> &[ChannelShare] {
        self.channels.get(&row).map_or(&[], Vec::as_slice)
    }
}

/// The map that answers a question about the middle of the box: `None` where the answer is no map,
/// `Some(None)` where there is no answer now.
fn answered(
    trace: &dyn Trace,
    question: &'static Question,
    target: Target,
    place: Placement,
) -> Option<Option<Heat>> {
    let [x0, y0, x1, y1] = target.rect;
    let asked = Asked {
        cell: place.cell([(x0 + x1) / 2.0, (y0 + y1) / 2.0]),
        ..Asked::default()
    };
    match trace.answer(question.id, &asked).map(|a| a.view.body) {
        Some(Body::Overlay(overlay)) => overlay.heat.map(Some),
        Some(_) => None,
        None => Some(None),
    }
}
