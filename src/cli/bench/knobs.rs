//! Knobs turned one step and back.

use std::sync::Arc;
use std::time::Instant;

use super::measure::{Plan, ms};
use super::rows::{Rows, Unit};
use crate::Result;
use crate::attention::{Knob, KnobValue, Watch};
use crate::engine::{Engine, LayerTrace, Listener, Scene, Wish};

/// Of a whole run, for the last layer with knobs.
const SHARE_GOAL: f64 = 0.35;
/// Milliseconds.
const BACK_GOAL: f64 = 5.0;

/// Each knob of each layer that has any is turned one step and back, with the traces that the
/// window asks for. `whole` is the time of a whole run of this round in milliseconds.
pub(super) fn measure(plan: &Plan, rows: &mut Rows, whole: f64) -> Result<()> {
    let before = plan.settings(&Watch::Focus(vec![0]));
    let attention = plan.model.network.attention();
    let legal: Vec<_> = attention
        .filter_map(|(row, _)| Some((row, before.legal(&plan.model, row)?)))
        .filter(|(_, legal)| !legal.knobs.is_empty())
        .collect();
    let last = legal.last().map(|(row, _)| *row);
    let mut engine = Engine::default();
    engine.run(&plan.wish(&before), &mut ())?;
    for (row, legal) in &legal {
        for knob in &legal.knobs {
            let value = legal.values.get(knob.name).copied();
            let Some((from, to)) = value.and_then(|v| Some((v, step(knob, v)?))) else {
                continue;
            };
            let mut after = before.clone();
            let values = after.knobs.entry(*row).or_default();
            values.insert(knob.name.to_owned(), to);
            let turn = Turn {
                row: *row,
                is_last: last == Some(*row),
                key: format!("knob.{row}.{}", knob.name),
                name: format!("layer {row}, {} {from} to {to}", knob.name),
                wish: plan.wish(&after),
                back: plan.wish(&before),
            };
            turn.measure(&mut engine, rows, whole)?;
        }
    }
    Ok(())
}

/// One knob turned.
struct Turn {
    row: usize,
    is_last: bool,
    key: String,
    name: String,
    wish: Wish,
    back: Wish,
}

impl Turn {
    fn measure(&self, engine: &mut Engine, rows: &mut Rows, whole: f64) -> Result<()> {
        let mut first = FirstTrace {
            row: self.row,
            at: None,
        };
        let began = Instant::now();
        engine.run(&self.wish, &mut first)?;
        let turned = ms(began.elapsed());
        let again = Instant::now();
        engine.run(&self.back, &mut ())?;
        let back = ms(again.elapsed());
        let mut add = |part: &str, what: &str, unit, goal: Option<f64>, value| {
            let key = format!("{}.{part}", self.key);
            let goal = goal.filter(|_| self.is_last);
            rows.add(&key, &format!("{}: {what}", self.name), unit, goal, value);
        };
        let time = Unit::Milliseconds;
        if let Some(at) = first.at {
            add("trace", "to the new trace", time, None, ms(at - began));
        }
        add("detections", "to the new detections", time, None, turned);
        let (what, share) = ("the same as a share of whole.plain", turned / whole);
        add("share", what, Unit::Ratio, Some(SHARE_GOAL), share);
        let what = "back to the value before";
        add("back", what, time, Some(BACK_GOAL), back);
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

/// The next value up, or down from the top; `None` if there is no other.
fn step(knob: &Knob, value: KnobValue) -> Option<KnobValue> {
    let moved = |by: isize| {
        let [h, w] = value.pair().map(|v| v.saturating_add_signed(by));
        let asked = match value {
            KnobValue::Int(_) => KnobValue::Int(h),
            KnobValue::Pair(_) => KnobValue::Pair([h, w]),
        };
        let (used, _) = knob.clamp(Some(asked));
        (used != value).then_some(used)
    };
    moved(1).or_else(|| moved(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knob(default: KnobValue) -> Knob {
        Knob {
            name: "k",
            help: "",
            default,
            min: KnobValue::Int(1),
            max: KnobValue::Int(4),
            why_min: String::new(),
            why_max: String::new(),
        }
    }

    #[test]
    fn a_knob_moves_one_step_inside_its_range() {
        for (from, to) in [(1, 2), (3, 4), (4, 3)] {
            let from = KnobValue::Int(from);
            assert_eq!(step(&knob(from), from), Some(KnobValue::Int(to)));
        }
        let pair = KnobValue::Pair([2, 4]);
        assert_eq!(step(&knob(pair), pair), Some(KnobValue::Pair([3, 4])));
    }
}
