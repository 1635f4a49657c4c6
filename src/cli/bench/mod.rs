//! `attnscope bench`: how long things take on this machine.

mod knobs;
mod measure;
mod process;
mod rows;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub use measure::{Group, Plan, measure, network_output};
pub use process::{Program, load, processor};
pub use rows::{LayerTime, Row, Rows, Unit, spread};

use super::analyze::open_model;
use crate::engine::DeviceChoice;
use crate::files::npz;
use crate::picture::samples::SAMPLES;
use crate::{Error, Result};

/// Layers that are named in words; all of them are in the JSON.
const SLOWEST: usize = 5;

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A model folder (model.yaml, weights.safetensors, card.json) instead of the bundled model.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Side of the square network input in pixels; without it, the model's best.
    #[arg(long, value_parser = super::args::side, value_name = "N")]
    pub imgsz: Option<usize>,
    /// Threads of the CPU; without it, all of them.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub threads: Option<u16>,
    /// Where the network runs.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|metal")]
    pub device: DeviceChoice,
    /// Rounds that count; one more comes before them.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    pub runs: u16,
    /// Measure only these rows.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROWS")]
    pub only: Vec<Group>,
    /// Also write what the network is given and what it puts out (input, boxes, scores) as NPZ.
    #[arg(long, value_name = "FILE")]
    pub raw: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    processor: Option<String>,
    device: &'a str,
    threads: usize,
    /// Processes that wanted to run during the minute before, on average.
    load: Option<f64>,
    model: &'a str,
    digest: String,
    parameters: usize,
    picture: &'static str,
    imgsz: usize,
    head: &'static str,
    rows: Vec<RowInfo<'a>>,
    layers: Vec<LayerInfo<'a>>,
}

#[derive(Serialize)]
struct RowInfo<'a> {
    key: &'a str,
    what: &'a str,
    unit: Unit,
    goal: Option<f64>,
    median: f64,
    min: f64,
    max: f64,
    n: usize,
    values: &'a [f64],
}

#[derive(Serialize)]
struct LayerInfo<'a> {
    row: usize,
    module: &'a str,
    median_ms: f64,
}

/// Runs the command.
///
/// # Errors
/// What is wrong with the model, or that a program cannot be started or a file not written.
pub(super) fn run(args: &BenchArgs) -> Result<()> {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
        let failed = |e| Error::Setting(format!("{threads} threads cannot be started ({e})"));
        pool.build_global().map_err(failed)?;
    }
    let load = load();
    let open = args.device.open();
    if let Some(note) = &open.note {
        eprintln!("attnscope: {note}");
    }
    let plan = plan(args, &open.device)?;
    if let Some(path) = &args.raw {
        write_raw(path, &plan)?;
    }
    let bar = progress_bar(plan.runs + 1);
    let rows = measure(&plan, &mut |round| {
        bar.set_position(round as u64);
        true
    });
    bar.finish_and_clear();
    let rows = rows?;
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        processor: processor(),
        device: &open.name,
        threads: rayon::current_num_threads(),
        load,
        model: &plan.model.name,
        digest: format!("{:016x}", plan.model.digest),
        parameters: plan.model.report.parameters,
        picture: SAMPLES[0].file,
        imgsz: plan.side(),
        head: plan.head().name(),
        rows: rows.rows.iter().filter_map(row_info).collect(),
        layers: rows.layers.iter().filter_map(layer_info).collect(),
    };
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&mut out, &report)
    };
    match written {
        // A reader that has seen enough, such as `head`, is no error.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::Setting(format!(
            "the result cannot be printed ({e})"
        ))),
        Ok(()) => Ok(()),
    }
}

fn plan(args: &BenchArgs, device: &Device) -> Result<Plan> {
    let sample = &SAMPLES[0];
    let groups: BTreeSet<Group> = match args.only.is_empty() {
        true => clap::ValueEnum::value_variants().iter().copied().collect(),
        false => args.only.iter().copied().collect(),
    };
    let program = match groups.contains(&Group::Start) || groups.contains(&Group::Memory) {
        true => Some(program(args, sample.bytes)?),
        false => None,
    };
    Ok(Plan {
        model: Arc::new(open_model(args.model.as_deref(), device)?),
        photo: Arc::new(sample.open()?),
        size: args.imgsz,
        runs: usize::from(args.runs),
        groups,
        program,
    })
}

