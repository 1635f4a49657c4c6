//! Questions to the super tokens of row 5: map 40 × 40, 5 × 5 super tokens of 8 × 8, 8 heads.

use attnscope::attention::super_token::SuperTokenTrace;
use egui::accesskit::Role;
use egui::{Rect, vec2};
use egui_kittest::kittest::{NodeT, Queryable};

use crate::reading::{Hands, entropy, heads_are, matrix_cell, shows, words};
use crate::traces::{Traces, three_iterations, traces};
use crate::window::{bundled, hover, press};
use crate::{PIXELS, cat, cell, open, run, trace};

const ROW: usize = 5;
const GRID: usize = 5;
const SIDE: usize = 8;
const TOKENS: usize = GRID * GRID;
const HEADS: usize = 8;
const MAP: [usize; 2] = [40, 40];

fn hands() -> Hands<'static> {
    Hands {
        harness: open("super_token", cat()),
        canvas: "Super tokens canvas",
        outcome: cat(),
    }
}

/// The super token that neighbour `k` of a cell stands for.
fn neighbour(k: usize, [y, x]: [usize; 2]) -> Option<usize> {
    let (row, col) = (y / SIDE + k / 3, x / SIDE + k % 3);
    let inside = (1..=GRID).contains(&row) && (1..=GRID).contains(&col);
    inside.then(|| (row - 1) * GRID + col - 1)
}

/// The nine weights of a cell with the super token of each.
fn nine(traces: &Traces, iteration: usize, [y, x]: [usize; 2]) -> Vec<(Option<usize>, f64)> {
    let affinity = traces.get(&format!("L5.sta.affinity_it{iteration}"));
    let of = |k| (neighbour(k, [y, x]), affinity.at(&[k, y, x]));
    (0..9).map(of).collect()
}

/// What a cell gives to a super token.
fn share(at: [usize; 2], token: usize) -> f64 {
    let all = nine(traces(), 0, at).into_iter();
    all.filter(|w| w.0 == Some(token)).map(|w| w.1).sum()
}

/// The super token with the largest weight.
fn owner(at: [usize; 2]) -> Option<usize> {
    let all = nine(traces(), 0, at);
    let most = all.iter().map(|w| w.1).fold(0.0, f64::max);
    all.iter().find(|w| w.1 == most).unwrap().0
}

/// The super token in whose square a cell lies.
fn square([y, x]: [usize; 2]) -> usize {
    y / SIDE * GRID + x / SIDE
}

/// What a super token reads from another: a head, or the mean of all.
fn attention(from: usize, to: usize, head: Option<usize>) -> f64 {
    let mhsa = traces().get("L5.sta.mhsa");
    match head {
        Some(h) => mhsa.at(&[h, from, to]),
        None => (0..HEADS).map(|h| mhsa.at(&[h, from, to])).sum::<f64>() / HEADS as f64,
    }
}

#[test]
fn nine_weights_stand_under_the_pointer() {
    let mut hands = hands();
    hands.ask("affinity");
    hands.press(PIXELS[0]);
    // Of what was pressed, and of what is pointed at.
    for pixel in PIXELS {
        hands.under(pixel);
        let at = cell(cat(), MAP, pixel);
        let title = format!("weights of cell {}, {}", at[1], at[0]);
        hands.harness.get_by_label(&title);
        let glyph = hands
            .harness
            .get_by_role_and_label(Role::Image, "affinity matrix");
        let rect = glyph.rect();
        let step = rect.size() / vec2(3.0, 6.0);
        for (k, (token, weight)) in nine(traces(), 0, at).into_iter().enumerate() {
            let corner = rect.min + vec2((k % 3) as f32, 2.0 * (k / 3) as f32) * step;
            let half = |i: f32| {
                let room = Rect::from_min_size(corner + vec2(0.0, i * step.y), step);
                let found = words(&hands.harness, room);
                assert_eq!(found.len(), 1, "{found:?}");
                found[0].1.clone()
            };
            let shown: f64 = half(0.0).parse().unwrap();
            assert!((shown - weight).abs() < 5.1e-4, "{k}: {shown} {weight}");
            let name = token.map_or("off grid".into(), |t| t.to_string());
            assert_eq!(half(1.0), name, "weight {k} of cell {at:?}");
        }
    }
}

