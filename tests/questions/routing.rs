//! Bi-level routing attention.

use std::sync::Arc;

use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::view::{Answer, Body};
use attnscope::attention::{Trace, Watch};

use super::common::golden::Golden;
use super::common::module::Case;
use super::{LIMIT, answer, asked, heads_are, heat, overlay, run, same, table, traced};

fn routing(trace: &Arc<dyn Trace>) -> &RoutingTrace {
    trace.downcast().unwrap()
}

/// Softmax over the `topk` largest logits of a region, largest first.
fn ranked(golden: &Golden, region: usize, topk: usize) -> Vec<f64> {
    let mut row = golden.get("affinity_r").row(region).to_vec();
    row.sort_by(|a, b| b.total_cmp(a));
    row.truncate(topk);
    let sum: f64 = row.iter().map(|l| (l - row[0]).exp()).sum();
    row.iter().map(|l| (l - row[0]).exp() / sum).collect()
}

/// Routing weight in common at two numbers of regions.
fn shared(golden: &Golden, region: usize, [a, b]: [usize; 2]) -> f64 {
    let weights = ranked(golden, region, a.max(b));
    weights.iter().take(a.min(b)).sum()
}

#[test]
fn routes_are_the_golden_ones() {
    for (case, trace) in traced("bra") {
        let golden = &case.golden;
        let topk = golden.get("r_idx").shape[1];
        for region in 0..trace.units().unwrap().grid.iter().product() {
            let given = answer(trace.as_ref(), "routes", &asked(|a| a.unit = Some(region)));
            let logits = golden.get("affinity_r").row(region);
            same(&case.name, &heat(&given).values, logits);
            let beside = table(&given.beside[0].body);
            assert_eq!(beside.rows.len(), topk, "{}", case.name);
            let weights = golden.get("r_weight").row(region);
            for (rank, (row, weight)) in beside.rows.iter().zip(weights).enumerate() {
                assert_eq!(row[0], (rank + 1).to_string());
                assert_eq!(row[1], beside.units[rank].to_string());
                assert!(
                    (row[2].parse::<f64>().unwrap() - weight).abs() < 6e-4,
                    "{row:?}"
                );
                // Regions that hold only padding tie.
                let apart = logits[beside.units[rank]] - logits[golden_route(golden, region, rank)];
                assert!(apart.abs() < 1e-6, "{}: {row:?}", case.name);
            }
            let (marks, links) = (&overlay(&given).marks, &overlay(&given).links);
            assert_eq!((marks.len(), links.len()), (topk + 1, topk));
            let list: Vec<String> = beside.units.iter().map(usize::to_string).collect();
            let said = format!("region {region} reads from {}", list.join(", "));
            assert_eq!(given.chosen, said);
        }
    }
}

fn golden_route(golden: &Golden, region: usize, rank: usize) -> usize {
    golden.get("r_idx").row(region)[rank] as usize
}

#[test]
fn everybody_who_reads_is_counted() {
    for (case, trace) in traced("bra") {
        let t = routing(&trace);
        let given = answer(trace.as_ref(), "in_degree", &asked(|_| {}));
        assert!(overlay(&given).links.is_empty(), "nobody was pressed");
        let mut counts = vec![0.0; t.regions()];
        for region in 0..t.regions() {
            for (routed, _) in t.routes(region) {
                counts[routed] += 1.0;
            }
        }
        same(&case.name, &heat(&given).values, &counts);
        assert_eq!(counts.iter().sum::<f64>(), (t.regions() * t.topk) as f64);
        let read = counts.iter().filter(|c| **c > 0.0).count();
        let most = counts.iter().copied().fold(0.0, f64::max);
        let said = format!("{read} of {} regions are read, one by {most}", t.regions());
        assert_eq!(given.view.title, said);
        let pressed = answer(trace.as_ref(), "in_degree", &asked(|a| a.unit = Some(0)));
        assert_eq!(overlay(&pressed).links.len(), t.topk);
    }
}

#[test]
fn a_pressed_token_looks_where_the_golden_weights_lie() {
    for (case, trace) in traced("bra") {
        let t = routing(&trace);
        let keys: usize = t.key_windows.iter().map(Vec::len).product();
        for region in 0..t.regions() {
            let Some(golden) = case.golden.find(&format!("attn_region{region}")) else {
                continue;
            };
            let [heads, tokens, all] = golden.shape[..] else {
                panic!("three axes");
            };
            let token = tokens - 1;
            let [left, top, ..] = t.rect(region).map(|v| v as usize);
            let cell = Some([top + token / t.region[1], left + token % t.region[1]]);
            let rows: Vec<Vec<f64>> = (0..heads)
                .map(|h| golden.data[(h * tokens + token) * all..][..all].to_vec())
                .collect();
            let wanted = asked(|a| (a.unit, a.cell) = (Some(region), cell));
            for head in (0..heads).map(Some).chain([None]) {
                let mut wanted = wanted.clone();
                wanted.head = head;
                let given = answer(trace.as_ref(), "token_attention", &wanted);
                let mut expected = vec![0.0; t.padded[0] * t.padded[1]];
                for key in 0..all {
                    let weight: f64 = match head {
                        Some(h) => rows[h][key],
                        None => rows.iter().map(|r| r[key]).sum::<f64>() / heads as f64,
                    };
                    let routed = t.routes(region)[key / keys].0;
                    let [rows, cols] = &t.key_windows;
                    let [y0, y1] = rows[key % keys / cols.len()];
                    let [x0, x1] = cols[key % keys % cols.len()];
                    let [left, top, ..] = t.rect(routed).map(|v| v as usize);
                    for y in y0..y1 {
                        for x in x0..x1 {
                            expected[(top + y) * t.padded[1] + left + x] +=
                                weight / ((y1 - y0) * (x1 - x0)) as f64;
                        }
                    }
                }
                // Routes of padding may be in another order than the golden ones.
                if (0..t.topk)
                    .all(|r| t.routes(region)[r].0 == golden_route(&case.golden, region, r))
                {
                    same(&case.name, &heat(&given).values, &expected);
                }
                let sum: f32 = heat(&given).values.iter().sum();
                assert!((sum - 1.0).abs() < 1e-4, "{}: {sum}", case.name);
                assert_eq!(overlay(&given).outline.len(), 4, "the token itself");
            }
            let given = answer(trace.as_ref(), "heads", &wanted);
            let name = |key| {
                let (routed, [x, y, ..]) = t.key_cells(region, key).unwrap();
                format!("cell {x}, {y} in region {routed}")
            };
            heads_are(&case.name, table(&given.view.body), &rows, name);
        }
    }
}

