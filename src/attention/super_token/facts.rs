//! What super token attention says of a pressed place.

use super::SuperTokenTrace;
use crate::attention::view::{Asked, Fact};
use crate::attention::{asked_unit, heads};
use crate::numbers::value_label;

/// What lies at the pressed cell.
pub(super) fn facts(trace: &SuperTokenTrace, asked: &Asked) -> Vec<Fact> {
    let iteration = trace.iteration(asked.iteration);
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| {
        facts.push(Fact {
            name: name.into(),
            value,
        });
    };
    if let Some([y, x]) = asked.cell
        && y < trace.padded[0]
        && x < trace.padded[1]
    {
        let owner = trace.owner(iteration, y, x);
        let owner = owner.map_or("off the grid".into(), |t| format!("super token {t}"));
        fact("owner", owner);
        let mut weights = trace.weights_at(iteration, y, x);
        if !weights.is_empty() {
            weights.sort_by(|a, b| b.1.total_cmp(&a.1));
            let name = |t: Option<usize>| t.map_or("off grid".into(), |t| t.to_string());
            let three = weights.iter().take(3);
            let three: Vec<String> = three
                .map(|(t, w)| format!("{}: {w:.2}", name(*t)))
                .collect();
            fact("largest weights", three.join(", "));
            let lost = weights.iter().filter(|w| w.0.is_none()).map(|w| w.1).sum();
            fact("lost share", value_label(lost, 3));
        }
    }
    if let Some(token) = asked_unit(trace, asked) {
        fact("super token", token.to_string());
        if let Some(mass) = trace.column_sum.data().get(token) {
            fact("mass", format!("{} cells", value_label(*mass, 3)));
        }
        let reads = heads::one_or_mean(&trace.rows_of(token), asked.head);
        if let Some((most, weight)) = heads::largest(&reads) {
            let weight = value_label(weight, 3);
            fact("reads most from", format!("super token {most}, {weight}"));
        }
    }
    facts
}
