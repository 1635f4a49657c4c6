//! Questions to the polarized weights of row 19: map 40 × 40, 64 channels, the parallel form.

use egui::accesskit::Role;
use egui::{Key, Pos2};
use egui_kittest::kittest::Queryable;

use crate::reading::{Hands, entropy, lines_below, shows};
use crate::traces::{Numbers, traces};
use crate::window::{hover, press};
use crate::{PIXELS, cat, cell, open};

const MAP: [usize; 2] = [40, 40];
const CHANNELS: usize = 64;

fn hands() -> Hands<'static> {
    Hands {
        harness: open("polarized", cat()),
        canvas: "Polarized weights canvas",
        outcome: cat(),
    }
}

fn channel_weights() -> &'static Numbers {
    traces().get("L19.psa.cw")
}

/// Channels from the largest weight to the smallest.
fn ranked(weights: &Numbers) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.data.len()).collect();
    order.sort_by(|a, b| weights.at(&[*b]).total_cmp(&weights.at(&[*a])));
    order
}

fn spread(weights: &Numbers) -> f64 {
    let weights: Vec<f64> = weights.data.iter().map(|w| f64::from(*w)).collect();
    entropy(&weights).exp2()
}

/// Lowest and highest.
fn ends(weights: &Numbers) -> [f64; 2] {
    let all = || weights.data.iter().map(|w| f64::from(*w));
    [
        all().fold(f64::INFINITY, f64::min),
        all().fold(0.0, f64::max),
    ]
}

/// The middle of a bar; they stand from the largest to the smallest.
fn bar(hands: &Hands<'_>, name: &str, place: usize, of: usize) -> Pos2 {
    let rect = hands.harness.get_by_label(name).rect();
    // The plot begins 0.7 of a bar before the middle of the first and ends 0.7 after the last.
    let part = (place as f32 + 0.7) / (of as f32 + 0.4);
    rect.min + egui::vec2(part, 0.8) * rect.size()
}

#[test]
fn positions_are_read_under_the_pointer() {
    let mut hands = hands();
    for (question, name, quantity) in [
        ("spatial weight", "L19.psa.sw", "spatial weight"),
        (
            "where the channel branch looks",
            "L19.psa.q_map",
            "channel query",
        ),
    ] {
        hands.ask(question);
        for pixel in PIXELS {
            hands.press(pixel);
            let at = cell(cat(), MAP, pixel);
            hands.reads(pixel, quantity, traces().get(name).at(&at));
        }
    }
    let line = hands.line("As spread as ");
    let (_, rest) = line.split_once("As spread as ").unwrap();
    let shown = rest.split(' ').next().unwrap();
    shows(&line, shown, spread(traces().get("L19.psa.q_map")), 3);
}

#[test]
fn bars_are_read_and_pressed() {
    let mut hands = hands();
    for (question, name, quantity) in [
        ("channel weight", "L19.psa.cw", "channel weight"),
        ("spatial query", "L19.psa.qs", "spatial query"),
    ] {
        hands.ask(question);
        let weights = traces().get(name);
        let order = ranked(weights);
        let n = order.len();
        for place in [0, 3, n / 2, n - 1] {
            let at = bar(&hands, &format!("{quantity} plot"), place, n);
            press(&mut hands.harness, at);
            let channel = order[place];
            assert_eq!(hands.harness.state().selection.channel, Some(channel));
            let begins = format!("channel {channel} · {quantity} ");
            // Beside the pointer it stands in three lines.
            let line = hands.line(&begins);
            let (number, rank) = line[begins.len()..].split_once(" · ").unwrap();
            shows(&line, number, weights.at(&[channel]), 4);
            assert_eq!(rank, format!("rank {} of {n}", place + 1));
        }
        // The last channel was pressed: the keys step from there, and not beyond the end.
        for (key, place) in [
            (Key::ArrowRight, n - 1),
            (Key::ArrowLeft, n - 2),
            (Key::ArrowRight, n - 1),
        ] {
            hands.harness.key_press(key);
            hands.harness.run_steps(2);
            let selected = hands.harness.state().selection.channel;
            assert_eq!(selected, Some(order[place]));
        }
    }
    let line = hands.line("As spread as ");
    let (_, rest) = line.split_once("As spread as ").unwrap();
    let shown = rest.split(' ').next().unwrap();
    shows(&line, shown, spread(traces().get("L19.psa.qs")), 3);
}

#[test]
fn the_factor_is_that_on_the_pressed_channel() {
    let mut hands = hands();
    let weights = channel_weights();
    let order = ranked(weights);
    let spatial = traces().get("L19.psa.sw");
    // Unpressed it is that on the largest.
    hands.ask("composition");
    for place in [0, 20, 63] {
        let channel = order[place];
        if place > 0 {
            hands.ask("channel weight");
            let at = bar(&hands, "channel weight plot", place, CHANNELS);
            press(&mut hands.harness, at);
            hands.ask("composition");
        }
        hands
            .harness
            .get_by_label(&format!("Factor on channel {channel}"));
        for pixel in PIXELS {
            let expected = spatial.at(&cell(cat(), MAP, pixel)) + weights.at(&[channel]);
            hands.reads(pixel, "factor", expected);
        }
        // What goes in, times the factor, is what comes out.
        let [y, x] = cell(cat(), MAP, PIXELS[1]);
        let [before, after] =
            ["in", "out"].map(|n| traces().get(&format!("L19.psa.{n}")).at(&[channel, y, x]));
        let factor = spatial.at(&[y, x]) + weights.at(&[channel]);
        assert!((before * factor - after).abs() < 1e-4);
        let lines = lines_below(&hands.harness, "lowest", 4);
        let ([s0, s1], [c0, c1]) = (ends(spatial), ends(weights));
        let own = weights.at(&[channel]);
        let expected = [[s0, s1], [c0, c1], [s0 + own, s1 + own], [s0 + c0, s1 + c1]];
        for (line, expected) in lines.iter().zip(expected) {
            let [low, high] = &line[line.len() - 2..] else {
                panic!("{line:?}");
            };
            shows("lowest", low, expected[0], 4);
            shows("highest", high, expected[1], 4);
        }
        assert_eq!(lines.len(), 4);
    }
}

#[test]
fn the_maps_of_the_first_and_the_last_channels_are_read_and_pressed() {
    let mut hands = hands();
    hands.ask("channel maps");
    let weights = channel_weights();
    let order = ranked(weights);
    let input = traces().get("L19.psa.in");
    for channel in order[..6].iter().chain(&order[CHANNELS - 6..]).copied() {
        let begins = format!("channel {channel}: ");
        let label = hands.line(&begins);
        shows(&label, &label[begins.len()..], weights.at(&[channel]), 3);
        let rect = hands
            .harness
            .get_by_role_and_label(Role::Image, &label)
            .rect();
        for [y, x] in [[3, 30], [21, 8]] {
            let part = egui::vec2(x as f32 + 0.5, y as f32 + 0.5) / 40.0;
            hover(&mut hands.harness, rect.min + part * rect.size());
            let begins = format!("{label} · activation ");
            let line = hands.line(&begins);
            shows(&line, &line[begins.len()..], input.at(&[channel, y, x]), 4);
        }
        press(&mut hands.harness, rect.center());
        assert_eq!(hands.harness.state().selection.channel, Some(channel));
        hands.line(&format!("channel {channel} weighs "));
        // Away again, so that only the label of the map begins like this.
        hover(&mut hands.harness, Pos2::ZERO);
    }
}
