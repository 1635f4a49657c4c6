//! Questions to position-sensitive attention in rows 12 and 25: map 10 × 10, one attention with
//! two heads.

use egui::accesskit::Role;
use egui_kittest::kittest::{NodeT, Queryable};

use crate::reading::{Hands, heads_are};
use crate::traces::traces;
use crate::window::text;
use crate::{PIXELS, cat, cell, open};

const MAP: [usize; 2] = [10, 10];
const HEADS: usize = 2;
const ROWS: [usize; 2] = [12, 25];
const CHOICES: [(&str, Option<usize>); 3] = [
    ("mean of heads", None),
    ("head 0", Some(0)),
    ("head 1", Some(1)),
];

fn hands() -> Hands<'static> {
    Hands {
        harness: open("position_sensitive", cat()),
        canvas: "Position-sensitive attention canvas",
        outcome: cat(),
    }
}

/// Goes to another layer by hand.
fn go(hands: &mut Hands<'_>, row: usize) {
    hands
        .harness
        .get_by_role_and_label(Role::ComboBox, "layer")
        .click();
    hands.harness.run_ok();
    let begins = format!("row {row} ");
    let entries = hands.harness.query_all_by_role(Role::Button);
    let is_it = |l: String| l.starts_with(&begins);
    let entry = entries
        .into_iter()
        .find(|n| n.accesskit_node().label().is_some_and(is_it));
    entry.unwrap().click();
    hands.harness.run_ok();
    assert_eq!(
        hands.harness.state().selection.rows["position_sensitive"],
        row
    );
}

fn heads_or_one(head: Option<usize>, of: impl Fn(usize) -> f64) -> f64 {
    match head {
        Some(head) => of(head),
        None => (0..HEADS).map(of).sum::<f64>() / HEADS as f64,
    }
}

/// What the attention of a position gives to another.
fn attention(row: usize, from: usize, to: usize, head: usize) -> f64 {
    let tokens = &traces().get(&format!("L{row}.pos.tokens0")).data;
    let kept = tokens.iter().position(|t| *t as usize == from).unwrap();
    traces()
        .get(&format!("L{row}.pos.attn0"))
        .at(&[kept, head, to])
}

#[test]
fn a_pressed_position_looks_and_is_looked_at_per_head_and_averaged() {
    let mut hands = hands();
    for row in ROWS {
        go(&mut hands, row);
        for (list, head) in CHOICES {
            for question in ["token attention", "received"] {
                hands.ask(question);
                hands.choose("head", list);
                for pressed in PIXELS {
                    hands.press(pressed);
                    let [y, x] = cell(cat(), MAP, pressed);
                    let from = y * MAP[1] + x;
                    assert_eq!(hands.unit(row), from);
                    let line = text(
                        &hands.harness,
                        &format!("position {x}, {y} · {HEADS} heads, 100 positions"),
                    );
                    assert!(!line.is_empty());
                    for other in PIXELS {
                        let [y, x] = cell(cat(), MAP, other);
                        match question {
                            "received" => {
                                let received = traces().get(&format!("L{row}.pos.received0"));
                                let expected = heads_or_one(head, |h| received.at(&[h, y, x]));
                                hands.reads(other, "received attention", expected);
                            }
                            _ => {
                                let to = y * MAP[1] + x;
                                let expected = heads_or_one(head, |h| attention(row, from, to, h));
                                hands.reads(other, "token attention", expected);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn heads_of_a_position_are_compared() {
    let mut hands = hands();
    for row in ROWS {
        go(&mut hands, row);
        hands.ask("received");
        hands.press(PIXELS[2]);
        let [y, x] = cell(cat(), MAP, PIXELS[2]);
        let from = y * MAP[1] + x;
        hands.ask("head agreement");
        hands
            .harness
            .get_by_label(&format!("Heads of position {x}, {y}"));
        let heads: Vec<Vec<f64>> = (0..HEADS)
            .map(|h| (0..100).map(|to| attention(row, from, to, h)).collect())
            .collect();
        heads_are(&hands.harness, &heads, |t| {
            format!("position {}, {}", t % 10, t / 10)
        });
    }
}
