//! What a box depends on: something is taken out, the network runs again, and the score of the box
//! is read once more.
//!
//! The score follows D-RISE (Petsiuk et al., "Black-box Explanation of Object Detectors via
//! Saliency Maps", CVPR 2021): of all detections `d` the largest `IoU(box, d) · p_d(class)`, with
//! `class` that of the box. No threshold on the score holds here, so that a box may fade to 0.

mod curves;
mod study;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use curves::{Curves, Fill, MAX_STEPS};
pub use study::{End, State, Study};

use super::{Engine, Listener, Outcome, Settings, Wish};
use crate::attention::view::Heat;
use crate::attention::{Erasure, MapSize};
use crate::checkpoint::Model;
use crate::picture::Photo;
use crate::yolo::{Detection, iou};
use crate::{Error, Result};

/// Most units and routes that are tried one by one beside all of them together.
pub const MOST_ALONE: usize = 12;

/// The box that is asked about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// `x1, y1, x2, y2` in pixels of the photograph.
    pub rect: [f32; 4],
    /// Class index.
    pub class: usize,
}

impl Target {
    /// The score of the box in a list of detections: the largest `IoU · p(class)`, 0 in an empty one.
    pub fn score(&self, list: &[Detection]) -> f32 {
        let of = |d: &Detection| {
            let p = d.scores.get(self.class).copied().unwrap_or(0.0);
            iou(&self.rect, &d.rect) * p
        };
        list.iter().map(of).fold(0.0, f32::max)
    }

    /// The detection that the score comes from.
    pub fn find(&self, list: &[Detection]) -> Option<usize> {
        let one = |d: &Detection| self.score(std::slice::from_ref(d));
        let best = (0..list.len()).max_by(|&a, &b| one(&list[a]).total_cmp(&one(&list[b])))?;
        (one(&list[best]) > 0.0).then_some(best)
    }
}

/// What is tried.
#[derive(Debug, Clone)]
pub enum Trial {
    /// Each erased unit and route alone, then all together.
    Erased(BTreeMap<usize, Erasure>),
    /// Each unit of a row alone.
    Sweep {
        /// The row.
        row: usize,
    },
    /// The picture taken away and given back, the most important cells of a map first.
    Curves {
        /// The map that ranks the cells.
        heat: Heat,
        /// Size of the feature map that it lies on.
        map: MapSize,
        /// What stands in the place of what is taken away.
        fill: Fill,
        /// Steps from the whole picture to nothing, at most [`MAX_STEPS`].
        steps: usize,
        /// Seed of the random order that the ranked one is compared with.
        seed: u64,
    },
}

/// A trial on a box.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The photograph.
    pub photo: Arc<Photo>,
    /// The model.
    pub model: Arc<Model>,
    /// Sizes, head and knobs. What is erased in them counts for [`Trial::Curves`] only.
    pub settings: Settings,
    /// The box.
    pub target: Target,
    /// What is tried.
    pub trial: Trial,
}

/// What a trial has found so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Score of the box before anything is taken out.
    pub before: f32,
    /// What followed.
    pub found: Found,
}

/// What followed.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// What was erased, in words, and the score of the box then; all together last.
    Erased(Vec<(String, f32)>),
    /// The score of the box without each unit, in the order of the units, as far as they were tried.
    Sweep {
        /// The row.
        row: usize,
        /// Name of a unit.
        name: &'static str,
        /// Rows and columns of units.
        grid: [usize; 2],
        /// Score of the box without each unit.
        scores: Vec<f32>,
    },
    /// Scores while the picture is taken away and given back.
    Curves(Curves),
}

impl Experiment {
    /// How often the network runs, the run with nothing taken out included.
    pub fn runs(&self) -> usize {
        match &self.trial {
            Trial::Erased(erased) => 1 + self.erasures(erased).len(),
            Trial::Sweep { row } => {
                let what = self.settings.erasable(&self.model, *row);
                1 + what.map_or(0, |w| w.units.grid[0] * w.units.grid[1])
            }
            Trial::Curves { steps, .. } => curves::runs(*steps),
        }
    }

    /// Tries it. `each` hears of the number of runs that are done and of what was found so far. The
    /// same experiment finds the same numbers.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the listener stopped a run; otherwise those of [`Engine::run`].
    pub fn run(
        &self,
        engine: &mut Engine,
        listener: &mut dyn Listener,
        each: &mut dyn FnMut(usize, &Finding),
    ) -> Result<Finding> {
        let mut bench = Bench {
            experiment: self,
            engine,
            listener,
            done: 0,
        };
        match &self.trial {
            Trial::Erased(erased) => bench.erased(erased, each),
            Trial::Sweep { row } => bench.sweep(*row, each),
            Trial::Curves { .. } => bench.curves(each),
        }
    }

    /// The settings of a run: no traces, and every box counts.
    fn settings(&self, erased: BTreeMap<usize, Erasure>) -> Settings {
        let mut settings = Settings {
            erased,
            watch: BTreeMap::new(),
            ..self.settings.clone()
        };
        settings.thresholds.confidence = 0.0;
        settings
    }

