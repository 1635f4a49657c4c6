//! Average precision beside that of pycocotools: `tests/average_precision`.

use serde::Deserialize;

use super::{AveragePrecision, OVERLAPS, Truth};
use crate::yolo::Detection;

#[derive(Deserialize)]
struct Reference {
    sets: Vec<Set>,
}

#[derive(Deserialize)]
struct Set {
    pictures: Vec<Picture>,
    classes: Vec<Expected>,
}

#[derive(Deserialize)]
struct Picture {
    /// Class, corners, whether it is a crowd.
    truths: Vec<(usize, f64, f64, f64, f64, u8)>,
    /// Class, corners, score.
    found: Vec<(usize, f32, f32, f32, f32, f32)>,
    labelled: Vec<usize>,
}

#[derive(Deserialize)]
struct Expected {
    pictures: usize,
    boxes: usize,
    at: Option<[f64; OVERLAPS]>,
}

#[test]
fn drawn_boxes_score_as_pycocotools_scores_them() {
    let text = include_str!("../../tests/average_precision/reference.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    assert_eq!(reference.sets.len(), 6);
    for (number, set) in reference.sets.iter().enumerate() {
        let mut ap = AveragePrecision::new(set.classes.len());
        for picture in &set.pictures {
            let truths = picture.truths.iter().map(|t| Truth {
                rect: [t.1, t.2, t.3, t.4],
                class: t.0,
                crowd: t.5 == 1,
            });
            let found = picture.found.iter().map(|d| Detection {
                rect: [d.1, d.2, d.3, d.4],
                class: d.0,
                score: d.5,
                anchor: 0,
                scores: Vec::new(),
            });
            let (truths, found): (Vec<_>, Vec<_>) = (truths.collect(), found.collect());
            let classes = 0..set.classes.len();
            let labelled: Vec<bool> = classes.map(|c| picture.labelled.contains(&c)).collect();
            ap.add(&truths, &labelled, &found);
        }
        let scores = ap.scores();
        for (class, (ours, theirs)) in scores.classes.iter().zip(&set.classes).enumerate() {
            let what = format!("class {class} of set {number}");
            assert_eq!((ours.pictures, ours.boxes), (theirs.pictures, theirs.boxes));
            assert_eq!(ours.at.is_some(), theirs.at.is_some(), "{what}");
            let pairs = ours.at.iter().flatten().zip(theirs.at.iter().flatten());
            for (overlap, (a, b)) in pairs.enumerate() {
                assert!(
                    (a - b).abs() < 1e-12,
                    "{what} at overlap {overlap}: {a}, not {b}"
                );
            }
        }
    }
}
