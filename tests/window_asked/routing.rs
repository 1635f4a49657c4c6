//! Questions to the routed regions of row 8: map 20 × 20 padded to 24 × 24, 8 × 8 regions of
//! 3 × 3 tokens, 4 heads, of which 4 regions are read.

use egui::accesskit::Role;
use egui_kittest::kittest::Queryable;

use crate::reading::{Hands, heads_are, lines_below, matrix_cell, shows};
use crate::traces::traces;
use crate::window::{hover, press};
use crate::{PIXELS, cat, cell, open};

const ROW: usize = 8;
const GRID: usize = 8;
const SIDE: usize = 3;
const REGIONS: usize = GRID * GRID;
const TOKENS: usize = SIDE * SIDE;
const HEADS: usize = 4;
const TOPK: usize = 4;
const MAP: [usize; 2] = [20, 20];

fn hands() -> Hands<'static> {
    Hands {
        harness: open("routing", cat()),
        canvas: "Routed regions canvas",
        outcome: cat(),
    }
}

fn region([y, x]: [usize; 2]) -> usize {
    y / SIDE * GRID + x / SIDE
}

/// The place of a cell within its region.
fn token([y, x]: [usize; 2]) -> usize {
    y % SIDE * SIDE + x % SIDE
}

fn affinity(from: usize, to: usize) -> f64 {
    traces().get("L8.bra.affinity_r").at(&[from, to])
}

/// The regions that a region reads, best first.
fn routes(from: usize) -> Vec<usize> {
    let routed = traces().get("L8.bra.r_idx");
    (0..TOPK).map(|k| routed.at(&[from, k]) as usize).collect()
}

fn weight(from: usize, rank: usize) -> f64 {
    traces().get("L8.bra.r_weight").at(&[from, rank])
}

/// How many regions read a region.
fn readers(of: usize) -> usize {
    (0..REGIONS)
        .filter(|from| routes(*from).contains(&of))
        .count()
}

/// Rows of padding only stand below and to the right of the map.
fn is_padding(region: usize) -> bool {
    [region / GRID, region % GRID]
        .iter()
        .any(|i| i * SIDE >= MAP[0])
}

/// What a token gives to every key of the routed regions.
fn keys(from: usize, token: usize, head: usize) -> Vec<f64> {
    let all = traces().get(&format!("L8.bra.attn_region{from}"));
    let keys = 0..TOPK * TOKENS;
    keys.map(|key| all.at(&[head, token, key])).collect()
}

/// What a token gives to a cell: a head, or the mean of all.
fn attention(pressed: [usize; 2], at: [usize; 2], head: Option<usize>) -> f64 {
    let from = region(pressed);
    let place = routes(from).iter().position(|r| *r == region(at));
    let of = |head| {
        place.map_or(0.0, |k| {
            keys(from, token(pressed), head)[k * TOKENS + token(at)]
        })
    };
    match head {
        Some(head) => of(head),
        None => (0..HEADS).map(of).sum::<f64>() / HEADS as f64,
    }
}

#[test]
fn a_region_says_what_it_makes_of_the_others_and_which_it_reads() {
    let mut hands = hands();
    hands.ask("region affinity");
    for pressed in PIXELS {
        hands.press(pressed);
        let from = region(cell(cat(), MAP, pressed));
        assert_eq!(hands.unit(ROW), from);
        let list: Vec<String> = routes(from).iter().map(usize::to_string).collect();
        hands.line(&format!("region {from} reads from {}", list.join(", ")));
        hands.harness.get_by_label_contains(&match readers(from) {
            1 => "read by 1 region".to_owned(),
            n => format!("read by {n} regions"),
        });
        let lines = lines_below(&hands.harness, "rank", TOPK);
        for (rank, to) in routes(from).into_iter().enumerate() {
            let [shown_rank, shown_region, shown_weight, shown_affinity] = lines[rank].as_slice()
            else {
                panic!("{:?}", lines[rank]);
            };
            assert_eq!(*shown_rank, (rank + 1).to_string());
            assert_eq!(*shown_region, to.to_string());
            let shown: f64 = shown_weight.parse().unwrap();
            assert!((shown - weight(from, rank)).abs() < 5.1e-4, "{shown}");
            match is_padding(to) {
                true => assert_eq!(shown_affinity, "padding"),
                false => shows("affinity", shown_affinity, affinity(from, to), 3),
            }
        }
        for other in PIXELS {
            let to = region(cell(cat(), MAP, other));
            hands.reads(other, "region affinity", affinity(from, to));
        }
    }
}

