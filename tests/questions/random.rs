//! Larger maps with random input: what holds for any trace.

use std::sync::Arc;

use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::attention::view::Body;
use attnscope::attention::{KnobValue, Trace, Watch};
use candle_core::{Device, Tensor};

use super::common::drawn;
use super::common::module::Case;
use super::{answer, asked, heat, same};

/// A golden module on a map of its own, with other knobs.
fn random(name: &str, map: [usize; 2], knobs: &[(&str, KnobValue)]) -> Arc<dyn Trace> {
    let case = Case::all().into_iter().find(|c| c.name == name).unwrap();
    let channels = case.golden.get("x").shape[1];
    let shape = [1, channels, map[0], map[1]];
    let x = drawn::values(&format!("{name} {map:?}"), &shape);
    let x = Tensor::from_vec(x, &shape[..], &Device::Cpu).unwrap();
    let knobs = knobs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    let module = case.build(true);
    let legal = module.legal(map, &knobs);
    assert_eq!(legal.clamps, [], "{name}");
    let forward = module.forward(&x, &legal.values, &Watch::All).unwrap();
    forward.1.unwrap()
}

#[test]
fn composed_attention_keeps_all_that_is_not_lost() {
    let settings = [
        ([23, 31], [4, 6], 3),
        ([16, 40], [5, 3], 1),
        ([9, 50], [2, 7], 2),
    ];
    for (map, size, iterations) in settings {
        let knobs = [
            ("stoken_size", KnobValue::Pair(size)),
            ("n_iter", KnobValue::Int(iterations)),
        ];
        let trace = random("sta_3x5_it3_bias", map, &knobs);
        let lost = answer(trace.as_ref(), "lost_mass", &asked(|_| {}));
        let lost = heat(&lost).clone();
        for y in (0..map[0]).step_by(4) {
            for x in (0..map[1]).step_by(5) {
                let given = answer(
                    trace.as_ref(),
                    "composed",
                    &asked(|a| a.cell = Some([y, x])),
                );
                let sum: f32 = heat(&given).values.iter().sum();
                let lost = lost.values[y * lost.cols + x];
                assert!(
                    (sum + lost - 1.0).abs() < 1e-5,
                    "{map:?} at {y}, {x}: {sum} {lost}"
                );
                assert!(heat(&given).values.iter().all(|v| *v >= 0.0));
            }
        }
    }
}

#[test]
fn a_large_matrix_is_thinned_out() {
    // 20 x 30 super tokens are 600: every second row, columns in pairs.
    let trace = random(
        "sta_divisible",
        [20, 30],
        &[("stoken_size", KnobValue::Int(1))],
    );
    let sta = trace.downcast::<SuperTokenTrace>().unwrap();
    let given = answer(trace.as_ref(), "token_matrix", &asked(|a| a.unit = Some(7)));
    let Body::Matrix(matrix) = &given.view.body else {
        panic!("a matrix");
    };
    assert_eq!((matrix.rows, matrix.cols, matrix.step), (300, 300, 2));
    assert_eq!(matrix.row, Some(3));
    for row in [0, 3, 299] {
        let full = sta.reads_from(2 * row, None).values;
        let expected: Vec<f64> = full
            .chunks(2)
            .map(|pair| pair.iter().map(|v| f64::from(*v)).sum::<f64>() / 2.0)
            .collect();
        same("thinned", &matrix.values[row * 300..][..300], &expected);
    }
    let sum: f32 = matrix.values[..300].iter().sum();
    assert!((2.0 * sum - 1.0).abs() < 1e-4, "{sum}");
}

#[test]
fn the_overlap_of_many_regions_is_sampled() {
    let knobs = [("n_win", KnobValue::Int(20)), ("topk", KnobValue::Int(6))];
    let trace = random("bra_divisible", [40, 40], &knobs);
    let bra = trace.downcast::<RoutingTrace>().unwrap();
    let (curve, step) = bra.overlap_by_topk();
    assert_eq!((curve.len(), step), (400, 3));
    for topk in [1, 5, 6, 7, 100, 400] {
        let given = answer(
            trace.as_ref(),
            "overlap",
            &asked(|a| a.against = Some(topk)),
        );
        let sampled: Vec<f64> = heat(&given)
            .values
            .iter()
            .step_by(3)
            .map(|v| f64::from(*v))
            .collect();
        let mean = sampled.iter().sum::<f64>() / sampled.len() as f64;
        same("curve", &curve[topk - 1..topk], &[mean]);
    }
    assert_eq!(curve[5], 1.0);
    // More arrows than can be told apart.
    let (links, all) = bra.strongest_links(400);
    assert_eq!(links.len(), 400);
    assert!(all > 2000 && links.is_sorted_by(|a, b| a.weight >= b.weight));
}
