//! How long it takes until something is seen: whole runs, runs after one slider moved, the first
//! picture, and the memory of it all. Run with `cargo bench --bench live`; `-- --rows` adds the
//! time of every row, `-- --runs 21` measures more often.
//!
//! Ratios are taken within one round (whole run, changed run, back), so that a machine that is
//! busy with other things moves both sides. Each time is the median, with the smallest and the
//! largest in brackets.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attnscope::attention::{KnobValue, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{
    DeviceChoice, Engine, LayerTrace, Listener, Outcome, Scene, Settings, Wish,
};
use attnscope::picture::Photo;
use candle_core::Device;

const PICTURE: &str = "assets/samples/chelsea.png";
const SIZES: [usize; 2] = [384, 640];

/// Where each slider is moved to from the model's own value: one step or two.
const MOVES: &[(&str, KnobValue)] = &[
    ("stoken_size", KnobValue::Pair([6, 6])),
    ("n_iter", KnobValue::Int(2)),
    ("n_win", KnobValue::Int(7)),
    ("topk", KnobValue::Int(6)),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --all-targets` runs benches too, without this word.
    if !args.iter().any(|a| a == "--bench") {
        return;
    }
    // As the program does at its start: without it, allocation is a large part of every time.
    attnscope::kernels::keep_memory();
    let after = |name: &str| args.iter().skip_while(|a| *a != name).nth(1);
    let runs = after("--runs").and_then(|n| n.parse().ok()).unwrap_or(9);
    if let Err(error) = report(runs, args.iter().any(|a| a == "--rows")) {
        eprintln!("live: {error}");
        std::process::exit(1);
    }
}

fn report(runs: usize, rows: bool) -> attnscope::Result<()> {
    let bench = Bench::new(runs)?;
    println!("{}\n", machine());
    println!(
        "Model {}, picture {PICTURE}, {runs} rounds: median (smallest to largest)\n",
        bench.model.name
    );
    println!("| whole run | time | to without traces |\n|---|---|---|");
    for size in SIZES {
        bench.whole(size)?;
    }
    println!(
        "\n| slider | input | to the new trace | of a whole run | to new detections | of a whole run | back again |"
    );
    println!("|---|---|---|---|---|---|---|");
    for size in SIZES {
        bench.sliders(size)?;
    }
    println!("\n| start | time |\n|---|---|");
    bench.start()?;
    if rows {
        for size in SIZES {
            bench.rows(size)?;
        }
    }
    Ok(())
}

struct Bench {
    runs: usize,
    model: Arc<Model>,
    photo: Arc<Photo>,
}

impl Bench {
    fn new(runs: usize) -> attnscope::Result<Self> {
        Ok(Self {
            runs: runs.max(1),
            model: Arc::new(Model::bundled(&Device::Cpu)?),
            photo: Arc::new(Photo::open(Path::new(PICTURE))?),
        })
    }

    fn settings(&self, size: usize, watch: &Watch) -> Settings {
        let mut settings = Settings {
            size: Some(size),
            ..Settings::default()
        };
        settings.watch_all(&self.model, watch);
        settings
    }

    fn wish(&self, settings: &Settings) -> Wish {
        Wish {
            number: 1,
            photo: self.photo.clone(),
            model: self.model.clone(),
            settings: settings.clone(),
        }
    }

    /// From photograph to detections with an engine that remembers nothing.
    fn afresh(&self, size: usize, watch: &Watch) -> attnscope::Result<(Duration, Outcome)> {
        let wish = self.wish(&self.settings(size, watch));
        let began = Instant::now();
        let outcome = Engine::new(0).run(&wish, &mut ())?;
        Ok((began.elapsed(), outcome))
    }

    fn whole(&self, size: usize) -> attnscope::Result<()> {
        let kinds = [
            ("without traces", Watch::Off),
            (
                "with traces as the window asks for them",
                Watch::Focus(vec![0]),
            ),
            ("with all traces", Watch::All),
        ];
        let mut times = [const { Vec::new() }; 3];
        for round in 0..=self.runs {
            for ((_, watch), times) in kinds.iter().zip(&mut times) {
                let (time, _) = self.afresh(size, watch)?;
                // The first round warms caches and threads.
                if round > 0 {
                    times.push(ms(time));
                }
            }
        }
        for ((name, _), list) in kinds.iter().zip(&times) {
            let ratio = spread(&ratios(list, &times[0]), "");
            println!("| {size}², {name} | {} | {ratio} |", spread(list, " ms"));
        }
        Ok(())
    }

    /// The first and the last attention row with knobs, each of their sliders moved once.
    fn sliders(&self, size: usize) -> attnscope::Result<()> {
        let settings = self.settings(size, &Watch::Off);
        let knobs = |row: usize| settings.legal(&self.model, row).unwrap_or_default().knobs;
        let rows = self.model.network.attention().map(|(row, _)| row);
        let rows: Vec<usize> = rows.filter(|row| !knobs(*row).is_empty()).collect();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(());
        };
        let mut ends = vec![*first, *last];
        ends.dedup();
        for row in ends {
            for knob in knobs(row) {
                if let Some((_, value)) = MOVES.iter().find(|(name, _)| *name == knob.name) {
                    self.slider(size, row, knob.name, knob.default, *value)?;
                }
            }
        }
        Ok(())
    }

    fn slider(
        &self,
        size: usize,
        row: usize,
        knob: &str,
        from: KnobValue,
        to: KnobValue,
    ) -> attnscope::Result<()> {
        let before = self.settings(size, &Watch::Focus(vec![0]));
        let mut after = before.clone();
        after
            .knobs
            .entry(row)
            .or_default()
            .insert(knob.to_owned(), to);
        let [mut whole, mut trace, mut found, mut back] = [const { Vec::new() }; 4];
        for round in 0..=self.runs {
            let (plain, _) = self.afresh(size, &Watch::Off)?;
            let mut engine = Engine::default();
            engine.run(&self.wish(&before), &mut ())?;
            let mut first_trace = FirstTrace { row, at: None };
            let began = Instant::now();
            engine.run(&self.wish(&after), &mut first_trace)?;
            let changed = began.elapsed();
            let again = Instant::now();
            engine.run(&self.wish(&before), &mut ())?;
            if round > 0 {
                whole.push(ms(plain));
                let seen = first_trace.at.map_or(changed, |at| at - began);
                trace.push(ms(seen));
                found.push(ms(changed));
                back.push(ms(again.elapsed()));
            }
        }
        let of_whole = |times: &[f64]| median(&ratios(times, &whole));
        println!(
            "| row {row} {knob} {from} → {to} | {size}² | {} | {} | {} | {} | {} |",
            spread(&trace, " ms"),
            of_whole(&trace),
            spread(&found, " ms"),
            of_whole(&found),
            spread(&back, " ms"),
        );
        Ok(())
    }

    fn start(&self) -> attnscope::Result<()> {
        let mut times = Vec::new();
        for _ in 0..self.runs {
            let began = Instant::now();
            let bytes = read(PICTURE)?;
            let wish = Wish {
                number: 1,
                photo: Arc::new(Photo::decode("cat", None, &bytes)?),
                model: Arc::new(Model::bundled(&Device::Cpu)?),
                settings: Settings::default(),
            };
            Engine::default().run(&wish, &mut ())?;
            times.push(ms(began.elapsed()));
        }
        let size = self.model.best_size();
        println!(
            "| engine start to first detections at {size}², in this process | {} |",
            spread(&times, " ms")
        );
        for (size, runs) in [(size, self.runs), (640, 3)] {
            let mut times = Vec::new();
            let mut peaks = Vec::new();
            for _ in 0..runs {
                let (time, peak) = process(size)?;
                times.push(ms(time));
                peaks.extend(peak);
            }
            let what = format!("`attnscope analyze` at {size}² with all traces and pictures");
            println!("| {what}, whole process | {} |", spread(&times, " ms"));
            let peak = if peaks.len() < runs {
                "not measured".into()
            } else {
                spread(&peaks, " MB")
            };
            println!("| {what}, peak memory | {peak} |");
        }
        Ok(())
    }

    /// Time of each row, without traces and with all of them.
    fn rows(&self, size: usize) -> attnscope::Result<()> {
        println!(
            "\n| row at {size}² | module | without traces | with all traces |\n|---|---|---|---|"
        );
        let layers = self.model.network.layers();
        let mut times = vec![[const { Vec::new() }; 2]; layers.len()];
        for round in 0..=self.runs {
            for (kind, watch) in [Watch::Off, Watch::All].iter().enumerate() {
                let (_, outcome) = self.afresh(size, watch)?;
                for (row, time) in &outcome.timing.by_row {
                    if round > 0
                        && let Some(times) = times.get_mut(*row)
                    {
                        times[kind].push(ms(*time));
                    }
                }
            }
        }
        for (row, (layer, [plain, traced])) in layers.iter().zip(times).enumerate() {
            let (plain, traced) = (spread(&plain, " ms"), spread(&traced, " ms"));
            println!("| {row} | {} | {plain} | {traced} |", layer.name);
        }
        Ok(())
    }
}

/// Notes when the trace of one row arrives.
struct FirstTrace {
    row: usize,
    at: Option<Instant>,
}

impl Listener for FirstTrace {
    fn layer(&mut self, _: usize, _: usize, _: &str) -> bool {
        true
    }

    fn trace(&mut self, _: &Arc<Scene>, trace: &Arc<LayerTrace>) {
        if trace.row == self.row {
            self.at.get_or_insert_with(Instant::now);
        }
    }
}

/// Runs `attnscope analyze` on the picture; its time and its peak memory in megabytes.
fn process(size: usize) -> attnscope::Result<(Duration, Option<f64>)> {
    let failed =
        |e: std::io::Error| attnscope::Error::Setting(format!("attnscope cannot be run ({e})"));
    let out = tempfile::tempdir().map_err(failed)?;
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_attnscope"))
        .args(["analyze", PICTURE, "--imgsz", &size.to_string(), "--out"])
        .arg(out.path())
        .stdin(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut peak = None;
    loop {
        // The high-water mark only grows: the last one that is seen counts.
        peak = high_water(child.id()).or(peak);
        if let Some(status) = child.try_wait().map_err(failed)? {
            let time = began.elapsed();
            return match status.success() {
                true => Ok((time, peak)),
                false => Err(attnscope::Error::Setting(format!(
                    "attnscope ended with {status}"
                ))),
            };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Peak resident memory of a process in megabytes; Linux only.
fn high_water(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// Processor, threads and build in words.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or("processor not known", |(_, name)| name.trim());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let device = DeviceChoice::Cpu.open().name;
    format!("{name}; {device}; load average {load} at the start")
}

fn read(path: &str) -> attnscope::Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| attnscope::Error::file(path, e, "the sample picture"))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn ratios(times: &[f64], to: &[f64]) -> Vec<f64> {
    times.iter().zip(to).map(|(a, b)| a / b).collect()
}

/// Two decimals below ten, one below a hundred.
fn short(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn median(values: &[f64]) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len() / 2)
        .map_or("–".into(), |v| short(*v))
}

/// Median and extremes.
fn spread(values: &[f64], unit: &str) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    format!(
        "{}{unit} ({} to {})",
        median(values),
        short(low),
        short(high)
    )
}