#[test]
fn a_region_of_the_table_is_followed() {
    let mut hands = hands();
    hands.ask("region affinity");
    hands.press(PIXELS[1]);
    let from = region(cell(cat(), MAP, PIXELS[1]));
    let to = routes(from)[1];
    assert_ne!(from, to);
    let name = to.to_string();
    hands
        .harness
        .get_by_role_and_label(Role::Link, &name)
        .click();
    hands.harness.run_ok();
    assert_eq!(hands.unit(ROW), to);
    hands.line(&format!("region {to} reads from {}", routes(to)[0]));
}

#[test]
fn the_in_degree_counts_who_reads_a_region() {
    let mut hands = hands();
    hands.ask("in-degree");
    let mut seen = std::collections::BTreeSet::new();
    for pixel in PIXELS.into_iter().chain([[225.0, 150.0], [400.0, 250.0]]) {
        let count = readers(region(cell(cat(), MAP, pixel)));
        seen.insert(count);
        hands.reads(pixel, "regions that read here", count as f64);
    }
    assert!(seen.len() > 2, "{seen:?}");
}

#[test]
fn a_token_looks_into_its_routed_regions() {
    let mut hands = hands();
    hands.ask("token attention");
    let mut read = 0;
    for (list, head) in [("mean of heads", None), ("head 2", Some(2))] {
        hands.choose("head", list);
        for pressed in PIXELS {
            hands.press(pressed);
            let from = cell(cat(), MAP, pressed);
            let title = format!(
                "Where the token at cell {}, {} of region {}",
                from[1],
                from[0],
                region(from)
            );
            hands.harness.get_by_label_contains(&title);
            // Every routed region that holds a part of the photograph, where the weights route to any, and others.
            let place = cat().scene.place(MAP);
            let routed = routes(region(from)).into_iter().map(|r| {
                place.to_photo(
                    (r % GRID * SIDE) as f32 + 1.5,
                    (r / GRID * SIDE) as f32 + 1.5,
                )
            });
            let inside =
                |p: &[f32; 2]| (0.0..451.0).contains(&p[0]) && (0.0..300.0).contains(&p[1]);
            let routed: Vec<[f32; 2]> = routed.filter(inside).collect();
            read += routed.len();
            for other in routed.into_iter().chain(PIXELS) {
                let at = cell(cat(), MAP, other);
                hands.reads(other, "token attention", attention(from, at, head));
            }
        }
    }
    assert!(
        read >= PIXELS.len(),
        "only {read} places with any attention were read"
    );
}

/// The share of routing weight that two sizes of the routing have in common.
fn common(from: usize, a: usize, b: usize) -> f64 {
    let mut logits: Vec<f64> = (0..REGIONS).map(|to| affinity(from, to)).collect();
    logits.sort_by(|a, b| b.total_cmp(a));
    let sum = |n: usize| {
        logits[..n]
            .iter()
            .map(|l| (l - logits[0]).exp())
            .sum::<f64>()
    };
    sum(a.min(b)) / sum(a.max(b))
}

