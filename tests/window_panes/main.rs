//! The panes on a real picture: what a press selects, and that the texts say what the trace holds.

mod every;
mod layers;
mod shots;
mod window;

use attnscope::attention::Watch;
use attnscope::attention::polarized::PolarizedTrace;
use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::engine::{Outcome, Settings};
use attnscope::picture::numbers::value_label;
use attnscope::picture::{Look, Range};
use egui::accesskit::Role;
use egui::{Theme, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use window::{
    Window, ask, bundled, canvas, cat, hover, on_canvas, press, run, run_with, text, trace,
};

const SIZE: [f32; 2] = [800.0, 450.0];

fn open(pane: &str, outcome: &Outcome) -> Harness<'static, Window> {
    Window::new(pane, Some(outcome)).open(SIZE, Theme::Dark)
}

/// The cell of a map (row, column) under a pixel of the photograph.
fn cell(outcome: &Outcome, map: [usize; 2], [x, y]: [f32; 2]) -> [usize; 2] {
    let [x, y] = outcome.scene.place(map).to_map(x, y);
    [y as usize, x as usize]
}

#[test]
fn a_press_selects_the_super_token_that_owns_the_pixel() {
    let mut harness = open("super_token", cat());
    let sta: &SuperTokenTrace = trace(cat());
    for pixel in [[80.0, 60.0], [300.0, 170.0], [201.0, 240.0]] {
        let rect = canvas(&harness, "Super tokens canvas");
        press(&mut harness, on_canvas(rect, cat(), pixel));
        let [y, x] = cell(cat(), sta.map, pixel);
        let owner = sta.owner(0, y, x).unwrap();
        assert_eq!(harness.state().selection.units[&5], owner);
        harness.get_by_label_contains(&format!("super token {owner} owns "));
        // The press shows the soft affinity, and its exact value is under the pointer.
        let value = sta.soft_map(0, owner).values[y * sta.padded[1] + x];
        let line = text(&harness, "px ");
        let expected = format!(
            " · cell {x}, {y} · super token {owner} · affinity {}",
            value_label(value, 4)
        );
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[test]
fn the_slider_goes_through_the_iterations() {
    let outcome = run(&bundled(), &[(5, "n_iter", 3)], 0.25);
    let mut harness = open("super_token", &outcome);
    let sta: &SuperTokenTrace = trace(&outcome);
    assert_eq!(sta.affinity.len(), 3);
    let rect = canvas(&harness, "Super tokens canvas");
    let pixel = [250.0, 140.0];
    press(&mut harness, on_canvas(rect, &outcome, pixel));
    let token = harness.state().selection.units[&5];
    let [y, x] = cell(&outcome, sta.map, pixel);
    let mut seen = Vec::new();
    for shown in [1, 2, 3] {
        let slider = harness.get_by_role_and_label(Role::Slider, "iteration");
        slider.set_value_accesskit(f64::from(shown));
        harness.run_ok();
        hover(&mut harness, on_canvas(rect, &outcome, pixel));
        let iteration = shown as usize - 1;
        let expected = (iteration < 2).then_some(iteration);
        assert_eq!(harness.state().selection.iteration, expected);
        let value = sta.soft_map(iteration, token).values[y * sta.padded[1] + x];
        let line = text(&harness, "px ");
        assert!(line.ends_with(&value_label(value, 4)), "{line} {value}");
        seen.push(value);
    }
    assert!(seen[0] != seen[2], "the iterations differ: {seen:?}");
    // The column beside the picture shows the nine weights of the last iteration.
    let [_, middle, ..] = sta.weights_at(2, y, x)[..] else {
        panic!("nine weights");
    };
    assert!(
        harness
            .query_all_by_label(&format!("{:.3}", middle.1))
            .count()
            > 0
    );
}

#[test]
fn the_mean_lost_share_is_that_of_the_map() {
    let harness = open("super_token", cat());
    let sta: &SuperTokenTrace = trace(cat());
    let lost = sta.lost_mass(0);
    let [h, w] = sta.map;
    let mut sum = 0.0f64;
    for y in 0..h {
        for x in 0..w {
            sum += f64::from(lost.values[y * sta.padded[1] + x]);
        }
    }
    let mean = value_label((sum / (h * w) as f64) as f32, 3);
    harness.get_by_label_contains(&format!("mean lost share {mean}"));
}

#[test]
fn cells_of_one_pixel_are_explained() {
    let outcome = run(&bundled(), &[(5, "stoken_size", 1)], 0.25);
    let harness = open("super_token", &outcome);
    harness.get_by_label_contains("every pixel is its own super token");
    // The badge of the trace is on the picture too.
    harness.get_by_label("stoken_size 1x1 is outside the trained range 2 to 12");
}

#[test]
fn a_super_token_stays_in_place_when_the_cells_change() {
    let mut harness = open("super_token", cat());
    let rect = canvas(&harness, "Super tokens canvas");
    let pixel = [350.0, 90.0];
    press(&mut harness, on_canvas(rect, cat(), pixel));
    let finer = run(&bundled(), &[(5, "stoken_size", 4)], 0.25);
    harness.state_mut().snapshot.traces = finer.traces.clone();
    harness.run_ok();
    let sta: &SuperTokenTrace = trace(&finer);
    let [y, x] = cell(&finer, sta.map, pixel);
    let owner = sta.owner(0, y, x).unwrap();
    assert_eq!(harness.state().selection.units[&5], owner);
}

#[test]
fn a_pressed_region_says_where_it_reads_from() {
    // Without the border the photograph alone fits the canvas.
    let mut window = Window::new("routing", Some(cat()));
    window.looks.insert("routing".into(), Look::default());
    let mut harness = window.open(SIZE, Theme::Dark);
    let bra: &RoutingTrace = trace(cat());
    for pixel in [[60.0, 60.0], [225.0, 150.0], [400.0, 250.0]] {
        let rect = canvas(&harness, "Routed regions canvas");
        press(&mut harness, on_canvas(rect, cat(), pixel));
        let [y, x] = cell(cat(), bra.map, pixel);
        let region = bra.region_at(y, x).unwrap();
        assert_eq!(harness.state().selection.units[&8], region);
        let list: Vec<String> = bra.routed.row(region).iter().map(u32::to_string).collect();
        assert_eq!(list.len(), bra.topk);
        harness.get_by_label_contains(&format!("region {region} reads from {}", list.join(", ")));
        let line = text(&harness, "px ");
        let value = bra.affinity.at(&[region, region]);
        let expected = format!(
            "· region {region} · region affinity {}",
            value_label(value, 4)
        );
        assert!(line.ends_with(&expected), "{line}");
    }
    // Pointing elsewhere previews, the pin stays.
    let pinned = harness.state().selection.units.clone();
    let rect = canvas(&harness, "Routed regions canvas");
    hover(&mut harness, on_canvas(rect, cat(), [60.0, 60.0]));
    let [y, x] = cell(cat(), bra.map, [60.0, 60.0]);
    let region = bra.region_at(y, x).unwrap();
    let line = text(&harness, "px ");
    assert!(line.contains(&format!("· region {region} ·")), "{line}");
    assert_eq!(harness.state().selection.units, pinned);
}

#[test]
fn regions_of_padding_are_explained() {
    let harness = open("routing", cat());
    let bra: &RoutingTrace = trace(cat());
    let padding = (0..bra.regions()).filter(|r| bra.is_padding(*r)).count();
    assert_eq!((padding, bra.regions()), (15, 64));
    harness.get_by_label_contains("15 of 64 regions are grey: they hold only padding");
}

#[test]
fn token_attention_is_asked_for_before_it_is_shown() {
    let mut settings = Settings::default();
    settings.watch_all(&bundled(), &Watch::Focus(Vec::new()));
    let mut harness = open("routing", &run_with(&bundled(), settings));
    ask(&mut harness, "token attention");
    let bra: &RoutingTrace = trace(cat());
    let asked = harness.state().selection.units.get(&8).copied();
    assert_eq!(asked, Some(bra.central_region()));
    // The answer arrives.
    harness.state_mut().snapshot.traces = cat().traces.clone();
    harness.run_ok();
    let [h, w] = bra.region;
    let map = bra
        .token_map(asked.unwrap(), (h / 2) * w + w / 2, None)
        .unwrap();
    let range = Range::of(&map.values);
    harness.get_by_label_contains(&format!("to {}", value_label(range.max, 4)));
}

#[test]
fn a_pressed_bar_selects_its_channel() {
    let mut harness = open("polarized", cat());
    let psa: &PolarizedTrace = trace(cat());
    let weights = psa.channel_weight.data();
    let sorted = psa.channel_bars().sorted();
    let plot = harness.get_by_label("channel weight plot").rect();
    let mut ranks = Vec::new();
    for part in [0.2, 0.5, 0.9] {
        press(&mut harness, plot.min + vec2(part, 0.8) * plot.size());
        let channel = harness.state().selection.channel.unwrap();
        let weight = value_label(weights[channel], 4);
        harness.get_by_label_contains(&format!("channel {channel} weighs {weight}"));
        let rank = sorted.iter().position(|c| *c == channel).unwrap();
        let described = format!(
            "channel {channel} · channel weight {weight} · rank {} of {}",
            rank + 1,
            weights.len()
        );
        harness.get_by_label(&described);
        ranks.push(rank);
    }
    assert!(
        ranks.is_sorted() && ranks[0] < 16 && ranks[2] > 48,
        "{ranks:?}"
    );
    // In the order of the channels the last bars are the last channels.
    harness.get_by_label("sorted").click();
    harness.run_ok();
    press(&mut harness, plot.min + vec2(0.97, 0.8) * plot.size());
    let channel = harness.state().selection.channel.unwrap();
    assert!(channel > weights.len() * 9 / 10, "{channel}");
}

#[test]
fn the_factor_of_the_parallel_form_is_stated() {
    let harness = open("polarized", cat());
    let psa: &PolarizedTrace = trace(cat());
    let [s, c] = [&psa.spatial_weight, &psa.channel_weight].map(|a| Range::of(a.data()));
    let [low, high] = [s.min + c.min, s.max + c.max].map(|v| value_label(v, 3));
    harness.get_by_label_contains(&format!("parallel: factor {low} to {high} of 0 to 2"));
}

#[test]
fn a_pressed_box_is_selected_and_listed() {
    let mut harness = open("detections", cat());
    harness.get_by_label("1 detection");
    let found = &cat().detected.list[0];
    let [x0, y0, x1, y1] = found.rect;
    let rect = canvas(&harness, "Detections canvas");
    let middle = [(x0 + x1) / 2.0, (y0 + y1) / 2.0];
    press(&mut harness, on_canvas(rect, cat(), middle));
    assert_eq!(harness.state().selection.detection, Some(0));
    let size = format!("{:.0} × {:.0} px", x1 - x0, y1 - y0);
    assert_eq!(
        harness.query_all_by_label_contains(&size).count(),
        2,
        "{size}"
    );
    // The scores of the five best classes are beside the pointer.
    let mut scores = found.scores.clone();
    scores.sort_by(|a, b| b.total_cmp(a));
    for score in &scores[..5] {
        harness.get_by_label(&value_label(*score, 3));
    }
    // A second press on the line of the list takes the selection back.
    let name = &cat().scene.model.classes[found.class];
    let line = format!("{name} {:.2}", found.score);
    harness.get_by_role_and_label(Role::Button, &line).click();
    harness.run_ok();
    assert_eq!(harness.state().selection.detection, None);
}

#[test]
fn one_press_selects_what_lies_there_in_every_layer() {
    let mut harness = open("detections", cat());
    let rect = canvas(&harness, "Detections canvas");
    let pixel = [120.0, 95.0];
    press(&mut harness, on_canvas(rect, cat(), pixel));
    let selection = harness.state().selection.clone();
    let bra: &RoutingTrace = trace(cat());
    let [y, x] = cell(cat(), bra.map, pixel);
    let mut window = Window::new("routing", Some(cat()));
    window.selection = selection.clone();
    let routed = window.open(SIZE, Theme::Dark);
    assert_eq!(
        routed.state().selection.units.get(&8).copied(),
        bra.region_at(y, x)
    );
    let sta: &SuperTokenTrace = trace(cat());
    let [y, x] = cell(cat(), sta.map, pixel);
    let mut window = Window::new("super_token", Some(cat()));
    window.selection = selection;
    let tokens = window.open(SIZE, Theme::Dark);
    assert_eq!(
        tokens.state().selection.units.get(&5).copied(),
        sta.owner(0, y, x)
    );
}

#[test]
fn an_empty_list_says_what_would_help() {
    let harness = open("detections", &run(&bundled(), &[], 0.95));
    harness.get_by_label("0 detections");
    harness.get_by_label("Nothing scored above 0.95. Lowering the confidence shows more.");
}
