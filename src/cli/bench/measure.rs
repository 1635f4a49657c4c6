//! The measuring itself: round after round, so that a machine that is busy with other things
//! slows every row alike and ratios are taken between neighbours.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Tensor;
use clap::ValueEnum;

use super::process::Program;
use super::rows::{Rows, Unit};
use crate::attention::Watch;
use crate::checkpoint::Model;
use crate::engine::{self, Engine, Scene, Settings, Wish};
use crate::kernels;
use crate::picture::{Letterbox, Photo};
use crate::yolo::{Head, Map, Output, RawHead};
use crate::{Error, Result};

/// Rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Group {
    /// The network alone, as other programs measure it.
    Network,
    /// From photograph to detections.
    Whole,
    /// Every knob turned one step, and turned back.
    Knobs,
    /// A whole `attnscope analyze`, from its start to its end.
    Start,
    /// The peak memory of a whole `attnscope analyze`.
    Memory,
}

/// How long the network runs uncounted where the threads have rested.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is measured, and how often.
pub struct Plan {
    /// The model.
    pub model: Arc<Model>,
    /// The photograph.
    pub photo: Arc<Photo>,
    /// Side of the network input; `None` is the model's best.
    pub size: Option<usize>,
    /// Rounds that count, after one that does not.
    pub runs: usize,
    /// Which rows.
    pub groups: BTreeSet<Group>,
    /// The program for the rows that need one; without it they are left out.
    pub program: Option<Program>,
}

/// Measures all rows. `progress` is told of every round and stops the measuring with `false`.
///
/// # Errors
/// [`Error::Cancelled`] if `progress` stopped it; otherwise what the engine or the system says.
pub fn measure(plan: &Plan, progress: &mut dyn FnMut(usize) -> bool) -> Result<Rows> {
    let mut rows = Rows::default();
    let processes = [Group::Start, Group::Memory];
    let pauses = processes.iter().any(|g| plan.groups.contains(g));
    for round in 0..=plan.runs {
        if !progress(round) {
            return Err(Error::Cancelled);
        }
        if round == 0 || pauses {
            plan.warm_up()?;
        }
        plan.round(&mut rows)?;
        if round == 0 {
            // The first round warms caches, threads and the allocator.
            rows = Rows::default();
        }
    }
    Ok(rows)
}

/// The photograph as the network sees it, and what the network made of it.
///
/// # Errors
/// What the engine says.
pub fn network_output(plan: &Plan) -> Result<(Tensor, Arc<RawHead>)> {
    let input = engine::network_input(&plan.scene())?;
    let (raw, _) = plan.network(&input)?;
    Ok((input, raw))
}

impl Plan {
    /// The side of the network input in use.
    pub fn side(&self) -> usize {
        self.settings(&Watch::Off).size_on(&self.model).0
    }

    /// The head in use.
    pub fn head(&self) -> Head {
        self.settings(&Watch::Off).head_on(&self.model)
    }

    pub(super) fn settings(&self, watch: &Watch) -> Settings {
        let mut settings = Settings {
            size: self.size,
            ..Settings::default()
        };
        settings.watch_all(&self.model, watch);
        settings
    }

    pub(super) fn wish(&self, settings: &Settings) -> Wish {
        Wish {
            number: 1,
            photo: self.photo.clone(),
            model: self.model.clone(),
            settings: settings.clone(),
        }
    }

    fn scene(&self) -> Scene {
        let side = self.side();
        let photo = [self.photo.width, self.photo.height];
        Scene {
            photo: self.photo.clone(),
            model: self.model.clone(),
            letterbox: Letterbox::new(photo, [side, side]),
        }
    }

    fn round(&self, rows: &mut Rows) -> Result<()> {
        let wanted = |group| self.groups.contains(&group);
        if wanted(Group::Network) {
            self.network_row(rows)?;
        }
        let mut plain = None;
        if wanted(Group::Whole) || wanted(Group::Knobs) {
            plain = Some(self.whole_row(rows, "whole.plain", WHOLE, &Watch::Off)?);
        }
        if let Some(plain) = plain {
            if wanted(Group::Whole) {
                let focus = Watch::Focus(vec![0]);
                self.whole_row(rows, "whole.focus", WHOLE_FOCUS, &focus)?;
                let traced = self.whole_row(rows, "whole.traced", WHOLE_TRACED, &Watch::All)?;
                let ratio = traced / plain;
                rows.add(
                    "whole.traced_ratio",
                    TRACED_RATIO,
                    Unit::Ratio,
                    Some(1.15),
                    ratio,
                );
            }
            if wanted(Group::Knobs) {
                super::knobs::measure(self, rows, plain)?;
            }
        }
        if let Some(program) = &self.program {
            if wanted(Group::Start) {
                let first = self.first_run(program)?;
                rows.add("start.engine", FIRST, Unit::Milliseconds, None, first);
                let time = ms(program.time()?);
                let goal = Some(1000.0);
                rows.add("start.analyze", START, Unit::Milliseconds, goal, time);
            }
            if wanted(Group::Memory)
                && let Some(peak) = program.peak_memory()?
            {
                rows.add("memory.analyze", MEMORY, Unit::Megabytes, Some(400.0), peak);
            }
        }
        Ok(())
    }

    /// Opens the model and the picture anew and runs once; the time in milliseconds.
    fn first_run(&self, program: &Program) -> Result<f64> {
        let began = Instant::now();
        let device = &self.model.device;
        let model = self.model.origin.open(device)?;
        let wish = Wish {
            number: 1,
            photo: Arc::new(Photo::open(&program.picture())?),
            model: Arc::new(model),
            settings: self.settings(&Watch::All),
        };
        Engine::new(0).run(&wish, &mut ())?;
        Ok(ms(began.elapsed()))
    }

