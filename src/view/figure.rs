//! The figure of a view: the same with and without a window.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::View;
use super::{asked, first_look, middle_unit, unit};
use crate::attention::view::Answer;
use crate::attention::{Attention, MECHANISMS, Watch};
use crate::checkpoint::Model;
use crate::engine::{self, About, Detected, FeatureMaps, LayerTrace, Scene, Settings, Snapshot};
use crate::measure::Activation;
use crate::picture::{Figure, Look, RangeRule};

/// Id of the pane that shows the detections.
pub const DETECTIONS: &str = "detections";
/// Id of the pane that shows the feature maps of any row.
pub const LAYERS: &str = "layers";
/// What feature maps are sorted by if it is only their number.
pub const BY_NUMBER: &str = "number";
/// Feature maps on one page: more could not be told apart.
const MOST_MAPS: usize = 64;

/// What a figure is made from.
#[derive(Debug, Clone, Copy)]
pub struct Computed<'a> {
    /// Photograph and model.
    pub scene: &'a Arc<Scene>,
    /// Traces by row.
    pub traces: &'a BTreeMap<usize, Arc<LayerTrace>>,
    /// Detections.
    pub detected: Option<&'a Detected>,
    /// Feature maps of the row that is looked at.
    pub features: Option<&'a FeatureMaps>,
}

impl<'a> Computed<'a> {
    /// What a snapshot holds; `None` before the first run.
    pub fn of(snapshot: &'a Snapshot) -> Option<Self> {
        Some(Self {
            scene: snapshot.scene.as_ref()?,
            traces: &snapshot.traces,
            detected: snapshot.detected.as_deref(),
            features: snapshot.features.as_deref(),
        })
    }
}

impl View {
    /// Whether a figure can be made of a pane.
    pub fn draws(pane: &str) -> bool {
        pane == DETECTIONS || pane == LAYERS || MECHANISMS.iter().any(|m| m.id == pane)
    }

    /// The settings of a run that computes what the view shows.
    pub fn settings_on(&self, model: &Model) -> Settings {
        let mut settings = self.settings.clone();
        let of = |(row, attention): (usize, &dyn Attention)| {
            let shown = attention.mechanism().id == self.pane;
            let unit = self.selection.units.get(&row).copied();
            shown.then(|| (row, Watch::Focus(unit.into_iter().collect())))
        };
        settings.watch = model.network.attention().filter_map(of).collect();
        settings.features = self.selection.layer.filter(|_| self.pane == LAYERS);
        settings
    }

    /// The unit whose attention must be computed for the view, where none was kept: the middle one
    /// where nothing is pressed. Returns whether it was put into the selection.
    pub fn ask_for_unit(&mut self, of: Computed<'_>) -> bool {
        let Ok((layer, _)) = self.layer(of) else {
            return false;
        };
        let trace = layer.trace.as_ref();
        let place = of.scene.place(trace.map());
        let found = unit(&self.selection, layer.row, trace, place).or_else(|| middle_unit(trace));
        match found {
            Some(unit) if self.selection.units.get(&layer.row) != Some(&unit) => {
                self.selection.units.insert(layer.row, unit);
                true
            }
            _ => false,
        }
    }

    /// The figure of the view.
    ///
    /// # Errors
    /// One sentence if there is nothing to draw: an unknown pane, a mechanism that the model does
    /// not have, an attention that was not computed.
    pub fn figure(&self, of: Computed<'_>) -> Result<Figure, String> {
        if self.pane == DETECTIONS {
            let detected = of.detected.ok_or("there are no detections yet")?;
            let selected = self.selection.detection;
            return Ok(engine::detections_figure(of.scene, detected, selected));
        }
        let (about, answer) = self.answered(of)?;
        let look = self.look(&answer);
        let mut figure = engine::answer_figure(of.scene, about, &answer, &look);
        figure.select_channel(self.selection.channel);
        Ok(figure)
    }

    /// The answer that the view shows, with its layer.
    ///
    /// # Errors
    /// As [`View::figure`].
    pub fn answered(&self, of: Computed<'_>) -> Result<(About, Answer), String> {
        if self.pane == LAYERS {
            let features = of.features.ok_or("no feature maps were computed")?;
            let sorted = self.asking.get(LAYERS).and_then(|a| a.question.clone());
            let by = match sorted.as_deref() {
                Some(BY_NUMBER) => None,
                id => {
                    let known = Activation::ALL.into_iter();
                    let chosen = known.into_iter().find(|by| Some(by.id()) == id);
                    Some(chosen.unwrap_or_default())
                }
            };
            return Ok((features.into(), features.answer(by, MOST_MAPS)));
        }
        let (layer, title) = self.layer(of)?;
        let trace = layer.trace.as_ref();
        let place = of.scene.place(trace.map());
        let none = super::Asking::default();
        let asking = self.asking.get(&self.pane).unwrap_or(&none);
        let question = asking
            .question(trace, self.selection.point.is_some())
            .ok_or_else(|| format!("“{title}” answers no question"))?;
        let asked = asked(&self.selection, asking, question, layer.row, trace, place);
        let answer = trace.answer(question.id, &asked);
        let answer = answer.ok_or_else(|| format!("the {} was not computed", question.title))?;
        Ok((layer.into(), answer))
    }

    /// How the maps of the view look.
    pub fn look(&self, answer: &Answer) -> Look {
        let chosen = self.looks.get(&self.pane).copied();
        let mut look = chosen.unwrap_or_else(|| first_look(answer));
        // The maps that it was compared with in the window are not here.
        if let (RangeRule::Shared, Some(range)) = (look.rule, self.shared) {
            look.rule = RangeRule::Locked(range);
        }
        look
    }

    /// The trace of the pane's layer: the chosen row, or the first; and the mechanism's title.
    fn layer<'a>(&self, of: Computed<'a>) -> Result<(&'a LayerTrace, &'static str), String> {
        let Some(mechanism) = MECHANISMS.iter().find(|m| m.id == self.pane) else {
            let known: Vec<&str> = MECHANISMS.iter().map(|m| m.id).collect();
            let known = known.join(", ");
            return Err(format!(
                "no figure can be made of the pane “{}”; there are {DETECTIONS}, {LAYERS}, {known}",
                self.pane
            ));
        };
        let chosen = self.selection.rows.get(mechanism.id);
        let is_of = |t: &&Arc<LayerTrace>| t.trace.mechanism().id == mechanism.id;
        let mut all = of.traces.values().filter(is_of);
        let first = all.next();
        let found = first
            .into_iter()
            .chain(all)
            .find(|t| Some(&t.row) == chosen);
        let layer = found.or(first).ok_or_else(|| {
            format!(
                "{} has no layer for “{}”",
                of.scene.model.name, mechanism.title
            )
        })?;
        Ok((layer, mechanism.title))
    }
}
