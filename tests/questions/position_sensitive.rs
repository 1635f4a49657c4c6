//! YOLO's own position-sensitive attention.

use std::sync::Arc;

use attnscope::attention::position_sensitive::PositionSensitiveTrace;
use attnscope::attention::view::Turn;
use attnscope::attention::{Knobs, Trace, Watch};
use attnscope::yolo::{Config, Network};
use candle_core::{Device, Tensor};

use super::common::drawn::{self, Drawn};
use super::{answer, asked, heads_are, heat, overlay, same, table};

/// Row 1 attends twice, with two heads.
const ROWS: &str = "
nc: 2
scales:
  n: [1.0, 1.0, 1024]
backbone:
  - [-1, 1, Conv, [256, 3, 8]]
  - [-1, 2, C2PSA, [256]]
head:
  - [[0, 1, 1], 1, Detect, [nc]]
";

fn trace(watch: &Watch) -> Arc<dyn Trace> {
    let network = Network::build(&Config::parse(ROWS).unwrap(), &Drawn::builder()).unwrap();
    let shape = (1, 256, 5, 7);
    let values = drawn::values("input", &[1, 256, 5, 7]);
    let x = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let layer = network.attention_at(1).unwrap();
    layer.forward(&x, &Knobs::new(), watch).unwrap().1.unwrap()
}

#[test]
fn every_head_and_their_mean_read_what_was_kept() {
    let all = trace(&Watch::All);
    let maps = &all.downcast::<PositionSensitiveTrace>().unwrap().attentions;
    let heads = all.choices(Turn::Head);
    assert_eq!((heads, all.choices(Turn::Part)), (2, 2));
    for (part, maps) in maps.iter().enumerate() {
        for token in 0..35 {
            let weights = &maps.token_attention[&token];
            let rows: Vec<Vec<f64>> = (0..heads)
                .map(|h| weights.row(h).iter().map(|v| f64::from(*v)).collect())
                .collect();
            let pressed = asked(|a| (a.part, a.unit) = (Some(part), Some(token)));
            for head in (0..heads).map(Some).chain([None]) {
                let mut wanted = pressed.clone();
                wanted.head = head;
                let given = answer(all.as_ref(), "token_attention", &wanted);
                let expected: Vec<f64> = (0..35)
                    .map(|i| match head {
                        Some(h) => rows[h][i],
                        None => (rows[0][i] + rows[1][i]) / 2.0,
                    })
                    .collect();
                same("token attention", &heat(&given).values, &expected);
                let (x, y) = ((token % 7) as f32, (token / 7) as f32);
                assert_eq!(overlay(&given).marks[0].rect, [x, y, x + 1.0, y + 1.0]);
            }
            let given = answer(all.as_ref(), "heads", &pressed);
            let name = |t| format!("position {}, {}", t % 7, t / 7);
            heads_are("heads", table(&given.view.body), &rows, name);
        }
    }
}

#[test]
fn what_is_received_is_the_mean_of_what_all_read() {
    let all = trace(&Watch::All);
    let mut mean = vec![0.0; 35];
    for token in 0..35 {
        let given = answer(
            all.as_ref(),
            "token_attention",
            &asked(|a| a.unit = Some(token)),
        );
        for (m, v) in mean.iter_mut().zip(heat(&given).values.iter()) {
            *m += f64::from(*v) / 35.0;
        }
    }
    let given = answer(all.as_ref(), "received", &asked(|_| {}));
    same("received", &heat(&given).values, &mean);
    assert!(overlay(&given).marks.is_empty(), "nothing was pressed");
    let facts = all.facts(&asked(|a| a.cell = Some([2, 3])));
    let names: Vec<&str> = facts.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["position", "received", "reads most from"]);
    assert_eq!(facts[0].value, "3, 2");
}

#[test]
fn positions_that_were_not_kept_have_no_answer() {
    let some = trace(&Watch::Focus(vec![8]));
    for question in ["token_attention", "heads"] {
        let of = |unit| some.answer(question, &asked(|a| a.unit = Some(unit)));
        assert!(of(8).is_some() && of(9).is_none());
    }
    let names: Vec<_> = some.views().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["received_0", "received_1"]);
}
