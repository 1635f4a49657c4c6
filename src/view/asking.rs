//! What is asked of a mechanism, and what that means on one of its layers.

use serde::{Deserialize, Serialize};

use super::Selection;
use crate::attention::Trace;
use crate::attention::view::{Answer, Asked, Body, Overlay, Question, Turn};
use crate::engine::Placement;
use crate::picture::Look;

/// What is asked of a mechanism.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asking {
    /// Id of the question; `None` is the first one that suits what is pressed.
    pub question: Option<String>,
    /// One head; `None` is the mean of all.
    pub head: Option<usize>,
    /// Attention within the row; `None` is the first.
    pub part: Option<usize>,
    /// The other `topk`.
    pub against: Option<usize>,
}

impl Asking {
    /// The question, among those that a trace answers.
    pub fn question(&self, trace: &dyn Trace, pressed: bool) -> Option<&'static Question> {
        let all = trace.questions();
        let chosen = self.question.as_ref();
        let chosen = chosen.and_then(|id| all.iter().find(|q| q.id == *id));
        // A press asks about what was pressed.
        let about_it = || all.iter().find(|q| q.turns.contains(&Turn::Unit));
        let first = all.first();
        chosen.or_else(|| match pressed {
            true => about_it().or(first),
            false => first,
        })
    }
}

/// What is chosen, as the layer in `row` sees it. A choice that the question does not have counts
/// as not made, so that equal questions are equal.
pub fn asked(
    selection: &Selection,
    asking: &Asking,
    question: &Question,
    row: usize,
    trace: &dyn Trace,
    place: Placement,
) -> Asked {
    let turned = |turn: Turn, value: Option<usize>| {
        let possible = question.turns.contains(&turn) && trace.choices(turn) > 1;
        value.filter(|v| possible && *v < trace.choices(turn))
    };
    Asked {
        cell: selection.point.and_then(|p| place.cell(p)),
        unit: unit(selection, row, trace, place),
        head: turned(Turn::Head, asking.head),
        iteration: turned(Turn::Iteration, selection.iteration),
        part: turned(Turn::Part, asking.part),
        against: asking
            .against
            .filter(|_| question.turns.contains(&Turn::Against)),
        channel: selection.channel,
    }
}

/// The unit of a row that is pressed: by itself, or the one under the pressed point.
pub fn unit(
    selection: &Selection,
    row: usize,
    trace: &dyn Trace,
    place: Placement,
) -> Option<usize> {
    let own = selection.units.get(&row).copied();
    let own = own.filter(|u| trace.unit_rect(*u).is_some());
    own.or_else(|| {
        let cell = place.cell(selection.point?)?;
        trace.unit_at(cell, selection.iteration)
    })
}

/// The unit in the middle of a map.
pub fn middle_unit(trace: &dyn Trace) -> Option<usize> {
    let [h, w] = trace.map();
    let grid = trace.units()?.grid;
    let central = (grid[0] / 2) * grid[1] + grid[1] / 2;
    trace.unit_at([h / 2, w / 2], None).or(Some(central))
}

/// How the maps of a mechanism look before anyone has changed it.
pub fn first_look(answer: &Answer) -> Look {
    // Arrows lead to regions, and regions of padding lie outside of the photograph.
    let beyond = |o: &Overlay| !o.links.is_empty() || !o.greyed.is_empty();
    Look {
        border: matches!(&answer.view.body, Body::Overlay(o) if beyond(o)),
        ..Look::default()
    }
}
