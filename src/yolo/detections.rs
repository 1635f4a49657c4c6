//! From the raw output of a head to a list of detections: decoding, top-k, non-maximum
//! suppression. All on the host, in plain loops: the lists are short.

use serde::{Deserialize, Serialize};

use super::RawHead;

/// Most detections that either head returns.
pub const MAX_DETECTIONS: usize = 300;
/// Most candidates that enter non-maximum suppression.
const MAX_CANDIDATES: usize = 30_000;

/// Which copy of the detect head is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// One box per object by training; no suppression.
    #[default]
    OneToOne,
    /// Many boxes per object, thinned by non-maximum suppression.
    OneToMany,
}

impl Head {
    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::OneToMany => "one-to-many",
        }
    }
}

/// Thresholds of the last step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// A detection needs a score above this.
    pub confidence: f32,
    /// Of two boxes of one class that overlap more than this, the weaker goes (one-to-many only).
    pub iou: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            confidence: 0.25,
            iou: 0.7,
        }
    }
}

/// One detection in pixels of the network input.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// `x1, y1, x2, y2`.
    pub rect: [f32; 4],
    /// Class index.
    pub class: usize,
    /// Probability of that class.
    pub score: f32,
    /// Anchor that made it, counted over levels, rows, columns.
    pub anchor: usize,
    /// Probability of every class at this anchor.
    pub scores: Vec<f32>,
}

/// The detections that a head's output stands for, best first.
pub fn detections(raw: &RawHead, head: Head, thresholds: Thresholds) -> Vec<Detection> {
    let picked = match head {
        Head::OneToOne => top_k(raw, MAX_DETECTIONS)
            .into_iter()
            .filter(|&(_, _, score)| score > thresholds.confidence)
            .collect(),
        Head::OneToMany => suppress(raw, thresholds),
    };
    picked
        .into_iter()
        .map(|(anchor, class, score)| Detection {
            rect: decode(raw, anchor),
            class,
            score,
            anchor,
            scores: (0..raw.classes)
                .map(|c| probability(raw, c, anchor))
                .collect(),
        })
        .collect()
}

/// `(anchor, class, score)`: the `k` best anchors by their best class, then the `k` best pairs of
/// anchor and class among them, as the end-to-end models do. The order of equal scores is by
/// anchor and class.
pub fn top_k(raw: &RawHead, k: usize) -> Vec<(usize, usize, f32)> {
    let anchors = raw.anchors();
    let mut best: Vec<(usize, f32)> = (0..anchors).map(|a| (a, best_class(raw, a).1)).collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    best.truncate(k);
    let mut pairs: Vec<(usize, usize, f32)> = best
        .iter()
        .flat_map(|&(a, _)| (0..raw.classes).map(move |c| (a, c, probability(raw, c, a))))
        .collect();
    pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    pairs.truncate(k.min(anchors));
    pairs
}

/// Class-wise greedy non-maximum suppression.
fn suppress(raw: &RawHead, t: Thresholds) -> Vec<(usize, usize, f32)> {
    let mut candidates: Vec<(usize, usize, f32)> = (0..raw.anchors())
        .map(|a| {
            let (class, score) = best_class(raw, a);
            (a, class, score)
        })
        .filter(|c| c.2 > t.confidence)
        .collect();
    candidates.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<((usize, usize, f32), [f32; 4])> = Vec::new();
    for candidate in candidates {
        let rect = decode(raw, candidate.0);
        let hidden =
            |k: &((usize, usize, f32), [f32; 4])| k.0.1 == candidate.1 && iou(&k.1, &rect) > t.iou;
        if !kept.iter().any(hidden) {
            kept.push((candidate, rect));
            if kept.len() == MAX_DETECTIONS {
                break;
            }
        }
    }
    kept.into_iter().map(|(c, _)| c).collect()
}

/// The most probable class of an anchor; the first of equals.
fn best_class(raw: &RawHead, anchor: usize) -> (usize, f32) {
    let anchors = raw.anchors();
    let mut best = (0, f32::NEG_INFINITY);
    for class in 0..raw.classes {
        let logit = raw.scores[class * anchors + anchor];
        if logit > best.1 {
            best = (class, logit);
        }
    }
    (best.0, sigmoid(best.1))
}