#[test]
fn the_affinity_is_that_to_the_pressed_super_token() {
    let mut hands = hands();
    hands.ask("affinity");
    for pressed in PIXELS {
        hands.press(pressed);
        let token = owner(cell(cat(), MAP, pressed)).unwrap();
        assert_eq!(hands.unit(ROW), token);
        let cells = (0..40 * 40).filter(|i| owner([i / 40, i % 40]) == Some(token));
        hands.line(&format!("super token {token} owns {} cells", cells.count()));
        for other in PIXELS
            .into_iter()
            .chain([[pressed[0] + 30.0, pressed[1] + 9.0]])
        {
            let at = cell(cat(), MAP, other);
            hands.reads(other, "affinity", share(at, token));
        }
    }
}

#[test]
fn the_partition_names_the_owner() {
    let mut hands = hands();
    hands.ask("partition");
    for pixel in PIXELS {
        let at = cell(cat(), MAP, pixel);
        let token = owner(at).unwrap();
        let line = hands.under(pixel);
        let expected = format!("cell {}, {} · super token {token}", at[1], at[0]);
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[test]
fn what_is_lost_off_the_grid_is_under_the_pointer() {
    let mut hands = hands();
    hands.ask("lost mass");
    let mut some = 0;
    for pixel in PIXELS.into_iter().chain([[440.0, 150.0], [2.0, 120.0]]) {
        let [y, x] = cell(cat(), MAP, pixel);
        let off = nine(traces(), 0, [y, x])
            .into_iter()
            .filter(|w| w.0.is_none());
        let lost: f64 = off.map(|w| w.1).sum();
        let written = traces().get("L5.sta.lost_mass").at(&[y, x]);
        assert!((lost - written).abs() < 1e-6);
        some += usize::from(lost > 0.01);
        hands.reads(pixel, "lost mass", written);
    }
    assert!(some > 1, "nothing is lost anywhere");
}

#[test]
fn entropy_and_movement_are_read_by_iteration() {
    let outcome = run(&bundled(), &[(ROW, "n_iter", 3)], 0.25);
    assert_eq!(trace::<SuperTokenTrace>(&outcome).affinity.len(), 3);
    let mut hands = Hands {
        harness: open("super_token", &outcome),
        canvas: "Super tokens canvas",
        outcome: &outcome,
    };
    hands.ask("how the affinity moved");
    let cells = || (0..40 * 40).map(|i| [i / 40, i % 40]);
    let weights = |iteration, at| -> Vec<f64> {
        let all = nine(three_iterations(), iteration, at);
        all.into_iter().map(|w| w.1).collect()
    };
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / 1600.0;
    let entropies = [0, 1, 2].map(|i| mean(&mut cells().map(|at| entropy(&weights(i, at)))));
    let moved = [1, 2].map(|i| {
        mean(&mut cells().map(|at| {
            let (now, before) = (weights(i, at), weights(i - 1, at));
            let changes = now.iter().zip(&before).map(|(a, b)| (a - b).abs());
            changes.sum::<f64>() / 2.0
        }))
    });
    assert!(moved[0] > 0.001, "{moved:?}");
    for (start, series, values, first) in [
        (
            "entropy, bits over iteration: entropy ",
            "entropy",
            &entropies[..],
            1,
        ),
        ("share moved over iteration: moved ", "moved", &moved[..], 2),
    ] {
        let plot = hands.harness.get_by_label_contains(start);
        let rect = plot.rect();
        let label = hands.line(start);
        shows(start, &label[start.len()..], *values.last().unwrap(), 4);
        for (i, value) in values.iter().enumerate() {
            // The points stand at even distances, the first and the last near the edges.
            let part = (i as f32 + 0.5) / values.len() as f32;
            hover(&mut hands.harness, rect.min + vec2(part, 0.5) * rect.size());
            let begins = format!("iteration {} · {series} ", i + first);
            let line = hands.line(&begins);
            shows(&line, &line[begins.len()..], *value, 4);
        }
    }
}

#[test]
fn token_attention_is_read_forwards_and_backwards_per_head_and_averaged() {
    let mut hands = hands();
    for (question, backwards) in [("token attention", false), ("is read by", true)] {
        hands.ask(question);
        for (list, head) in [
            ("mean of heads", None),
            ("head 3", Some(3)),
            ("head 0", Some(0)),
        ] {
            hands.choose("head", list);
            hands.press(PIXELS[1]);
            let token = owner(cell(cat(), MAP, PIXELS[1])).unwrap();
            for other in PIXELS {
                let at = square(cell(cat(), MAP, other));
                let expected = match backwards {
                    false => attention(token, at, head),
                    true => attention(at, token, head),
                };
                let line = hands.under(other);
                let number = line.rsplit(' ').next().unwrap();
                shows(&line, number, expected, 4);
            }
        }
    }
}

#[test]
fn a_cell_of_the_token_matrix_is_read_and_pressed() {
    let mut hands = hands();
    hands.ask("token matrix");
    for (list, head) in [("mean of heads", None), ("head 5", Some(5))] {
        hands.choose("head", list);
        for [row, col] in [[0, 0], [7, 12], [24, 3], [11, 24]] {
            let at = matrix_cell(&hands.harness, "token attention matrix", TOKENS, [row, col]);
            press(&mut hands.harness, at);
            assert_eq!(hands.unit(ROW), row);
            let begins = format!("super token reads {row} · is read {col} · token attention ");
            let line = hands.line(&begins);
            shows(&line, &line[begins.len()..], attention(row, col, head), 4);
        }
    }
}

#[test]
fn pixel_to_pixel_is_all_three_steps_in_one() {
    let mut hands = hands();
    hands.ask("pixel to pixel");
    let mass: Vec<f64> = (0..TOKENS)
        .map(|t| (0..40 * 40).map(|i| share([i / 40, i % 40], t)).sum())
        .collect();
    let columns = traces().get("L5.sta.column_sum");
    for (t, mass) in mass.iter().enumerate() {
        assert!((mass - columns.at(&[t / GRID, t % GRID])).abs() < 1e-3);
    }
    for (list, head) in [("mean of heads", None), ("head 6", Some(6))] {
        hands.choose("head", list);
        for pressed in PIXELS {
            hands.press(pressed);
            let p = cell(cat(), MAP, pressed);
            let reads: Vec<f64> = (0..TOKENS)
                .map(|j| {
                    let through = |i| share(p, i) * attention(i, j, head);
                    (0..TOKENS).map(through).sum::<f64>() / mass[j]
                })
                .collect();
            for other in PIXELS {
                let q = cell(cat(), MAP, other);
                let weight = (0..TOKENS).map(|j| reads[j] * share(q, j)).sum();
                hands.reads(other, "weight", weight);
            }
            let lost: f64 = 1.0 - (0..TOKENS).map(|t| share(p, t)).sum::<f64>();
            let line = hands.line(&format!("cell {}, {} reads ", p[1], p[0]));
            let whole = line.split(' ').nth(4).unwrap();
            shows(&line, whole, 1.0 - lost, 3);
        }
    }
}

#[test]
fn heads_of_a_super_token_are_compared() {
    let mut hands = hands();
    hands.press(PIXELS[2]);
    hands.ask("head agreement");
    let token = owner(cell(cat(), MAP, PIXELS[2])).unwrap();
    let heads: Vec<Vec<f64>> = (0..HEADS)
        .map(|h| (0..TOKENS).map(|t| attention(token, t, Some(h))).collect())
        .collect();
    heads_are(&hands.harness, &heads, |t| format!("super token {t}"));
    // What a head reads most can be followed.
    let most = |head: &Vec<f64>| {
        (0..TOKENS)
            .max_by(|a, b| head[*a].total_cmp(&head[*b]))
            .unwrap()
    };
    let next = most(&heads[2]);
    let name = format!("super token {next}");
    hands
        .harness
        .get_all_by_role(Role::Link)
        .find(|node| node.accesskit_node().label().as_ref() == Some(&name))
        .unwrap()
        .click();
    hands.harness.run_ok();
    assert_eq!(hands.unit(ROW), next);
}