    /// What is to be erased run by run.
    fn erasures(&self, erased: &BTreeMap<usize, Erasure>) -> Vec<BTreeMap<usize, Erasure>> {
        let mut alone = Vec::new();
        for (row, erasure) in erased {
            let bare = || Erasure::of_units(erasure.grid, []);
            for unit in &erasure.units {
                alone.push(BTreeMap::from([(
                    *row,
                    Erasure::of_units(erasure.grid, [*unit]),
                )]));
            }
            for route in &erasure.routes {
                let mut one = bare();
                one.routes.insert(*route);
                alone.push(BTreeMap::from([(*row, one)]));
            }
        }
        match alone.len() {
            0 => Vec::new(),
            1 => alone,
            n if n > MOST_ALONE => vec![erased.clone()],
            _ => {
                alone.push(erased.clone());
                alone
            }
        }
    }
}

/// An experiment under way.
struct Bench<'a> {
    experiment: &'a Experiment,
    engine: &'a mut Engine,
    listener: &'a mut dyn Listener,
    /// Runs that are done.
    done: usize,
}

impl Bench<'_> {
    fn run(&mut self, photo: &Arc<Photo>, settings: Settings) -> Result<Outcome> {
        let wish = Wish {
            number: 0,
            photo: photo.clone(),
            model: self.experiment.model.clone(),
            settings,
        };
        let outcome = self.engine.run(&wish, self.listener)?;
        self.done += 1;
        Ok(outcome)
    }

    /// The score of the box with something erased.
    fn score(&mut self, erased: BTreeMap<usize, Erasure>) -> Result<f32> {
        let settings = self.experiment.settings(erased);
        let photo = self.experiment.photo.clone();
        let outcome = self.run(&photo, settings)?;
        Ok(self.experiment.target.score(&outcome.detected.list))
    }

    fn erased(
        &mut self,
        erased: &BTreeMap<usize, Erasure>,
        each: &mut dyn FnMut(usize, &Finding),
    ) -> Result<Finding> {
        let before = self.score(BTreeMap::new())?;
        let mut scores = Vec::new();
        let found = |scores: &[(String, f32)]| Finding {
            before,
            found: Found::Erased(scores.to_vec()),
        };
        each(self.done, &found(&scores));
        for erasure in self.experiment.erasures(erased) {
            let words = self.words(&erasure);
            let score = self.score(erasure)?;
            scores.push((words, score));
            each(self.done, &found(&scores));
        }
        Ok(found(&scores))
    }

    /// What is erased, in words.
    fn words(&self, erased: &BTreeMap<usize, Erasure>) -> String {
        let settings = Settings {
            erased: erased.clone(),
            ..self.experiment.settings.clone()
        };
        let model = &self.experiment.model;
        let of = |row: &usize| settings.erased_words(model, *row);
        erased.keys().flat_map(of).collect::<Vec<_>>().join("; ")
    }

    fn sweep(&mut self, row: usize, each: &mut dyn FnMut(usize, &Finding)) -> Result<Finding> {
        let experiment = self.experiment;
        let what = experiment.settings.erasable(&experiment.model, row);
        let Some(what) = what else {
            let why = format!("row {row} has no units that could be erased");
            return Err(Error::Setting(why));
        };
        let grid = what.units.grid;
        let mut finding = Finding {
            before: self.score(BTreeMap::new())?,
            found: Found::Sweep {
                row,
                name: what.units.name,
                grid,
                scores: Vec::new(),
            },
        };
        each(self.done, &finding);
        for unit in 0..grid[0] * grid[1] {
            let score = self.score(BTreeMap::from([(row, Erasure::of_units(grid, [unit]))]))?;
            if let Found::Sweep { scores, .. } = &mut finding.found {
                scores.push(score);
            }
            each(self.done, &finding);
        }
        Ok(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(rect: [f32; 4], scores: [f32; 2]) -> Detection {
        Detection {
            rect,
            class: 0,
            score: scores[0].max(scores[1]),
            anchor: 0,
            scores: scores.to_vec(),
        }
    }

    #[test]
    fn the_score_is_the_best_overlap_times_probability() {
        let target = Target {
            rect: [0.0, 0.0, 10.0, 10.0],
            class: 1,
        };
        let list = [
            detection([0.0, 0.0, 10.0, 10.0], [0.9, 0.25]),
            detection([0.0, 0.0, 10.0, 5.0], [0.0, 0.75]),
            detection([50.0, 0.0, 60.0, 10.0], [0.0, 1.0]),
        ];
        assert_eq!(target.score(&list), 0.375);
        assert_eq!(target.find(&list), Some(1));
        assert_eq!(
            (target.score(&list[2..]), target.find(&list[2..])),
            (0.0, None)
        );
        assert_eq!((target.score(&[]), target.find(&[])), (0.0, None));
    }
}
