//! `attnscope analyze`: detections, traces and pictures of photographs as files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::AnalyzeArgs;
use super::npz;
use crate::attention::{Clamp, Knobs, Watch};
use crate::checkpoint::{Model, Origin};
use crate::engine::{self, Engine, Outcome, Settings, Wish};
use crate::files::{self, FileSet};
use crate::picture::Photo;
use crate::yolo::Thresholds;
use crate::{Error, Result};

/// Pixels per point of the written pictures.
const FIGURE_SCALE: f32 = 1.5;
/// Where a moved input size stands among the rows with moved knobs.
const INPUT: &str = "input";

/// `detections.json`.
#[derive(Serialize)]
struct Report<'a> {
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
struct ModelInfo<'a> {
    name: &'a str,
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

/// Runs the command.
///
/// # Errors
/// The first thing that is wrong with the model or the settings; or, after all pictures were
/// tried, that some of them failed (each was named on stderr).
pub(super) fn run(args: &AnalyzeArgs) -> Result<()> {
    let open = args.device.open();
    if let Some(note) = &open.note {
        eprintln!("attnscope: {note}");
    }
    let model = Arc::new(open_model(args.model.as_deref(), &open.device)?);
    let settings = settings(args, &model)?;
    for (place, clamps) in clamps(&settings, &model) {
        for clamp in clamps {
            match place.as_str() {
                INPUT => eprintln!("attnscope: {clamp}"),
                row => eprintln!("attnscope: layer {row}: {clamp}"),
            }
        }
    }
    // Better now than after the first picture, and once rather than for each.
    files::check_folder(&args.out)?;
    let bar = progress_bar(args.images.len());
    let names = folder_names(&args.images);
    let mut failed = 0;
    for (path, name) in args.images.iter().zip(names) {
        bar.set_message(path.display().to_string());
        let done = analyze(path, &model, &settings, &open.name)
            .and_then(|(outcome, report)| write(&args.out.join(name), &outcome, &report));
        if let Err(error) = done {
            if args.images.len() == 1 {
                return Err(error);
            }
            failed += 1;
            bar.suspend(|| eprintln!("attnscope: {error}"));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    match failed {
        0 => Ok(()),
        n => Err(Error::Setting(format!(
            "{n} of {} pictures could not be analysed",
            args.images.len()
        ))),
    }
}

/// The model of `--model`, or the bundled one; says so if tensors were left over.
pub(super) fn open_model(path: Option<&Path>, device: &Device) -> Result<Model> {
    let model = match path {
        Some(path) => Model::open(path, device)?,
        None => Model::bundled(device)?,
    };
    if let Some(warning) = model.warning() {
        eprintln!("attnscope: {warning}");
    }
    Ok(model)
}

/// The settings that the arguments stand for.
fn settings(args: &AnalyzeArgs, model: &Model) -> Result<Settings> {
    let mut settings = Settings {
        size: args.imgsz,
        thresholds: Thresholds {
            confidence: args.conf,
            iou: args.iou,
        },
        ..Settings::default()
    };
    if let Some(head) = args.head.map(Into::into) {
        if !model.network.heads().contains(&head) {
            return Err(Error::Setting(format!(
                "{} has no {} head",
                model.name,
                head.name()
            )));
        }
        settings.head = Some(head);
    }
    for set in &args.set {
        let Some(legal) = settings.legal(model, set.row) else {
            let rows: Vec<String> = model
                .network
                .attention()
                .map(|(r, _)| r.to_string())
                .collect();
            return Err(Error::Setting(format!(
                "layer {} is no attention layer of {}; expected one of {}",
                set.row,
                model.name,
                rows.join(", ")
            )));
        };
        let known: Vec<&str> = legal.knobs.iter().map(|k| k.name).collect();
        if !known.contains(&set.knob.as_str()) {
            let expected = match known.is_empty() {
                true => "it has no knobs".into(),
                false => format!("expected one of {}", known.join(", ")),
            };
            return Err(Error::Setting(format!(
                "layer {} has no knob {}; {expected}",
                set.row, set.knob
            )));
        }
        let knobs = settings.knobs.entry(set.row).or_default();
        knobs.insert(set.knob.clone(), set.value);
    }
    settings.watch_all(model, &Watch::All);
    Ok(settings)
}

/// Values that had to be moved: of the input size, and of knobs by row.
fn clamps(settings: &Settings, model: &Model) -> BTreeMap<String, Vec<Clamp>> {
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

/// One folder name per picture: its stem, made unique also where letter case does not count.
fn folder_names(images: &[PathBuf]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut unique = |path: &PathBuf| {
        let stem = path
            .file_stem()
            .map_or("picture".into(), |s| s.to_string_lossy().into_owned());
        let mut name = stem.clone();
        let mut copy = 1;
        while !taken.insert(name.to_lowercase()) {
            copy += 1;
            name = format!("{stem}-{copy}");
        }
        name
    };
    images.iter().map(&mut unique).collect()
}

fn progress_bar(n: usize) -> ProgressBar {
    if n < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}");
    let bar = ProgressBar::new(n as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn analyze(
    path: &Path,
    model: &Arc<Model>,
    settings: &Settings,
    device: &str,
) -> Result<(Outcome, Vec<u8>)> {
    let photo = Arc::new(Photo::open(path)?);
    let wish = Wish {
        number: 1,
        photo: photo.clone(),
        model: model.clone(),
        settings: settings.clone(),
    };
    // Nothing is asked twice here, so nothing needs to be remembered.
    let outcome = Engine::new(0).run(&wish, &mut ())?;
    let report = Report {
        picture: PictureInfo {
            name: &photo.name,
            width: photo.width,
            height: photo.height,
            digest: format!("{:016x}", photo.digest),
            notes: &photo.notes,
        },
        model: ModelInfo {
            name: &model.name,
            path: match &model.origin {
                Origin::Bundled => None,
                Origin::Folder(path) => Some(path.display().to_string()),
            },
            digest: format!("{:016x}", model.digest),
            classes: &model.classes,
        },
        settings: SettingsInfo {
            imgsz: outcome.scene.letterbox.input,
            head: outcome.detected.head.name(),
            conf: outcome.detected.thresholds.confidence,
            iou: outcome.detected.thresholds.iou,
            device: device.to_owned(),
            knobs: outcome
                .traces
                .iter()
                .map(|(row, t)| (*row, t.legal.values.clone()))
                .collect(),
            clamped: clamps(settings, model),
            untrained: outcome
                .traces
                .iter()
                .filter(|(_, t)| !t.badges.is_empty())
                .map(|(row, t)| (*row, t.badges.clone()))
                .collect(),
        },
        detections: outcome
            .detected
            .list
            .iter()
            .map(|d| DetectionInfo {
                class: engine::class_name(&outcome.scene, d.class),
                class_id: d.class,
                score: d.score,
                r#box: d.rect,
            })
            .collect(),
    };
    let mut json = serde_json::to_vec_pretty(&report)
        .map_err(|e| Error::path(path, e, "a result that can be written as JSON"))?;
    json.push(b'\n');
    Ok((outcome, json))
}

fn write(folder: &Path, outcome: &Outcome, report: &[u8]) -> Result<()> {
    let mut files = FileSet::new(folder.to_owned())?;
    files.write("detections.json", report)?;
    write_traces(&files.path("traces.npz"), folder, outcome)?;
    let figure = engine::detections_figure(&outcome.scene, &outcome.detected);
    files.write("detections.png", &figure.png(FIGURE_SCALE)?)?;
    for (row, layer) in &outcome.traces {
        let mechanism = layer.trace.mechanism().id;
        for view in layer.trace.views() {
            let figure = engine::view_figure(&outcome.scene, layer, &view);
            let name = format!("L{row}.{mechanism}.{}.png", view.name);
            files.write(&name, &figure.png(FIGURE_SCALE)?)?;
        }
    }
    files.publish().map(|_| ())
}

/// Every trace tensor as `L<row>.<sta|bra|psa>.<name>`.
fn write_traces(path: &Path, folder: &Path, outcome: &Outcome) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (row, layer) in &outcome.traces {
        let short = layer.trace.mechanism().short;
        for t in layer.trace.tensors()? {
            tensors.push((format!("L{row}.{short}.{}", t.name), t.tensor));
        }
    }
    let target = folder.join("traces.npz");
    npz::write(path, &tensors).map_err(|e| {
        Error::path(
            &target,
            format!("it cannot be written ({e})"),
            "room on the disk",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_name_get_folders_of_their_own() {
        let paths = ["a/x.jpg", "b/x.png", "x-2.png", "X.png"].map(PathBuf::from);
        assert_eq!(folder_names(&paths), ["x", "x-2", "x-2-2", "X-3"]);
    }
}
