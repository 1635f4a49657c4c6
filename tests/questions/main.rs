//! What traces answer: against the golden tables of the modules, and against the plain formulas.

#[path = "../common/mod.rs"]
mod common;

mod polarized;
mod position_sensitive;
mod random;
mod routing;
mod super_tokens;

use std::sync::Arc;

use attnscope::attention::view::{Answer, Asked, Body, Heat, Overlay, Table};
use attnscope::attention::{Attention, Trace, Watch};

use common::module::Case;

/// Answers may be this far from the formulas on the golden numbers.
const LIMIT: f64 = 1e-5;

/// The golden cases whose names start like this, with the whole trace of each.
fn traced(start: &str) -> Vec<(Case, Arc<dyn Trace>)> {
    let cases = Case::all().into_iter();
    let cases = cases.filter(|case| case.name.starts_with(start));
    let traced = |case: Case| {
        let trace = run(case.build(true).as_ref(), &case, &Watch::All);
        (case, trace)
    };
    cases.map(traced).collect()
}

fn run(module: &dyn Attention, case: &Case, watch: &Watch) -> Arc<dyn Trace> {
    let x = case.golden.get("x").tensor();
    module.forward(&x, &case.knobs, watch).unwrap().1.unwrap()
}

/// Everybody's first wish with some of it changed.
fn asked(change: impl FnOnce(&mut Asked)) -> Asked {
    let mut asked = Asked::default();
    change(&mut asked);
    asked
}

fn answer(trace: &dyn Trace, question: &str, asked: &Asked) -> Answer {
    let answer = trace.answer(question, asked);
    answer.unwrap_or_else(|| panic!("no answer to {question}"))
}

fn overlay(answer: &Answer) -> &Overlay {
    match &answer.view.body {
        Body::Overlay(overlay) => overlay,
        other => panic!("{other:?}"),
    }
}

fn heat(answer: &Answer) -> &Heat {
    overlay(answer).heat.as_ref().unwrap()
}

fn table(body: &Body) -> &Table {
    match body {
        Body::Table(table) => table,
        other => panic!("{other:?}"),
    }
}

/// Fails unless all values are those expected.
fn same(what: &str, ours: &[f32], expected: &[f64]) {
    let apart = common::compare::difference(ours, expected);
    assert!(apart <= LIMIT, "{what}: {apart:.1e} apart");
}

/// Jensen–Shannon divergence in bits, by the entropies.
fn divergence(a: &[f64], b: &[f64]) -> f64 {
    let entropy = |p: &[f64]| -> f64 {
        let of = |v: &&f64| **v > 0.0;
        p.iter().filter(of).map(|v| -v * v.log2()).sum()
    };
    let middle: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect();
    entropy(&middle) - (entropy(a) + entropy(b)) / 2.0
}

/// A table of heads against the weights of each.
fn heads_are(what: &str, table: &Table, weights: &[Vec<f64>], place: impl Fn(usize) -> String) {
    let n = weights.len() as f64;
    let mean: Vec<f64> = (0..weights[0].len())
        .map(|i| weights.iter().map(|row| row[i]).sum::<f64>() / n)
        .collect();
    assert_eq!(table.rows.len(), weights.len(), "{what}");
    for (head, (row, weights)) in table.rows.iter().zip(weights).enumerate() {
        let most = weights.iter().copied().fold(0.0, f64::max);
        // Nearly equal weights may change places.
        let named = (0..weights.len()).find(|&i| place(i) == row[1]).unwrap();
        assert!(
            most - weights[named] < LIMIT,
            "{what}: head {head} has {row:?}"
        );
        let says = |i: usize| row[i].parse::<f64>().unwrap();
        assert!((says(2) - most).abs() <= 6e-3 * most, "{what}: {row:?}");
        let expected = divergence(weights, &mean);
        let apart = (says(4) - expected).abs();
        assert!(
            apart <= 6e-3 * expected + 1e-5,
            "{what}: {row:?}, expected {expected}"
        );
    }
}

#[test]
fn every_question_is_answered_whatever_is_asked() {
    let wild = [
        Asked::default(),
        asked(|a| a.cell = Some([0, 0])),
        asked(|a| {
            let far = Some(usize::MAX / 2);
            *a = Asked {
                cell: Some([usize::MAX / 2; 2]),
                unit: far,
                head: far,
                iteration: far,
                part: far,
                against: far,
                channel: far,
            };
        }),
    ];
    for (case, trace) in traced("") {
        for question in trace.questions() {
            for asked in &wild {
                let given = trace.answer(question.id, asked);
                let given = given.unwrap_or_else(|| panic!("{}: {}", case.name, question.id));
                assert_eq!(given.view.name, question.id, "{}", case.name);
                assert!(!given.chosen.is_empty(), "{}: {}", case.name, question.id);
            }
        }
        assert!(trace.answer("the weather", &wild[0]).is_none());
        // What is out of range is passed over.
        assert!(
            trace.unit_at([usize::MAX / 2; 2], None).is_none(),
            "{}",
            case.name
        );
        let first = trace.facts(&wild[1]);
        assert!(!first.is_empty(), "{}", case.name);
        assert!(first.iter().all(|f| !f.value.is_empty()), "{}", case.name);
        let names = trace.views().into_iter().map(|v| v.name.into_owned());
        let ids = trace.questions().iter().map(|q| q.id.to_owned());
        assert!(names.eq(ids), "{}", case.name);
    }
}

#[test]
fn units_tile_the_map() {
    for (case, trace) in traced("") {
        let Some(units) = trace.units() else {
            continue;
        };
        let [rows, cols] = units.grid;
        for unit in 0..rows * cols {
            let [x0, y0, x1, y1] = trace.unit_rect(unit).unwrap();
            let (row, col) = ((unit / cols) as f32, (unit % cols) as f32);
            let (w, h) = (x1 - x0, y1 - y0);
            assert_eq!([x0, y0], [col * w, row * h], "{}: unit {unit}", case.name);
        }
        assert!(trace.unit_rect(rows * cols).is_none());
    }
}
