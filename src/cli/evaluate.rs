//! `attnscope evaluate`: mAP of a model on labelled pictures.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::analyze::open_model;
use super::args::{EvaluateArgs, HeadsArg};
use super::report::{ModelInfo, clamps};
use super::wanted;
use crate::attention::{Clamp, Knobs};
use crate::checkpoint::Model;
use crate::dataset::{DataSet, Matching};
use crate::engine::{EVALUATED, Evaluation, Examination, Settings};
use crate::measure::{ClassScore, Scores};
use crate::yolo::{Head, MAX_DETECTIONS};
use crate::{Error, Result};

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    model: ModelInfo<'a>,
    data: DataInfo,
    settings: SettingsInfo<'a>,
    heads: Vec<HeadInfo<'a>>,
    time: TimeInfo,
    notes: Vec<&'a String>,
}

#[derive(Serialize)]
struct DataInfo {
    path: String,
    format: &'static str,
    /// Pictures that were evaluated, of all.
    pictures: usize,
    of: usize,
}

#[derive(Serialize)]
struct SettingsInfo<'a> {
    /// Width and height of the network input.
    imgsz: [usize; 2],
    conf: f32,
    iou: f32,
    max_detections: usize,
    device: &'a str,
    /// Knobs in use by row.
    knobs: BTreeMap<usize, Knobs>,
    /// Values that were moved into their legal range, by row.
    clamped: BTreeMap<String, Vec<Clamp>>,
    /// Values outside the range the weights were trained with.
    untrained: BTreeMap<usize, Vec<String>>,
}

#[derive(Serialize)]
struct HeadInfo<'a> {
    head: Head,
    map50: Option<f64>,
    map50_95: Option<f64>,
    classes: Vec<ClassInfo<'a>>,
}

#[derive(Serialize)]
struct ClassInfo<'a> {
    class: &'a str,
    class_id: usize,
    /// Pictures that label it.
    pictures: usize,
    boxes: usize,
    ap50: Option<f64>,
    ap50_95: Option<f64>,
}

#[derive(Serialize)]
struct TimeInfo {
    seconds: f64,
    pictures_per_second: f64,
    /// From the opened picture to its detections, the median.
    ms_per_picture: f64,
}

/// Runs the command.
///
/// # Errors
/// The first thing that is wrong with the model, the settings, the labels or a picture.
pub(super) fn run(args: &EvaluateArgs) -> Result<()> {
    let mut data = DataSet::open(&args.data)?;
    let open = args.device.open();
    if let Some(note) = &open.note {
        eprintln!("attnscope: {note}");
    }
    let model = Arc::new(open_model(args.model.as_deref(), &open.device)?);
    let mut settings = Settings {
        size: args.imgsz,
        ..Settings::default()
    };
    wanted::knobs(&mut settings, &args.set, &model)?;
    let heads = heads(args.head, &settings, &model)?;
    let classes = Matching::new(&data, &model.classes, &model.name)?;
    wanted::say_clamps(&settings, &model);
    let of = data.pictures.len();
    data.pictures
        .truncate(args.limit.map_or(of, |n| n as usize));
    something_to_find(&data, &classes, &model)?;

    let bar = progress_bar(data.pictures.len());
    let examination = Examination {
        model: &model,
        settings: &settings,
        heads: &heads,
        data: &data,
        classes: &classes,
    };
    let evaluation = examination.run(&mut |done| {
        bar.set_position(done as u64);
        true
    });
    bar.finish_and_clear();
    let evaluation = evaluation?;

    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        model: ModelInfo::new(&model),
        data: DataInfo {
            path: data.place.display().to_string(),
            format: data.format.name(),
            pictures: data.pictures.len(),
            of,
        },
        settings: SettingsInfo::new(&settings, &model, &open.name),
        heads: evaluation
            .heads
            .iter()
            .map(|h| head_info(h, &model))
            .collect(),
        time: TimeInfo::new(&evaluation),
        notes: data.notes.iter().chain(&classes.notes).collect(),
    };
    // In one piece, so that whoever stops it early has all of it or nothing.
    let mut text = Vec::new();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut text, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(text))
    } else {
        print(&mut text, &report)
    };
    match written.and_then(|()| std::io::stdout().lock().write_all(&text)) {
        // A reader that has seen enough, such as `head`, is no error.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::Setting(format!(
            "the result cannot be printed ({e})"
        ))),
        Ok(()) => Ok(()),
    }
}

/// The heads to read.
fn heads(asked: Option<HeadsArg>, settings: &Settings, model: &Model) -> Result<Vec<Head>> {
    match asked {
        None => Ok(vec![settings.head_on(model)]),
        Some(HeadsArg::One(one)) => Ok(vec![wanted::head(one.into(), model)?]),
        Some(HeadsArg::Both) => {
            let both = [Head::OneToOne, Head::OneToMany].into_iter();
            both.map(|head| wanted::head(head, model)).collect()
        }
    }
}

/// Refuses what could only end without a number.
fn something_to_find(data: &DataSet, classes: &Matching, model: &Model) -> Result<()> {
    let counts = data.pictures.iter().any(|picture| {
        let labelled = classes.labelled(picture);
        let mut boxes = picture.annotations.iter().filter(|a| !a.crowd);
        boxes.any(|a| {
            let class = classes.of_model(a.class);
            class.and_then(|c| labelled.get(c)).is_some_and(|l| *l)
        })
    });
    match counts {
        true => Ok(()),
        false => Err(Error::path(
            &data.place,
            format!("its {} pictures have no box to find", data.pictures.len()),
            format!("boxes of classes that {} knows", model.name),
        )),
    }
}

