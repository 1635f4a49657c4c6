//! The pane of all layers: the list, the feature maps and one of them large.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use attnscope::attention::Watch;
use attnscope::engine::{Outcome, Settings, rows};
use attnscope::measure::Activation;
use attnscope::picture::numbers::value_label;
use attnscope::picture::{RangeRule, range_words};
use egui::accesskit::Role;
use egui::{Key, Rect, Theme};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use crate::window::{Window, bundled, canvas, hover, on_canvas, press, run_with, text};

const SIZE: [f32; 2] = [1000.0, 620.0];
const CANVAS: &str = "Feature map canvas";
/// A row of 256 channels.
const WIDE: usize = 10;

fn outcome(row: usize) -> Outcome {
    let mut settings = Settings::default();
    settings.watch_all(&bundled(), &Watch::Off);
    settings.features = Some(row);
    run_with(&bundled(), settings)
}

fn wide() -> &'static Outcome {
    static WIDE_ROW: OnceLock<Outcome> = OnceLock::new();
    WIDE_ROW.get_or_init(|| outcome(WIDE))
}

fn open(outcome: &Outcome, row: usize) -> Harness<'static, Window> {
    let mut window = Window::new("layers", Some(outcome));
    window.selection.layer = Some(row);
    window.open(SIZE, Theme::Dark)
}

/// The channels that are in sight with their places, as they are read.
fn tiles(harness: &Harness<'_, Window>) -> Vec<(usize, Rect)> {
    let is_tile = |label: &str| label.strip_prefix("channel ")?.parse().ok();
    let nodes = harness.get_all_by_role(Role::Button);
    let mut tiles: Vec<(usize, Rect)> = nodes
        .filter_map(|node| Some((is_tile(&node.accesskit_node().label()?)?, node.rect())))
        .collect();
    let key = |r: &Rect| (r.top() as i64, r.left() as i64);
    tiles.sort_by_key(|(_, rect)| key(rect));
    tiles
}

fn channels(harness: &Harness<'_, Window>) -> Vec<usize> {
    tiles(harness)
        .into_iter()
        .map(|(channel, _)| channel)
        .collect()
}

fn choose(harness: &mut Harness<'_, Window>, combo: &str, entry: &str) {
    harness.get_by_role_and_label(Role::ComboBox, combo).click();
    harness.run_ok();
    harness.get_by_role_and_label(Role::Button, entry).click();
    harness.run_ok();
}

#[test]
fn the_list_names_every_row_and_a_press_chooses_one() {
    let mut harness = open(wide(), WIDE);
    let listed = rows(&bundled(), &Settings::default());
    assert_eq!(listed.len(), 28);
    for info in &listed {
        let attention = info.mechanism.map_or("", |_| ", attention");
        harness.get_by_label(&format!("layer {} {}{attention}", info.row, info.module));
    }
    harness.get_by_label("layer 3 Conv").click();
    harness.run_ok();
    assert_eq!(harness.state().selection.layer, Some(3));
    // The maps of the other row are not taken for those of this one.
    assert!(tiles(&harness).is_empty());
    harness.get_by_label("analysing…");
}

#[test]
fn arrow_keys_step_through_the_list_as_it_is_sorted() {
    let mut harness = open(wide(), WIDE);
    harness.get_by_label("layer 3 Conv").focus();
    harness.run_ok();
    harness.key_press(Key::ArrowDown);
    harness.run_ok();
    assert_eq!(harness.state().selection.layer, Some(4));
    harness.key_press(Key::ArrowUp);
    harness.run_ok();
    harness.key_press(Key::ArrowUp);
    harness.run_ok();
    assert_eq!(harness.state().selection.layer, Some(2));
    // By parameters, the largest first.
    harness.get_by_label("sort by params").click();
    harness.run_ok();
    let mut listed = rows(&bundled(), &Settings::default());
    listed.sort_by_key(|info| std::cmp::Reverse(info.parameters));
    let first = &listed[0];
    let attention = first.mechanism.map_or("", |_| ", attention");
    harness
        .get_by_label(&format!("layer {} {}{attention}", first.row, first.module))
        .focus();
    harness.run_ok();
    harness.key_press(Key::ArrowDown);
    harness.run_ok();
    assert_eq!(harness.state().selection.layer, Some(listed[1].row));
    harness.key_press(Key::ArrowUp);
    harness.key_press(Key::ArrowUp);
    harness.run_ok();
    assert_eq!(harness.state().selection.layer, Some(first.row));
}

#[test]
fn maps_stand_in_the_order_of_their_activation() {
    let mut harness = open(wide(), WIDE);
    let maps = &wide().features.as_ref().unwrap().maps;
    assert_eq!(maps.count(), 256);
    let in_sight = channels(&harness);
    assert!(in_sight.len() > 20, "{in_sight:?}");
    assert_eq!(
        in_sight,
        maps.order(Some(Activation::MeanAbsolute))[..in_sight.len()]
    );
    for by in [Activation::Maximum, Activation::Variance] {
        choose(&mut harness, "sorted by", by.name());
        assert_eq!(channels(&harness), maps.order(Some(by))[..in_sight.len()]);
    }
    choose(&mut harness, "sorted by", "channel number");
    assert_eq!(channels(&harness), (0..in_sight.len()).collect::<Vec<_>>());
    // What lies under the pointer is named with its rank and range.
    choose(&mut harness, "sorted by", "maximum");
    let (channel, rect) = tiles(&harness)[2];
    hover(&mut harness, rect.center());
    let expected = format!(
        "channel {channel} · maximum {} · rank 3 of 256 · {}",
        value_label(maps.numbers[channel].max, 4),
        range_words(maps.range(channel))
    );
    harness.get_by_label(&expected);
}

