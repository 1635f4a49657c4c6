//! `attnscope analyze`: detections, traces and pictures of photographs as files.
//!
//! Each picture gets a folder with `detections.json`, `detections.png`, one
//! `L<row>.<mechanism>.<view>.png` for each view of each attention row, and `traces.npz` with
//! every tensor as `L<row>.<sta|bra|psa|pos>.<name>`: f32 (`r_idx` and `tokens<i>`: u32), no batch axis. `H0 × W0` is
//! the row's map, `H × W` the map padded to whole cells or regions.
//!
//! Super tokens, `hh × ww` of them, `N` in all:
//!
//! | name | shape | meaning |
//! |---|---|---|
//! | `in`, `out` | `[C, H0, W0]` | input (after the norm) and output (before the residual) of the attention |
//! | `affinity_it<j>` | `[9, H, W]` | iteration `j`: weight of neighbour `3·(dy+1) + (dx+1)`; absent for cells of one pixel |
//! | `column_sum` | `[hh, ww]` | mass that each super token received in the last iteration |
//! | `lost_mass` | `[H, W]` | weight given to neighbours off the grid in the last iteration |
//! | `stoken_in`, `stoken_out` | `[C, hh, ww]` | super tokens before and after their attention |
//! | `mhsa` | `[heads, N, N]` | attention among super tokens, row = query |
//!
//! Routed regions, `S` per side with `T` tokens each, of which `k` are read:
//!
//! | name | shape | meaning |
//! |---|---|---|
//! | `in`, `out` | `[C, H0, W0]` | as above |
//! | `affinity_r` | `[S², S²]` | scaled routing logits, row = the region that reads |
//! | `r_idx`, `r_weight` | `[S², k]` | routed regions, largest logit first, and the softmax over their logits |
//! | `attn_region<r>` | `[heads, T, k·T]` | token attention of region `r`, column = place · T + token |
//!
//! Polarized weights:
//!
//! | name | shape | meaning |
//! |---|---|---|
//! | `in`, `out` | `[C, H0, W0]` | input and output |
//! | `cw`, `sw` | `[C]`, `[H0, W0]` | channel and spatial weight, 0 to 1 |
//! | `q_map` | `[H0, W0]` | where the channel branch looks, sums to 1 |
//! | `qs` | `[C/2]` | channels that the spatial branch asks, sums to 1 |
//!
//! Position-sensitive attention `i` of the row, over all `N = H0 · W0` positions:
//!
//! | name | shape | meaning |
//! |---|---|---|
//! | `in`, `out` | `[C, H0, W0]`, `[C', H0, W0]` | input and output of the whole row |
//! | `received<i>` | `[heads, H0, W0]` | weight that each position gets, mean over all queries |
//! | `tokens<i>` | `[T]` | the positions whose attention is kept, `y · W0 + x`: all, unless they exceed the memory for it |
//! | `attn<i>` | `[T, heads, N]` | what each of them reads from |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::args::AnalyzeArgs;
use super::report::Report;
use super::wanted;
use crate::attention::Watch;
use crate::attention::view::Answer;
use crate::checkpoint::{Model, Origin};
use crate::engine::{self, Engine, LayerTrace, Outcome, Settings, Wish};
use crate::files::{self, FileSet, npz};
use crate::picture::{Look, Photo};
use crate::yolo::Thresholds;
use crate::{Error, Result};

/// Pixels per point of the written pictures.
const FIGURE_SCALE: f32 = 1.5;

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
    let model = engine::attach(&model, &args.probe).map_err(Error::Setting)?;
    let settings = settings(args, &model)?;
    wanted::say_clamps(&settings, &model);
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
        Some(path) => Origin::named(path).open(device)?,
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
        probes: args.probe.clone(),
        ..Settings::default()
    };
    if let Some(head) = args.head {
        settings.head = Some(wanted::head(head.into(), model)?);
    }
    wanted::knobs(&mut settings, &args.set, model)?;
    settings.watch_all(model, &Watch::All);
    Ok(settings)
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

/// What the engine makes of a picture, and `detections.json`.
fn analyze(
    path: &Path,
    model: &Arc<Model>,
    settings: &Settings,
    device: &str,
) -> Result<(Outcome, Vec<u8>)> {
    let photo = Arc::new(Photo::open(path)?);
    let wish = Wish {
        number: 1,
        photo,
        model: model.clone(),
        settings: settings.clone(),
    };
    // Nothing is asked twice here, so nothing needs to be remembered.
    let outcome = Engine::new(0).run(&wish, &mut ())?;
    let report = Report::new(&outcome, settings, device);
    let mut json = serde_json::to_vec_pretty(&report)
        .map_err(|e| Error::path(path, e, "a result that can be written as JSON"))?;
    json.push(b'\n');
    Ok((outcome, json))
}

fn write(folder: &Path, outcome: &Outcome, report: &[u8]) -> Result<()> {
    let mut files = FileSet::new(folder.to_owned())?;
    files.write("detections.json", report)?;
    // Drawing and packing take longer than the network.
    let traces = files.path("traces.npz");
    let (written, pictures) = rayon::join(
        || write_traces(&traces, folder, outcome),
        || pictures(outcome),
    );
    written?;
    for (name, png) in pictures? {
        files.write(&name, &png)?;
    }
    files.publish().map(|_| ())
}

/// The detections and every view of every attention row, as files of their names.
fn pictures(outcome: &Outcome) -> Result<Vec<(String, Vec<u8>)>> {
    let detections = || -> Result<(String, Vec<u8>)> {
        let figure = engine::detections_figure(&outcome.scene, &outcome.detected, None);
        Ok(("detections.png".to_owned(), figure.png(FIGURE_SCALE)?))
    };
    let views = outcome.traces.iter().flat_map(|(row, layer)| {
        let views = layer.trace.views().into_iter();
        views.map(move |view| (row, layer, Answer::from(view)))
    });
    let draw = |(row, layer, answer): (&usize, &Arc<LayerTrace>, Answer)| {
        let mechanism = layer.trace.mechanism().id;
        let look = Look::default();
        let figure = engine::answer_figure(&outcome.scene, layer.as_ref(), &answer, &look);
        let name = format!("L{row}.{mechanism}.{}.png", answer.view.name);
        Ok((name, figure.png(FIGURE_SCALE)?))
    };
    let views: Vec<_> = views.collect();
    let (first, others) = rayon::join(detections, || {
        views.into_par_iter().map(draw).collect::<Result<Vec<_>>>()
    });
    let mut all = others?;
    all.push(first?);
    Ok(all)
}

/// Every trace tensor as `L<row>.<sta|bra|psa|pos>.<name>`.
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