fn probability(raw: &RawHead, class: usize, anchor: usize) -> f32 {
    sigmoid(raw.scores[class * raw.anchors() + anchor])
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The box of an anchor in pixels of the network input, `x1, y1, x2, y2`.
pub fn decode(raw: &RawHead, anchor: usize) -> [f32; 4] {
    let anchors = raw.anchors();
    let mut first = 0;
    for level in &raw.levels {
        let cells = level.height * level.width;
        if anchor < first + cells {
            let cell = anchor - first;
            let x = (cell % level.width) as f32 + 0.5;
            let y = (cell / level.width) as f32 + 0.5;
            let [l, t, r, b] = [0, 1, 2, 3].map(|side| distance(raw, anchors, side, anchor));
            return [x - l, y - t, x + r, y + b].map(|v| v * level.stride);
        }
        first += cells;
    }
    [0.0; 4]
}

/// Distance from the anchor to one side in grid units: raw with one bin, otherwise the
/// expectation over the softmax of the bins.
fn distance(raw: &RawHead, anchors: usize, side: usize, anchor: usize) -> f32 {
    let bin = |i: usize| raw.boxes[(side * raw.reg_max + i) * anchors + anchor];
    if raw.reg_max == 1 {
        return bin(0);
    }
    let top = (0..raw.reg_max).map(bin).fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0f32, 0.0f32);
    for i in 0..raw.reg_max {
        let e = (bin(i) - top).exp();
        sum += e;
        weighted += e * i as f32;
    }
    weighted / sum
}

/// Intersection over union of two boxes `x1, y1, x2, y2`.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let both = width * height;
    let area = |r: &[f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let union = area(a) + area(b) - both;
    if union > 0.0 { both / union } else { 0.0 }
}

/// The smallest box around a point, in the coordinates of the boxes: the one on top of the others.
pub fn smallest_at(list: &[Detection], [x, y]: [f32; 2]) -> Option<usize> {
    let area = |d: &Detection| (d.rect[2] - d.rect[0]) * (d.rect[3] - d.rect[1]);
    let inside = |d: &Detection| {
        let [x0, y0, x1, y1] = d.rect;
        (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
    };
    let boxes = list.iter().enumerate().filter(|(_, d)| inside(d));
    let smallest = boxes.min_by(|a, b| area(a.1).total_cmp(&area(b.1)));
    smallest.map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yolo::Level;

    /// Three anchors in a row, two classes, boxes of one cell each way.
    fn raw(scores: [[f32; 3]; 2]) -> RawHead {
        RawHead {
            boxes: vec![1.0; 12],
            scores: scores.concat(),
            reg_max: 1,
            classes: 2,
            levels: vec![Level {
                height: 1,
                width: 3,
                stride: 8.0,
            }],
        }
    }

    #[test]
    fn boxes_are_decoded_from_cell_centres() {
        let raw = raw([[0.0; 3]; 2]);
        assert_eq!(decode(&raw, 1), [4.0, -4.0, 20.0, 12.0]);
    }

    #[test]
    fn bins_become_their_expectation() {
        let mut raw = raw([[0.0; 3]; 2]);
        raw.reg_max = 2;
        raw.boxes = vec![0.0; 4 * 2 * 3];
        // Equal bins 0 and 1: half a cell.
        assert_eq!(decode(&raw, 0), [0.0, 0.0, 8.0, 8.0]);
    }

    #[test]
    fn one_anchor_may_appear_with_two_classes_in_the_one_to_one_head() {
        let raw = raw([[2.0, -9.0, -9.0], [1.0, -9.0, -9.0]]);
        let found = detections(&raw, Head::OneToOne, Thresholds::default());
        let ids: Vec<_> = found.iter().map(|d| (d.anchor, d.class)).collect();
        assert_eq!(ids, vec![(0, 0), (0, 1)]);
        assert!((found[0].score - 0.880_797).abs() < 1e-6);
    }

    #[test]
    fn suppression_is_by_class_and_strict() {
        // Neighbouring boxes of two cells overlap by 1/3.
        let same = raw([[3.0, 2.0, -9.0], [-9.0; 3]]);
        let t = |iou| Thresholds {
            confidence: 0.25,
            iou,
        };
        assert_eq!(detections(&same, Head::OneToMany, t(0.3)).len(), 1);
        assert_eq!(detections(&same, Head::OneToMany, t(0.34)).len(), 2);
        let other = raw([[3.0, -9.0, -9.0], [-9.0, 2.0, -9.0]]);
        assert_eq!(detections(&other, Head::OneToMany, t(0.3)).len(), 2);
    }

    #[test]
    fn nothing_scores_above_a_threshold_of_one() {
        let raw = raw([[90.0; 3]; 2]);
        let t = Thresholds {
            confidence: 1.0,
            iou: 0.7,
        };
        assert!(detections(&raw, Head::OneToOne, t).is_empty());
    }

    fn boxed(rect: [f32; 4]) -> Detection {
        Detection {
            rect,
            class: 0,
            score: 0.5,
            anchor: 0,
            scores: vec![0.5],
        }
    }

    #[test]
    fn of_boxes_in_each_other_the_inner_one_is_meant() {
        let list = [
            boxed([0.0, 0.0, 100.0, 100.0]),
            boxed([40.0, 40.0, 60.0, 60.0]),
        ];
        assert_eq!(smallest_at(&list, [50.0, 50.0]), Some(1));
        assert_eq!(smallest_at(&list, [10.0, 10.0]), Some(0));
        assert_eq!(smallest_at(&list, [150.0, 10.0]), None);
    }
}