    /// Runs that do not count. After a pause, or after other processes, the threads may share a processor until the
    /// system moves one, and the first runs take twice as long.
    fn warm_up(&self) -> Result<()> {
        let input = engine::network_input(&self.scene())?;
        let began = Instant::now();
        while began.elapsed() < WARM_UP {
            kernels::in_pool(|| self.network(&input))?;
        }
        Ok(())
    }

    fn network_row(&self, rows: &mut Rows) -> Result<()> {
        let input = engine::network_input(&self.scene())?;
        let began = Instant::now();
        let (_, times) = kernels::in_pool(|| self.network(&input))?;
        let time = ms(began.elapsed());
        rows.add("network", NETWORK, Unit::Milliseconds, None, time);
        for ((row, layer), time) in self.model.network.layers().iter().enumerate().zip(times) {
            rows.add_layer(row, &layer.name, ms(time));
        }
        Ok(())
    }

    /// Every layer in turn; maps are let go when nobody needs them any more, as the engine does.
    fn network(&self, input: &Tensor) -> Result<(Arc<RawHead>, Vec<Duration>)> {
        let settings = self.settings(&Watch::Off);
        let layers = self.model.network.layers();
        let mut last_reader = vec![0; layers.len()];
        for (row, layer) in layers.iter().enumerate() {
            for from in layer.from.iter().flatten() {
                last_reader[*from] = row;
            }
        }
        let mut maps: Vec<Option<Map>> = vec![None; layers.len()];
        let mut times = Vec::with_capacity(layers.len());
        for (row, layer) in layers.iter().enumerate() {
            let began = Instant::now();
            let source = |from: &Option<usize>| match from {
                None => Some(input.clone().into()),
                Some(i) => maps[*i].clone(),
            };
            let sources: Vec<Map> = layer.from.iter().filter_map(source).collect();
            let legal = settings.legal(&self.model, row);
            let knobs = legal.map(|l| l.values).unwrap_or_default();
            let (output, _) = layer.run(&sources, &knobs, &Watch::Off, self.head())?;
            drop(sources);
            for (map, last) in maps.iter_mut().zip(&last_reader) {
                if *last <= row {
                    *map = None;
                }
            }
            times.push(began.elapsed());
            match output {
                Output::Map(map) => maps[row] = Some(map),
                Output::Raw(raw) => return Ok((raw, times)),
            }
        }
        Err(candle_core::Error::Msg("the network gave no boxes".into()).into())
    }

    /// One run of an engine that remembers nothing; its time in milliseconds.
    fn whole_row(&self, rows: &mut Rows, key: &str, what: &str, watch: &Watch) -> Result<f64> {
        let wish = self.wish(&self.settings(watch));
        let began = Instant::now();
        Engine::new(0).run(&wish, &mut ())?;
        let time = ms(began.elapsed());
        rows.add(key, what, Unit::Milliseconds, None, time);
        Ok(time)
    }
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const NETWORK: &str = "network alone: from the input tensor to raw boxes and scores";
const WHOLE: &str = "whole run without traces: letterbox, network, decoding and selection of boxes";
const WHOLE_FOCUS: &str = "whole run with the traces that the window asks for";
const WHOLE_TRACED: &str = "whole run with all traces";
const TRACED_RATIO: &str = "all traces to no traces";
const FIRST: &str = "model and picture opened, and a whole run with all traces, in this process";
const START: &str = "`attnscope analyze` of one picture with all traces: from start to exit";
const MEMORY: &str = "`attnscope analyze` of one picture with all traces: peak memory";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_model_gives_every_row_of_the_engine() {
        let plan = Plan {
            model: Arc::new(Model::bundled(&candle_core::Device::Cpu).unwrap()),
            photo: Arc::new(crate::picture::samples::SAMPLES[0].open().unwrap()),
            size: Some(64),
            runs: 2,
            groups: BTreeSet::from([Group::Network, Group::Whole, Group::Knobs, Group::Start]),
            program: None,
        };
        let rows = measure(&plan, &mut |_| true).unwrap();
        let keys: Vec<&str> = rows.rows.iter().map(|r| r.key.as_str()).collect();
        let turned = [
            "5.stoken_size",
            "5.n_iter",
            "8.n_win",
            "8.topk",
            "26.n_win",
            "26.topk",
        ];
        let parts = ["trace", "detections", "share", "back"];
        let knobs = turned
            .iter()
            .flat_map(|k| parts.map(|part| format!("knob.{k}.{part}")));
        let knobs: Vec<String> = knobs.collect();
        let mut expected = vec!["network", "whole.plain", "whole.focus", "whole.traced"];
        expected.push("whole.traced_ratio");
        expected.extend(knobs.iter().map(String::as_str));
        assert_eq!(keys, expected);
        assert!(rows.rows.iter().all(|r| r.values.len() == 2));
        assert_eq!(rows.layers.len(), plan.model.network.layers().len());
    }

    #[test]
    fn measuring_stops_when_told() {
        let plan = Plan {
            model: Arc::new(Model::bundled(&candle_core::Device::Cpu).unwrap()),
            photo: Arc::new(crate::picture::samples::SAMPLES[0].open().unwrap()),
            size: Some(32),
            runs: 100,
            groups: BTreeSet::from([Group::Network]),
            program: None,
        };
        let stopped = measure(&plan, &mut |round| round < 2);
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }
}
