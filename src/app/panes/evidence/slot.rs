//! A place for one experiment: what it was asked for, the study, and its progress.

use std::sync::Arc;
use std::time::Duration;

use egui::{ProgressBar, Ui};

use crate::app::pane::Context;
use crate::engine::causal::{End, Experiment, Finding, State, Study};
use crate::engine::{Settings, Timing};

/// An experiment, as far as it decides what is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Sizes, head, knobs and what is erased.
    pub settings: Settings,
    /// What else decides, in words.
    pub what: String,
}

/// A study with what it answers.
#[derive(Default)]
pub struct Slot {
    asked: Option<Asked>,
    study: Option<Study>,
    problem: Option<String>,
}

impl Slot {
    /// Starts a study in the place of the one before.
    pub fn start(&mut self, ui: &Ui, asked: Asked, experiment: Experiment) {
        let ctx = ui.ctx().clone();
        self.asked = Some(asked);
        match Study::start(experiment, move || ctx.request_repaint()) {
            Ok(study) => (self.study, self.problem) = (Some(study), None),
            Err(error) => self.problem = Some(format!("No thread could be started: {error}.")),
        }
    }

    /// Lets go of what answers something else; lets the live engine go first.
    pub fn follow(&mut self, asked: &Asked, cx: &Context<'_>) {
        if self.asked.as_ref().is_some_and(|a| a != asked) {
            *self = Self::default();
        }
        let failed = cx
            .snapshot
            .failure
            .as_ref()
            .is_some_and(|f| f.wish == cx.newest);
        if let Some(study) = &self.study
            && cx.newest > cx.snapshot.fulfilled
            && !failed
        {
            study.give_way();
        }
    }

    /// Whether something was asked for.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// What was found so far.
    pub fn finding(&self) -> Option<Arc<Finding>> {
        self.study.as_ref()?.state().finding
    }

    /// How far it has come, with a button to cancel it; or why it ended early.
    pub fn progress(&self, ui: &mut Ui) {
        if let Some(problem) = &self.problem {
            ui.label(problem);
        }
        let Some(study) = &self.study else {
            return;
        };
        let state = study.state();
        match &state.end {
            None => {
                ui.horizontal(|ui| {
                    let share = state.done as f32 / state.runs.max(1) as f32;
                    let bar = ProgressBar::new(share).desired_width(160.0);
                    ui.add(bar.text(progress_text(&state)));
                    if ui.button("Cancel").clicked() {
                        study.cancel();
                    }
                });
            }
            Some(End::Whole) => {}
            Some(End::Cancelled) => {
                ui.label(format!(
                    "Cancelled after {} of {} runs.",
                    state.done, state.runs
                ));
            }
            Some(End::Failed(why)) => {
                ui.label(why);
            }
        }
    }
}

fn progress_text(state: &State) -> String {
    let runs = format!("{} of {} runs", state.done, state.runs);
    match state.left() {
        Some(left) => format!("{runs}, {} left", seconds(left)),
        None => runs,
    }
}

/// What so many runs cost, by the time of a whole one.
pub fn cost(runs: usize, one: Option<Duration>) -> String {
    match one {
        Some(one) => format!(
            "{runs} runs of at most {}: {}",
            seconds(one),
            seconds(one * runs as u32)
        ),
        None => format!("{runs} runs"),
    }
}

/// A time in words.
fn seconds(time: Duration) -> String {
    match time.as_secs_f32() {
        s if s < 0.95 => format!("{:.0} ms", 1000.0 * s),
        s if s < 9.5 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

/// The time of the last run in which every row ran.
#[derive(Default)]
pub struct Whole {
    timing: Option<Timing>,
}

impl Whole {
    /// Remembers it.
    pub fn follow(&mut self, cx: &Context<'_>) {
        let timing = cx.snapshot.timing.as_ref();
        if let Some(timing) = timing.filter(|t| t.ran == t.rows) {
            self.timing = Some(timing.clone());
        }
    }

    /// Time of a whole run.
    pub fn run(&self) -> Option<Duration> {
        self.timing.as_ref().map(|t| t.total)
    }

    /// Time of the rows from `row` on: what runs again when something in it is erased.
    pub fn from_row(&self, row: usize) -> Option<Duration> {
        let timing = self.timing.as_ref()?;
        Some(timing.by_row.range(row..).map(|(_, time)| *time).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_said_before() {
        let ms = Duration::from_millis;
        assert_eq!(cost(62, Some(ms(180))), "62 runs of at most 180 ms: 11 s");
        assert_eq!(cost(3, Some(ms(1500))), "3 runs of at most 1.5 s: 4.5 s");
        assert_eq!(cost(3, None), "3 runs");
    }
}