#[test]
fn the_routing_at_another_topk_is_compared() {
    let mut hands = hands();
    hands.ask("overlap with another topk");
    for other in [2, 9, 20] {
        let slider = hands
            .harness
            .get_by_role_and_label(Role::Slider, "other topk");
        slider.set_value_accesskit(other as f64);
        hands.harness.run_ok();
        hands.press(PIXELS[0]);
        let from = region(cell(cat(), MAP, PIXELS[0]));
        let (small, large) = (TOPK.min(other), TOPK.max(other));
        let begins = format!(
            "region {from} at topk {TOPK} and {other}: {small} of {large} regions in common, with "
        );
        let line = hands.line(&begins);
        let rest = &line[line.find(&begins).unwrap() + begins.len()..];
        let own = rest.split(' ').next().unwrap();
        shows(&line, own, common(from, TOPK, other), 3);
        let (_, mean) = rest.split_once("; ").unwrap();
        let all = (0..REGIONS).map(|r| common(r, TOPK, other)).sum::<f64>() / REGIONS as f64;
        shows(&line, mean.split(' ').next().unwrap(), all, 3);
        for pixel in PIXELS {
            let at = region(cell(cat(), MAP, pixel));
            hands.reads(pixel, "routing weight in common", common(at, TOPK, other));
        }
    }
    // The curve over all of them, at its first, its last and one between.
    let plot = hands
        .harness
        .get_by_label_contains("share in common over topk: ");
    let rect = plot.rect();
    for part in [0.02, 0.4, 0.98] {
        hover(
            &mut hands.harness,
            rect.min + egui::vec2(part, 0.5) * rect.size(),
        );
        let line = hands.line(" · routing weight ");
        let numbers: Vec<&str> = line
            .split(" · ")
            .map(|p| p.rsplit(' ').next().unwrap())
            .collect();
        let [topk, shared, count] = numbers.as_slice() else {
            panic!("{line}");
        };
        let k: usize = topk.parse().unwrap();
        let mean = (0..REGIONS).map(|r| common(r, TOPK, k)).sum::<f64>() / REGIONS as f64;
        shows(&line, shared, mean, 4);
        shows(&line, count, TOPK.min(k) as f64 / TOPK.max(k) as f64, 4);
    }
}

#[test]
fn the_graph_counts_its_arrows() {
    let mut hands = hands();
    hands.ask("routing graph");
    let from = (0..REGIONS).filter(|r| !is_padding(*r));
    let arrows: usize = from
        .map(|r| routes(r).iter().filter(|to| **to != r).count())
        .sum();
    hands.line(&format!("All {arrows} arrows between regions"));
    hands.press(PIXELS[2]);
    let pressed = region(cell(cat(), MAP, PIXELS[2]));
    hands.line(&format!(
        "region {pressed} reads from {}",
        routes(pressed)[0]
    ));
    for pixel in PIXELS {
        let count = readers(region(cell(cat(), MAP, pixel)));
        hands.reads(pixel, "regions that read here", count as f64);
    }
}

#[test]
fn a_cell_of_the_affinity_matrix_is_read_and_pressed() {
    let mut hands = hands();
    hands.ask("affinity matrix");
    for [row, col] in [[0, 0], [3, 40], [63, 1], [27, 28]] {
        let at = matrix_cell(
            &hands.harness,
            "region affinity matrix",
            REGIONS,
            [row, col],
        );
        press(&mut hands.harness, at);
        assert_eq!(hands.unit(ROW), row);
        hands.line(&format!("region {row} reads from {}", routes(row)[0]));
        let begins = format!("region reads {row} · is read {col} · region affinity ");
        let line = hands.line(&begins);
        shows(&line, &line[begins.len()..], affinity(row, col), 4);
    }
}

#[test]
fn heads_of_a_token_are_compared() {
    let mut hands = hands();
    hands.press(PIXELS[1]);
    hands.ask("head agreement");
    let pressed = cell(cat(), MAP, PIXELS[1]);
    let from = region(pressed);
    let heads: Vec<Vec<f64>> = (0..HEADS).map(|h| keys(from, token(pressed), h)).collect();
    heads_are(&hands.harness, &heads, |key| {
        let routed = routes(from)[key / TOKENS];
        let (y, x) = (key % TOKENS / SIDE, key % SIDE);
        let (y, x) = (routed / GRID * SIDE + y, routed % GRID * SIDE + x);
        format!("cell {x}, {y} in region {routed}")
    });
}