#[test]
fn only_maps_in_sight_are_made() {
    let harness = open(wide(), WIDE);
    let in_sight = tiles(&harness).len();
    let textures = harness.ctx.tex_manager().read().num_allocated();
    // Beside them the font.
    assert!(
        in_sight < 256 && textures <= in_sight + 2,
        "{textures} for {in_sight}"
    );
    assert!(textures >= in_sight, "{textures} for {in_sight}");
    assert_eq!(
        channels(&harness).iter().collect::<BTreeSet<_>>().len(),
        in_sight
    );
}

#[test]
fn a_press_enlarges_a_map_and_shows_its_numbers() {
    let mut harness = open(wide(), WIDE);
    let maps = wide().features.as_ref().unwrap().maps.clone();
    let [h, w] = maps.size();
    let place = wide().scene.place([h, w]);
    for (nth, back) in [(0, "key"), (4, "press"), (7, "button")] {
        let channel = channels(&harness)[nth];
        harness.get_by_label(&format!("channel {channel}")).click();
        harness.run_ok();
        assert_eq!(harness.state().selection.channel, Some(channel));
        let rect = canvas(&harness, CANVAS);
        for pixel in [[80.0, 60.0], [300.0, 170.0], [201.0, 240.0]] {
            hover(&mut harness, on_canvas(rect, wide(), pixel));
            let [x, y] = place.to_map(pixel[0], pixel[1]);
            let [x, y] = [x as usize, y as usize];
            let value = maps.values.at(&[channel, y, x]);
            let line = text(&harness, "px ");
            let expected = format!(" · cell {x}, {y} · activation {}", value_label(value, 4));
            assert!(line.ends_with(&expected), "{line} {expected}");
        }
        // The bar says over what the colours run, and what this map holds.
        let [all, own] = [maps.common_range(), maps.range(channel)].map(range_words);
        harness.get_by_label(&format!("activation {all} (shared), map {own}"));
        assert!(tiles(&harness).is_empty());
        match back {
            "key" => harness.key_press(Key::Escape),
            "press" => press(&mut harness, rect.center()),
            _ => harness.get_by_label("All maps").click(),
        }
        harness.run_ok();
        assert!(harness.query_by_label(CANVAS).is_none(), "{back}");
        assert!(!tiles(&harness).is_empty());
        assert_eq!(harness.state().selection.point, None);
    }
}

#[test]
fn arrow_keys_go_through_the_enlarged_maps() {
    let mut harness = open(wide(), WIDE);
    let order = channels(&harness);
    harness
        .get_by_label(&format!("channel {}", order[0]))
        .click();
    harness.run_ok();
    harness.get_by_label(CANVAS).focus();
    harness.run_ok();
    for expected in [order[1], order[2]] {
        harness.key_press(Key::ArrowRight);
        harness.run_ok();
        assert_eq!(harness.state().selection.channel, Some(expected));
    }
    for _ in 0..5 {
        harness.key_press(Key::ArrowLeft);
        harness.run_ok();
    }
    assert_eq!(harness.state().selection.channel, Some(order[0]));
}

#[test]
fn one_range_for_all_or_one_for_each() {
    let mut harness = open(wide(), WIDE);
    let maps = &wide().features.as_ref().unwrap().maps;
    let common = format!("activation {}", range_words(maps.common_range()));
    harness.get_by_label(&common);
    harness.get_by_label("common range").click();
    harness.run_ok();
    assert_eq!(harness.state().looks["layers"].rule, RangeRule::Own);
    assert!(harness.query_by_label(&common).is_none(), "no bar for all");
    let channel = channels(&harness)[0];
    harness.get_by_label(&format!("channel {channel}")).click();
    harness.run_ok();
    let own = range_words(maps.range(channel));
    harness.get_by_label(&format!("activation {own}"));
    harness.get_by_label("common range").click();
    harness.run_ok();
    assert_eq!(harness.state().looks["layers"].rule, RangeRule::Shared);
}

#[test]
fn a_row_without_maps_says_so() {
    let harness = open(&outcome(27), 27);
    harness.get_by_label_contains("Row 27 Detect puts out boxes and scores, no feature maps");
    assert!(tiles(&harness).is_empty());
}

#[test]
fn without_a_choice_the_first_attention_row_is_shown() {
    for layer in [None, Some(999)] {
        let mut window = Window::new("layers", Some(wide()));
        window.selection.layer = layer;
        let harness = window.open(SIZE, Theme::Light);
        assert_eq!(harness.state().selection.layer, Some(5));
    }
}

#[test]
fn tall_narrow_and_tiny_panes_hold_together() {
    for size in [[40.0, 30.0], [120.0, 900.0], [2400.0, 90.0], [350.0, 300.0]] {
        for enlarged in [false, true] {
            let mut window = Window::new("layers", Some(wide()));
            window.selection.layer = Some(WIDE);
            let mut harness = window.open(size, Theme::Dark);
            if let Some((channel, _)) = tiles(&harness).first().filter(|_| enlarged) {
                harness.get_by_label(&format!("channel {channel}")).click();
                harness.run_ok();
            }
            harness.run_steps(2);
        }
    }
}
