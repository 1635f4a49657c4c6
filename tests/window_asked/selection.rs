//! One selection: what is pressed in one pane is selected in all of them, and told in words.

use attnscope::app::pane::Selection;
use egui::{Rect, Theme};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use crate::reading::{Hands, lines, shows};
use crate::traces::traces;
use crate::window::{Window, cat};
use crate::{SIZE, cell, open};

/// Every pane with a picture to press.
const PANES: [(&str, &str); 5] = [
    ("detections", "Detections canvas"),
    ("super_token", "Super tokens canvas"),
    ("routing", "Routed regions canvas"),
    ("polarized", "Polarized weights canvas"),
    ("position_sensitive", "Position-sensitive attention canvas"),
];
/// On the cat's head, where no weight is lost.
const PIXEL: [f32; 2] = [222.5, 128.5];

/// What is selected after a press in a pane.
fn pressed(pane: &str, canvas: &'static str) -> Selection {
    let mut hands = Hands {
        harness: open(pane, cat()),
        canvas,
        outcome: cat(),
    };
    hands.press(PIXEL);
    hands.harness.state().selection.clone()
}

/// A pane with what was selected in another.
fn seen(pane: &str, selection: &Selection) -> Harness<'static, Window> {
    let mut window = Window::new(pane, Some(cat()));
    window.selection = selection.clone();
    window.open([SIZE[0], 900.0], Theme::Dark)
}

/// The super token with the largest weight at the pixel.
fn super_token() -> usize {
    let [y, x] = cell(cat(), [40, 40], PIXEL);
    let weights = traces().get("L5.sta.affinity_it0");
    let all = (0..9).map(|k| weights.at(&[k, y, x]));
    let largest = all.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    let k = largest.unwrap().0;
    (y / 8 + k / 3 - 1) * 5 + x / 8 + k % 3 - 1
}

fn region() -> usize {
    let [y, x] = cell(cat(), [20, 20], PIXEL);
    y / 3 * 8 + x / 3
}

#[test]
fn a_press_in_one_pane_is_selected_in_every_other() {
    for (pane, canvas) in PANES {
        let selection = pressed(pane, canvas);
        let [x, y] = selection.point.unwrap();
        assert!((x - PIXEL[0]).abs() < 0.1 && (y - PIXEL[1]).abs() < 0.1);
        assert_eq!(selection.detection, Some(0), "{pane}: the box of the cat");
        let tokens = seen("super_token", &selection);
        tokens.get_by_label_contains(&format!("super token {} owns ", super_token()));
        assert_eq!(tokens.state().selection.units[&5], super_token());
        let regions = seen("routing", &selection);
        regions.get_by_label_contains(&format!("region {} reads from ", region()));
        assert_eq!(regions.state().selection.units[&8], region());
        let positions = seen("position_sensitive", &selection);
        let [y, x] = cell(cat(), [10, 10], PIXEL);
        positions.get_by_label_contains(&format!("position {x}, {y} · 2 heads"));
        assert_eq!(positions.state().selection.units[&12], y * 10 + x);
        let boxes = seen("detections", &selection);
        assert_eq!(boxes.state().selection.detection, Some(0));
        let told = seen("selected", &selection);
        told.get_by_label(&format!("super token {}", super_token()));
    }
}

/// What a layer says of the place: the lines below its title.
fn facts(lines: &[Vec<String>], row: usize) -> Vec<[String; 2]> {
    let title = format!("row {row} ");
    let start = lines.iter().position(|l| l[0].starts_with(&title)).unwrap();
    let pairs = lines[start + 1..].iter();
    let pairs = pairs.map_while(|l| <[String; 2]>::try_from(l.clone()).ok());
    pairs.collect()
}

fn fact<'a>(facts: &'a [[String; 2]], name: &str) -> &'a str {
    let found = facts.iter().find(|f| f[0] == name);
    &found.unwrap_or_else(|| panic!("no {name} in {facts:?}"))[1]
}

/// Rank of a value among all, 1 for the largest.
fn rank(name: &str, at: [usize; 2]) -> usize {
    let all = traces().get(name);
    let value = all.at(&at) as f32;
    all.data.iter().filter(|v| **v > value).count() + 1
}