#[test]
fn token_attention_is_there_only_for_the_regions_asked_for() {
    let (case, _) = traced("bra_divisible").remove(0);
    let trace = run(case.build(true).as_ref(), &case, &Watch::Focus(vec![3]));
    for question in ["token_attention", "heads"] {
        let of = |region| trace.answer(question, &asked(|a| a.unit = Some(region)));
        assert!(of(3).is_some() && of(4).is_none());
        assert!(
            trace.answer(question, &asked(|_| {})).is_none(),
            "the middle one"
        );
    }
    assert_eq!(trace.views().len(), trace.questions().len() - 2);
}

#[test]
fn the_matrix_holds_all_affinities() {
    for (case, trace) in traced("bra") {
        let given = answer(
            trace.as_ref(),
            "region_matrix",
            &asked(|a| a.unit = Some(0)),
        );
        let Body::Matrix(matrix) = &given.view.body else {
            panic!("a matrix");
        };
        same(
            &case.name,
            &matrix.values,
            &case.golden.get("affinity_r").data,
        );
        assert_eq!((matrix.rows, matrix.row), (matrix.cols, Some(0)));
    }
}

fn curves(given: &Answer) -> [Vec<f32>; 2] {
    let Body::Curves(curves) = &given.beside[0].body else {
        panic!("curves");
    };
    [0, 1].map(|i| curves.series[i].1.iter().map(|p| p[1]).collect())
}

#[test]
fn the_overlap_is_the_weight_of_the_smaller_routing_in_the_larger() {
    for (case, trace) in traced("bra") {
        let t = routing(&trace);
        let n = t.regions();
        let mut means = Vec::new();
        for against in 1..=n {
            let given = answer(
                trace.as_ref(),
                "overlap",
                &asked(|a| a.against = Some(against)),
            );
            let of = |region| shared(&case.golden, region, [t.topk, against]);
            let expected: Vec<f64> = (0..n).map(of).collect();
            same(&case.name, &heat(&given).values, &expected);
            means.push(expected.iter().sum::<f64>() / n as f64);
            let marks = overlay(&given).marks.len();
            assert_eq!(marks, t.topk.max(against) + 1, "{}", case.name);
        }
        assert!((means[t.topk - 1] - 1.0).abs() < 1e-12);
        let [weights, counts] = curves(&answer(trace.as_ref(), "overlap", &asked(|_| {})));
        same(&case.name, &weights, &means);
        let (topk, all) = (t.topk as f64, 1..=n);
        let expected: Vec<f64> = all
            .map(|a| topk.min(a as f64) / topk.max(a as f64))
            .collect();
        same(&case.name, &counts, &expected);
    }
}

/// The layer itself at another `topk` has the routing that the answer says it has.
#[test]
fn the_routing_at_another_topk_is_what_the_layer_does_there() {
    let (case, trace) = traced("bra_divisible").remove(0);
    let mut other = Case { ..case };
    let wanted = serde_json::from_str("5").unwrap();
    other.knobs.insert("topk".into(), wanted);
    let larger = run(other.build(true).as_ref(), &other, &Watch::All);
    let (small, large) = (routing(&trace), routing(&larger));
    assert_eq!((small.topk, large.topk), (3, 5));
    let given = answer(trace.as_ref(), "overlap", &asked(|a| a.against = Some(5)));
    for (region, value) in heat(&given).values.iter().enumerate() {
        let here: Vec<usize> = small.routes(region).iter().map(|r| r.0).collect();
        let common = large
            .routes(region)
            .into_iter()
            .filter(|r| here.contains(&r.0));
        let common: Vec<f32> = common.map(|r| r.1).collect();
        assert_eq!(common.len(), 3, "region {region}");
        let sum: f32 = common.iter().sum();
        assert!((f64::from(sum - value)).abs() < LIMIT, "region {region}");
    }
}

#[test]
fn the_graph_has_the_strongest_links_first() {
    for (case, trace) in traced("bra") {
        let t = routing(&trace);
        let mut expected: Vec<f32> = (0..t.regions())
            .filter(|r| !t.is_padding(*r))
            .flat_map(|r| t.routes(r).into_iter().filter(move |to| to.0 != r))
            .map(|r| r.1)
            .collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        let given = answer(trace.as_ref(), "routing_graph", &asked(|_| {}));
        let weights: Vec<f32> = overlay(&given).links.iter().map(|l| l.weight).collect();
        assert_eq!(weights, expected, "{}", case.name);
        let (few, all) = t.strongest_links(3);
        let weights: Vec<f32> = few.iter().map(|l| l.weight).collect();
        assert_eq!(weights, expected[..expected.len().min(3)]);
        assert_eq!(all, expected.len());
    }
}
