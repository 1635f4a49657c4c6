//! The slider positions next to the one in use, computed while the hand rests.

use std::sync::Arc;

use super::{LayerTrace, Listener, Scene, Settings, Wish};
use crate::attention::{Knob, KnobValue, Knobs};

/// The settings one step beside those of a wish, the most likely first: the knob that was turned
/// last, on in the direction it moved, then back; then every other knob. Only legal positions.
pub(super) fn neighbours(wish: &Wish, before: Option<&Settings>) -> Vec<Settings> {
    let mut turned = Vec::new();
    let mut others = Vec::new();
    for (row, _) in wish.model.network.attention() {
        let Some(legal) = wish.settings.legal(&wish.model, row) else {
            continue;
        };
        let earlier = before.and_then(|s| s.legal(&wish.model, row));
        for knob in &legal.knobs {
            let Some(value) = legal.values.get(knob.name) else {
                continue;
            };
            let old = earlier.as_ref().and_then(|l| l.values.get(knob.name));
            let moved = old.filter(|old| *old != value);
            let list = if moved.is_some() {
                &mut turned
            } else {
                &mut others
            };
            for next in steps(knob, *value, moved.copied()) {
                let mut settings = wish.settings.clone();
                // Only what is shown is looked at.
                settings.features = None;
                let mut knobs: Knobs = legal.values.clone();
                knobs.insert(knob.name.to_owned(), next);
                settings.knobs.insert(row, knobs);
                list.push(settings);
            }
        }
    }
    turned.append(&mut others);
    turned
}

/// Legal values one step from `value`: first on from `old`, if the knob was moved.
fn steps(knob: &Knob, value: KnobValue, old: Option<KnobValue>) -> Vec<KnobValue> {
    let here = value.pair();
    let was = old.map_or(here, KnobValue::pair);
    let sign = [0, 1].map(|i| (here[i] as isize - was[i] as isize).signum());
    let sign = if sign == [0, 0] { [1, 1] } else { sign };
    let (low, high) = (knob.min.pair(), knob.max.pair());
    [1, -1, 2]
        .iter()
        .filter_map(|factor| {
            let step =
                |i: usize| (here[i].saturating_add_signed(sign[i] * factor)).clamp(low[i], high[i]);
            let next = [step(0), step(1)];
            (next != here).then_some(match value {
                KnobValue::Int(_) => KnobValue::Int(next[0]),
                KnobValue::Pair(_) => KnobValue::Pair(next),
            })
        })
        .collect()
}

/// Lets a run go on only as long as nobody wishes for something else.
pub(super) struct WhileIdle<'a>(pub &'a (dyn Fn() -> bool + Sync));

impl Listener for WhileIdle<'_> {
    fn layer(&mut self, _: usize, _: usize, _: &str) -> bool {
        (self.0)()
    }

    fn trace(&mut self, _: &Arc<Scene>, _: &Arc<LayerTrace>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knob(default: KnobValue, min: KnobValue, max: KnobValue) -> Knob {
        Knob {
            name: "topk",
            help: "",
            default,
            min,
            max,
            why_min: String::new(),
            why_max: String::new(),
        }
    }

    #[test]
    fn the_direction_of_the_hand_comes_first() {
        let [one, nine] = [1, 9].map(KnobValue::Int);
        let k = knob(one, one, nine);
        let ints = |v, old: Option<usize>| -> Vec<usize> {
            let steps = steps(&k, KnobValue::Int(v), old.map(KnobValue::Int));
            steps.into_iter().map(KnobValue::int).collect()
        };
        assert_eq!(ints(4, Some(3)), [5, 3, 6]);
        assert_eq!(ints(4, Some(7)), [3, 5, 2]);
        assert_eq!(ints(4, None), [5, 3, 6]);
        // At the end of the range only what is legal is left.
        assert_eq!(ints(9, Some(8)), [8]);
    }

    #[test]
    fn a_pair_goes_on_along_the_side_that_moved() {
        let [low, high] = [[2, 2], [8, 8]].map(KnobValue::Pair);
        let k = knob(low, low, high);
        let next = steps(&k, KnobValue::Pair([4, 6]), Some(KnobValue::Pair([4, 5])));
        assert_eq!(next, [[4, 7], [4, 5], [4, 8]].map(KnobValue::Pair));
    }
}
