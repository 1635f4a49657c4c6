//! `detections.json`: what was found in a picture, and the settings that led to it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::attention::{Clamp, Knobs};
use crate::checkpoint::{Model, Origin};
use crate::engine::{self, Outcome, Settings};
use crate::picture::Photo;

/// Where a moved input size stands among the rows with moved knobs.
pub(super) const INPUT: &str = "input";

/// `detections.json`.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    picture: PictureInfo<'a>,
    model: ModelInfo<'a>,
    settings: SettingsInfo,
    detections: Vec<DetectionInfo>,
}

#[derive(Serialize)]
struct PictureInfo<'a> {
    name: &'a str,
    width: usize,
    height: usize,
    digest: String,
    notes: &'a [String],
}

#[derive(Serialize)]
pub(super) struct ModelInfo<'a> {
    pub(super) name: &'a str,
    path: Option<String>,
    digest: String,
    classes: &'a [String],
}

#[derive(Serialize)]
struct SettingsInfo {
    /// Width and height of the network input.
    imgsz: [usize; 2],
    head: &'static str,
    conf: f32,
    iou: f32,
    device: String,
    /// Knobs in use by row.
    knobs: BTreeMap<usize, Knobs>,
    /// Values that were moved into their legal range, by row.
    clamped: BTreeMap<String, Vec<Clamp>>,
    /// Values outside the range the weights were trained with.
    untrained: BTreeMap<usize, Vec<String>>,
}

#[derive(Serialize)]
struct DetectionInfo {
    class: String,
    class_id: usize,
    score: f32,
    /// `x1, y1, x2, y2` in pixels of the photograph.
    r#box: [f32; 4],
}

impl<'a> Report<'a> {
    /// The report on one outcome; `settings` are those that were asked for.
    pub(super) fn new(outcome: &'a Outcome, settings: &Settings, device: &str) -> Self {
        let scene = &outcome.scene;
        let detected = outcome.detected.list.iter().map(|d| DetectionInfo {
            class: engine::class_name(scene, d.class),
            class_id: d.class,
            score: d.score,
            r#box: d.rect,
        });
        Self {
            picture: PictureInfo::new(&scene.photo),
            model: ModelInfo::new(&scene.model),
            settings: SettingsInfo::new(outcome, settings, device),
            detections: detected.collect(),
        }
    }
}

impl<'a> PictureInfo<'a> {
    fn new(photo: &'a Photo) -> Self {
        Self {
            name: &photo.name,
            width: photo.width,
            height: photo.height,
            digest: format!("{:016x}", photo.digest),
            notes: &photo.notes,
        }
    }
}

impl<'a> ModelInfo<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        Self {
            name: &model.name,
            path: match &model.origin {
                Origin::Bundled(_) => None,
                Origin::Folder(path) => Some(path.display().to_string()),
            },
            digest: format!("{:016x}", model.digest),
            classes: &model.classes,
        }
    }
}

impl SettingsInfo {
    fn new(outcome: &Outcome, settings: &Settings, device: &str) -> Self {
        let layers = || outcome.traces.values();
        Self {
            imgsz: outcome.scene.letterbox.input,
            head: outcome.detected.head.name(),
            conf: outcome.detected.thresholds.confidence,
            iou: outcome.detected.thresholds.iou,
            device: device.to_owned(),
            knobs: layers().map(|t| (t.row, t.legal.values.clone())).collect(),
            clamped: clamps(settings, &outcome.scene.model),
            untrained: layers()
                .filter(|t| !t.badges.is_empty())
                .map(|t| (t.row, t.badges.clone()))
                .collect(),
        }
    }
}

/// Values that had to be moved: of the input size, and of knobs by row.
pub(super) fn clamps(settings: &Settings, model: &Model) -> BTreeMap<String, Vec<Clamp>> {
    let mut all = BTreeMap::new();
    if let (_, Some(clamp)) = settings.size_on(model) {
        all.insert(INPUT.to_owned(), vec![clamp]);
    }
    for (row, _) in model.network.attention() {
        let clamps = settings
            .legal(model, row)
            .map(|l| l.clamps)
            .unwrap_or_default();
        if !clamps.is_empty() {
            all.insert(row.to_string(), clamps);
        }
    }
    all
}
