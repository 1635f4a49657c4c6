//! Polarized self-attention.

use attnscope::attention::view::Body;

use super::{answer, asked, heat, overlay, same, table, traced};

#[test]
fn the_factor_takes_the_input_to_the_output() {
    for (case, trace) in traced("psa") {
        let (x, y) = (case.golden.get("x"), case.golden.get("y"));
        let cells = 9 * 7;
        for channel in [0, 5, 31] {
            let given = answer(
                trace.as_ref(),
                "factor",
                &asked(|a| a.channel = Some(channel)),
            );
            let x = &x.data[channel * cells..][..cells];
            let factors = heat(&given).values.iter();
            let ours: Vec<f32> = factors.zip(x).map(|(f, x)| f * *x as f32).collect();
            let expected = &y.data[channel * cells..][..cells];
            same(&format!("{} channel {channel}", case.name), &ours, expected);
            assert!(
                given
                    .chosen
                    .starts_with(&format!("channel {channel} weighs"))
            );
        }
    }
}

#[test]
fn maps_and_bars_are_the_golden_ones() {
    for (case, trace) in traced("psa") {
        for (question, name) in [("spatial_weight", "sw"), ("channel_query", "q_map")] {
            let pressed = asked(|a| a.cell = Some([2, 3]));
            let given = answer(trace.as_ref(), question, &pressed);
            same(question, &heat(&given).values, &case.golden.get(name).data);
            assert_eq!(overlay(&given).marks[0].rect, [3.0, 2.0, 4.0, 3.0]);
        }
        for (question, name) in [("channel_weight", "cw"), ("spatial_query", "qs")] {
            let given = answer(trace.as_ref(), question, &asked(|_| {}));
            let Body::Bars(bars) = &given.view.body else {
                panic!("bars");
            };
            same(question, &bars.values, &case.golden.get(name).data);
            let sum: f32 = bars.values.iter().sum();
            let says = given.view.caption.contains("sums to 1");
            assert_eq!(
                says,
                question == "spatial_query" && (sum - 1.0).abs() < 1e-4
            );
        }
    }
}

#[test]
fn channels_are_ranked_by_their_weight() {
    for (case, trace) in traced("psa") {
        let weights = &case.golden.get("cw").data;
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let given = answer(trace.as_ref(), "channels", &asked(|_| {}));
        let Body::Gallery(gallery) = &given.view.body else {
            panic!("a gallery");
        };
        let expected = [&order[..6], &order[26..]].concat();
        // Weights that hardly differ may change places.
        for (ours, expected) in gallery.channels.iter().zip(&expected) {
            assert!(
                (weights[*ours] - weights[*expected]).abs() < 1e-6,
                "{}",
                case.name
            );
        }
        let x = &case.golden.get("x").data;
        for (channel, (text, map)) in gallery.channels.iter().zip(&gallery.maps) {
            same(text, &map.values, &x[channel * 63..][..63]);
            assert!(text.starts_with(&format!("{channel}: ")), "{text}");
        }
        let second = asked(|a| a.channel = Some(gallery.channels[1]));
        let chosen = answer(trace.as_ref(), "channel_weight", &second).chosen;
        assert!(chosen.contains("rank 2 of 32"), "{chosen}");
    }
}

#[test]
fn the_ranges_are_those_of_the_weights() {
    for (case, trace) in traced("psa") {
        let given = answer(trace.as_ref(), "factor", &asked(|_| {}));
        let ranges = table(&given.beside[0].body);
        let ends = |name: &str| {
            let values = &case.golden.get(name).data;
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            [low, values.iter().copied().fold(0.0, f64::max)]
        };
        let (spatial, channel) = (ends("sw"), ends("cw"));
        let sequential = case.golden.json("settings")["sequential"] == true;
        for end in [0, 1] {
            let factor = match sequential {
                true => spatial[end] * channel[end],
                false => spatial[end] + channel[end],
            };
            for (row, expected) in [(0, spatial[end]), (1, channel[end]), (3, factor)] {
                let says: f64 = ranges.rows[row][end + 1].parse().unwrap();
                assert!(
                    (says - expected).abs() <= 6e-4,
                    "{}: {says} {expected}",
                    case.name
                );
            }
        }
    }
}