fn progress_bar(pictures: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} pictures, {per_sec}, {eta}");
    let bar = ProgressBar::new(pictures as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl<'a> SettingsInfo<'a> {
    fn new(settings: &Settings, model: &Model, device: &'a str) -> Self {
        let (side, _) = settings.size_on(model);
        let rows = model.network.attention();
        let legal = rows.filter_map(|(row, _)| Some((row, settings.legal(model, row)?.values)));
        let knobs: BTreeMap<usize, Knobs> = legal.collect();
        let untrained = knobs.iter().map(|(row, k)| (*row, model.card.untrained(k)));
        Self {
            imgsz: [side, side],
            conf: EVALUATED.confidence,
            iou: EVALUATED.iou,
            max_detections: MAX_DETECTIONS,
            device,
            clamped: clamps(settings, model),
            untrained: untrained.filter(|(_, list)| !list.is_empty()).collect(),
            knobs,
        }
    }
}

fn head_info<'a>((head, scores): &(Head, Scores), model: &'a Model) -> HeadInfo<'a> {
    let class = |(id, score): (usize, &ClassScore)| ClassInfo {
        class: model.classes.get(id).map_or("", String::as_str),
        class_id: id,
        pictures: score.pictures,
        boxes: score.boxes,
        ap50: score.ap50(),
        ap50_95: score.ap50_95(),
    };
    HeadInfo {
        head: *head,
        map50: scores.map50(),
        map50_95: scores.map50_95(),
        classes: scores.classes.iter().enumerate().map(class).collect(),
    }
}

impl TimeInfo {
    fn new(evaluation: &Evaluation) -> Self {
        let mut each = evaluation.each.clone();
        each.sort();
        let median = each.get(each.len() / 2).copied().unwrap_or_default();
        let seconds = evaluation.took.as_secs_f64();
        Self {
            seconds,
            pictures_per_second: each.len() as f64
                / seconds.max(Duration::from_micros(1).as_secs_f64()),
            ms_per_picture: median.as_secs_f64() * 1e3,
        }
    }
}

fn print(out: &mut impl Write, r: &Report<'_>) -> std::io::Result<()> {
    let s = &r.settings;
    let [w, h] = s.imgsz;
    writeln!(out, "{} at {w}x{h} on {}", r.model.name, s.device)?;
    let part = match r.data.of == r.data.pictures {
        true => String::new(),
        false => format!("the first {} of ", r.data.pictures),
    };
    let (path, format) = (&r.data.path, r.data.format);
    writeln!(out, "{path} ({format}), {part}{} pictures", r.data.of)?;
    for (row, knobs) in s.knobs.iter().filter(|(_, knobs)| !knobs.is_empty()) {
        let knobs: Vec<String> = knobs.iter().map(|(k, v)| format!("{k} {v}")).collect();
        writeln!(out, "layer {row}: {}", knobs.join(", "))?;
    }
    for (row, note) in s
        .untrained
        .iter()
        .flat_map(|(r, l)| l.iter().map(move |n| (r, n)))
    {
        writeln!(out, "note: layer {row}: {note}")?;
    }
    for note in &r.notes {
        writeln!(out, "note: {note}")?;
    }
    for head in &r.heads {
        print_head(out, head, s)?;
    }
    writeln!(
        out,
        "\n{} pictures in {:.1} s, {:.1} a second; picture to detections {:.1} ms (median)",
        r.data.pictures, r.time.seconds, r.time.pictures_per_second, r.time.ms_per_picture
    )
}

fn print_head(
    out: &mut impl Write,
    head: &HeadInfo<'_>,
    s: &SettingsInfo<'_>,
) -> std::io::Result<()> {
    let rule = match head.head {
        Head::OneToMany => format!("suppression above overlap {}", s.iou),
        Head::OneToOne => "no suppression".into(),
    };
    writeln!(
        out,
        "\n{} head, {rule}; scores above {}, at most {} boxes a picture\n",
        head.head.name(),
        s.conf,
        s.max_detections
    )?;
    let names = head.classes.iter().map(|c| c.class.chars().count());
    let wide = names.max().unwrap_or(0).max("mAP".len());
    let cell = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.3}"));
    writeln!(
        out,
        "{:<wide$}  {:>8} {:>8} {:>8} {:>8}",
        "class", "pictures", "boxes", "AP50", "AP50-95"
    )?;
    for c in &head.classes {
        let (ap50, ap50_95) = (cell(c.ap50), cell(c.ap50_95));
        writeln!(
            out,
            "{:<wide$}  {:>8} {:>8} {ap50:>8} {ap50_95:>8}",
            c.class, c.pictures, c.boxes
        )?;
    }
    let boxes: usize = head.classes.iter().map(|c| c.boxes).sum();
    let (map50, map50_95) = (cell(head.map50), cell(head.map50_95));
    writeln!(
        out,
        "{:<wide$}  {:>8} {boxes:>8} {map50:>8} {map50_95:>8}",
        "mAP", ""
    )
}