#[test]
fn the_pressed_place_is_told_in_words_and_numbers() {
    let selection = pressed("routing", "Routed regions canvas");
    let harness = seen("selected", &selection);
    let photo = image::open("assets/samples/chelsea.png").unwrap().to_rgb8();
    let [r, g, b] = photo.get_pixel(PIXEL[0] as u32, PIXEL[1] as u32).0;
    harness.get_by_label(&format!("px 222, 128 · red {r}, green {g}, blue {b}"));
    let score = cat().detected.list[0].score;
    harness.get_by_label_contains(&format!("in the box of cat {score:.2}"));
    let lines = lines(&harness, Rect::EVERYTHING);

    let tokens = facts(&lines, 5);
    let [y, x] = cell(cat(), [40, 40], PIXEL);
    assert_eq!(fact(&tokens, "cell"), format!("{x}, {y} of 40 × 40"));
    assert_eq!(
        fact(&tokens, "owner"),
        format!("super token {}", super_token())
    );
    let weights = traces().get("L5.sta.affinity_it0");
    let mut nine: Vec<(f64, usize)> = (0..9)
        .map(|k| {
            (
                weights.at(&[k, y, x]),
                (y / 8 + k / 3 - 1) * 5 + x / 8 + k % 3 - 1,
            )
        })
        .collect();
    nine.sort_by(|a, b| b.0.total_cmp(&a.0));
    let three: Vec<String> = nine[..3]
        .iter()
        .map(|(w, t)| format!("{t}: {w:.2}"))
        .collect();
    assert_eq!(fact(&tokens, "largest weights"), three.join(", "));
    assert_eq!(fact(&tokens, "lost share"), "0");
    let token = super_token();
    let mass = traces()
        .get("L5.sta.column_sum")
        .at(&[token / 5, token % 5]);
    let shown = fact(&tokens, "mass").strip_suffix(" cells").unwrap();
    shows("mass", shown, mass, 3);
    let mhsa = traces().get("L5.sta.mhsa");
    let reads = |to: usize| (0..8).map(|h| mhsa.at(&[h, token, to])).sum::<f64>() / 8.0;
    let most = (0..25)
        .max_by(|a, b| reads(*a).total_cmp(&reads(*b)))
        .unwrap();
    let (name, shown) = fact(&tokens, "reads most from").split_once(", ").unwrap();
    assert_eq!(name, format!("super token {most}"));
    shows("reads most from", shown, reads(most), 3);
    assert_eq!(fact(&tokens, "n_iter"), "1");

    let regions = facts(&lines, 8);
    assert_eq!(fact(&regions, "region"), region().to_string());
    let [routed, weights] = ["r_idx", "r_weight"].map(|n| traces().get(&format!("L8.bra.{n}")));
    let four: Vec<String> = (0..4)
        .map(|k| {
            format!(
                "{} {:.2}",
                routed.at(&[region(), k]),
                weights.at(&[region(), k])
            )
        })
        .collect();
    assert_eq!(fact(&regions, "reads from"), four.join(", "));
    let readers = routed
        .data
        .iter()
        .filter(|r| **r as usize == region())
        .count();
    let expected = if readers == 1 {
        "1 region".into()
    } else {
        format!("{readers} regions")
    };
    assert_eq!(fact(&regions, "read by"), expected);
    assert_eq!(fact(&regions, "topk"), "4");

    let weights = facts(&lines, 19);
    for (name, array) in [
        ("spatial weight", "L19.psa.sw"),
        ("channel query", "L19.psa.q_map"),
    ] {
        let (shown, place) = fact(&weights, name).split_once(", ").unwrap();
        shows(name, shown, traces().get(array).at(&[y, x]), 4);
        assert_eq!(place, format!("rank {} of 1600", rank(array, [y, x])));
    }

    for row in [12, 25] {
        let positions = facts(&lines, row);
        let [y, x] = cell(cat(), [10, 10], PIXEL);
        assert_eq!(fact(&positions, "position"), format!("{x}, {y}"));
        let received = traces().get(&format!("L{row}.pos.received0"));
        let mean = (received.at(&[0, y, x]) + received.at(&[1, y, x])) / 2.0;
        let (shown, times) = fact(&positions, "received").split_once(", ").unwrap();
        shows("received", shown, mean, 3);
        shows(
            "received",
            times.strip_suffix(" × the mean").unwrap(),
            100.0 * mean,
            3,
        );
    }
}