/// This program again, with the same model, size and device.
fn program(args: &BenchArgs, picture: &[u8]) -> Result<Program> {
    let path = std::env::current_exe()
        .map_err(|e| Error::Setting(format!("this program cannot be found ({e})")))?;
    let mut more = vec!["--device".into(), args.device.name().into()];
    if let Some(model) = &args.model {
        more.extend(["--model".into(), model.into()]);
    }
    if let Some(size) = args.imgsz {
        more.extend(["--imgsz".into(), size.to_string().into()]);
    }
    Program::new(path, more, picture, rayon::current_num_threads())
}

/// `input` [1, 3, H, W], `boxes` [4 · reg_max, A] and `scores` [classes, A].
fn write_raw(path: &Path, plan: &Plan) -> Result<()> {
    let (input, raw) = network_output(plan)?;
    let anchors = raw.anchors();
    let matrix =
        |values: &[f32], rows: usize| Tensor::from_slice(values, (rows, anchors), &Device::Cpu);
    let tensors = [
        ("input", input),
        ("boxes", matrix(&raw.boxes, 4 * raw.reg_max)?),
        ("scores", matrix(&raw.scores, raw.classes)?),
    ];
    let failed =
        |e: std::io::Error| Error::path(path, format!("it cannot be written ({e})"), "a new file");
    npz::write(path, &tensors).map_err(failed)
}

fn row_info(row: &Row) -> Option<RowInfo<'_>> {
    let [median, min, max] = spread(&row.values)?;
    Some(RowInfo {
        key: &row.key,
        what: &row.what,
        unit: row.unit,
        goal: row.goal,
        median,
        min,
        max,
        n: row.values.len(),
        values: &row.values,
    })
}

fn layer_info(layer: &LayerTime) -> Option<LayerInfo<'_>> {
    let [median_ms, ..] = spread(&layer.values)?;
    Some(LayerInfo {
        row: layer.row,
        module: &layer.module,
        median_ms,
    })
}

fn progress_bar(rounds: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} round {pos} of {len} {eta}");
    let bar = ProgressBar::new(rounds as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(out: &mut impl Write, r: &Report<'_>) -> std::io::Result<()> {
    let processor = r.processor.as_deref().unwrap_or("processor not known");
    let load = r.load.map_or("not known".into(), |l| format!("{l:.2}"));
    let runs = r.rows.first().map_or(0, |row| row.n);
    writeln!(
        out,
        "attnscope {} on {processor}, {}; load before {load}",
        r.version, r.device
    )?;
    writeln!(
        out,
        "{} at {}x{}, {} head, picture {}; median, smallest and largest of {runs}\n",
        r.model, r.imgsz, r.imgsz, r.head, r.picture
    )?;
    let wide = r.rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
    let head = ["median", "min", "max", "goal"].map(|h| format!("{h:>9}"));
    writeln!(out, "{:<wide$}{}", "row", head.join(" "))?;
    for row in &r.rows {
        let unit = match row.unit {
            Unit::Milliseconds => "ms",
            Unit::Megabytes => "MB",
            Unit::Ratio => "×",
        };
        let cell = |v: f64| format!("{:>9}", format!("{} {unit}", short(v)));
        let goal = row.goal.map_or(format!("{:>9}", ""), cell);
        let cells = [row.median, row.min, row.max].map(cell).join(" ");
        writeln!(out, "{:<wide$}{cells} {goal}  {}", row.key, row.what)?;
    }
    let mut slowest: Vec<_> = r.layers.iter().collect();
    slowest.sort_by(|a, b| b.median_ms.total_cmp(&a.median_ms));
    slowest.truncate(SLOWEST);
    let named = |l: &&LayerInfo<'_>| format!("{} {} {} ms", l.row, l.module, short(l.median_ms));
    let named: Vec<String> = slowest.iter().map(named).collect();
    if !named.is_empty() {
        writeln!(out, "\nslowest layers: {}", named.join(", "))?;
    }
    writeln!(
        out,
        "goals are those of the bundled model on two threads (memory at 640)"
    )
}

/// Three significant digits for small values.
fn short(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}
