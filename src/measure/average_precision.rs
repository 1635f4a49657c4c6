//! Average precision as COCO's own evaluation (pycocotools) defines it, over boxes of every size.
//!
//! For a class, the detections of all pictures are ranked by score. Going down the ranks, recall is
//! the share of boxes found and precision the share of detections that were right. Average
//! precision is the mean, over 101 recalls from 0 to 1, of the best precision at that recall or a
//! higher one; and the mean of that over the overlaps 0.50 to 0.95. The mean over the classes is
//! called mAP50 (overlap 0.50 alone) and mAP50-95.
//!
//! A class is scored on the pictures that label it: on others it may be there without a box.

use super::matching::{Judged, OVERLAPS, Truth, judge};
use crate::yolo::{Detection, MAX_DETECTIONS};

/// How many recalls the precision is read at.
pub const RECALLS: usize = 101;

/// Detections and truths, picture after picture.
#[derive(Debug, Clone)]
pub struct AveragePrecision {
    classes: Vec<Tally>,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    pictures: usize,
    boxes: usize,
    judged: Vec<Judged>,
}

/// The score of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassScore {
    /// Pictures that label it.
    pub pictures: usize,
    /// Boxes that had to be found: without crowds.
    pub boxes: usize,
    /// Average precision at each overlap; none where there was nothing to find.
    pub at: Option<[f64; OVERLAPS]>,
}

/// The scores of all classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// By class.
    pub classes: Vec<ClassScore>,
}

impl AveragePrecision {
    /// Nothing seen yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes: vec![Tally::default(); classes],
        }
    }

    /// Adds a picture: what is there, which classes it labels (by class index), and what was found,
    /// of which the 300 best of each class count. Boxes are in the same pixels.
    pub fn add(&mut self, truths: &[Truth], labelled: &[bool], detections: &[Detection]) {
        let labelled = labelled.iter().copied().chain(std::iter::repeat(false));
        let classes = self.classes.iter_mut().enumerate().zip(labelled);
        for ((class, tally), _) in classes.filter(|(_, labelled)| *labelled) {
            let truths: Vec<&Truth> = truths.iter().filter(|t| t.class == class).collect();
            let found = detections.iter().filter(|d| d.class == class);
            let mut found: Vec<&Detection> = found.collect();
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            found.truncate(MAX_DETECTIONS);
            tally.pictures += 1;
            tally.boxes += truths.iter().filter(|t| !t.crowd).count();
            tally.judged.extend(judge(&truths, &found));
        }
    }

    /// The scores of what was added.
    pub fn scores(&self) -> Scores {
        let score = |tally: &Tally| ClassScore {
            pictures: tally.pictures,
            boxes: tally.boxes,
            at: (tally.boxes > 0).then(|| tally.average_precision()),
        };
        Scores {
            classes: self.classes.iter().map(score).collect(),
        }
    }
}

impl Tally {
    fn average_precision(&self) -> [f64; OVERLAPS] {
        let mut ranked = self.judged.clone();
        // Equal scores stay in the order of the pictures.
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        std::array::from_fn(|overlap| {
            let bit = 1 << overlap;
            let counted = ranked.iter().filter(|j| j.left_out & bit == 0);
            let right = counted.map(|j| j.right & bit != 0);
            mean_precision(self.boxes, right)
        })
    }
}

/// The mean precision over [`RECALLS`] recalls; `right` goes down the ranks.
fn mean_precision(boxes: usize, right: impl Iterator<Item = bool>) -> f64 {
    let mut found = 0usize;
    // Recall and precision after each rank.
    let mut curve: Vec<(f64, f64)> = Vec::new();
    for (rank, right) in right.enumerate() {
        found += usize::from(right);
        let precision = found as f64 / (rank + 1) as f64;
        curve.push((found as f64 / boxes as f64, precision));
    }
    let mut best = 0.0f64;
    for (_, precision) in curve.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let last = RECALLS - 1;
    let at = |i: usize| {
        // numpy's linspace again: 57 · 0.01 lies above 57 / 100, and a recall of 0.57 below it.
        let recall = if i == last { 1.0 } else { i as f64 * 0.01 };
        let reached = curve.partition_point(|(r, _)| *r < recall);
        curve.get(reached).map_or(0.0, |(_, precision)| *precision)
    };
    (0..RECALLS).map(at).sum::<f64>() / RECALLS as f64
}

impl ClassScore {
    /// Average precision at overlap 0.50.
    pub fn ap50(&self) -> Option<f64> {
        self.at.map(|at| at[0])
    }

    /// Mean over the overlaps 0.50 to 0.95.
    pub fn ap50_95(&self) -> Option<f64> {
        self.at.map(|at| at.iter().sum::<f64>() / OVERLAPS as f64)
    }
}

impl Scores {
    /// Mean of [`ClassScore::ap50`] over the classes that have boxes.
    pub fn map50(&self) -> Option<f64> {
        mean(self.classes.iter().filter_map(ClassScore::ap50))
    }

    /// Mean of [`ClassScore::ap50_95`] over the classes that have boxes.
    pub fn map50_95(&self) -> Option<f64> {
        mean(self.classes.iter().filter_map(ClassScore::ap50_95))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(class: usize, x: f64) -> Truth {
        Truth {
            rect: [x, 0.0, x + 10.0, 10.0],
            class,
            crowd: false,
        }
    }

    fn found(class: usize, x: f32, score: f32) -> Detection {
        Detection {
            rect: [x, 0.0, x + 10.0, 10.0],
            class,
            score,
            anchor: 0,
            scores: Vec::new(),
        }
    }

    fn near(a: Option<f64>, b: f64) {
        assert!(a.is_some_and(|a| (a - b).abs() < 1e-12), "{a:?}, not {b}");
    }

    #[test]
    fn right_wrong_right() {
        // Two boxes; ranks: right, wrong, right. Precision 1 up to recall 0.5 (51 recalls), then
        // 2/3 (50 recalls).
        let mut ap = AveragePrecision::new(1);
        ap.add(
            &[truth(0, 0.0), truth(0, 20.0)],
            &[true],
            &[found(0, 0.0, 0.9), found(0, 50.0, 0.8), found(0, 20.0, 0.7)],
        );
        let scores = ap.scores();
        near(scores.map50(), (51.0 + 50.0 * 2.0 / 3.0) / 101.0);
        near(scores.map50_95(), (51.0 + 50.0 * 2.0 / 3.0) / 101.0);
    }

    #[test]
    fn ranks_go_over_all_pictures() {
        // The wrong one of the second picture stands above the right one of the first.
        let mut ap = AveragePrecision::new(1);
        ap.add(&[truth(0, 0.0)], &[true], &[found(0, 0.0, 0.5)]);
        ap.add(&[], &[true], &[found(0, 0.0, 0.6)]);
        near(ap.scores().map50(), 0.5);
        assert_eq!(ap.scores().classes[0].pictures, 2);
    }

    #[test]
    fn a_half_that_is_missed_costs_its_recalls() {
        let mut ap = AveragePrecision::new(1);
        let there = [truth(0, 0.0), truth(0, 20.0)];
        ap.add(&there, &[true], &[found(0, 0.0, 0.9)]);
        near(ap.scores().map50(), 51.0 / 101.0);
    }

    #[test]
    fn a_class_is_scored_where_it_is_labelled() {
        let mut ap = AveragePrecision::new(2);
        ap.add(&[truth(0, 0.0)], &[true, false], &[found(0, 0.0, 0.5)]);
        // Class 0 may be here without a box: the detection is no mistake.
        let wrong = [found(0, 0.0, 0.9), found(1, 0.0, 0.9)];
        ap.add(&[truth(1, 0.0)], &[false, true], &wrong);
        let scores = ap.scores();
        near(scores.classes[0].ap50(), 1.0);
        near(scores.classes[1].ap50(), 1.0);
        assert!(scores.classes.iter().all(|c| c.pictures == 1));
    }

    #[test]
    fn three_hundred_detections_of_a_class_count() {
        let right_behind = |wrong: usize| {
            let wrong = (0..wrong).map(|_| found(0, 50.0, 0.9));
            let all: Vec<_> = std::iter::once(found(0, 0.0, 0.5)).chain(wrong).collect();
            let mut ap = AveragePrecision::new(1);
            ap.add(&[truth(0, 0.0)], &[true], &all);
            ap.scores().map50()
        };
        near(right_behind(299), 1.0 / 300.0);
        near(right_behind(300), 0.0);
    }

    #[test]
    fn classes_without_boxes_have_no_score() {
        let mut ap = AveragePrecision::new(3);
        ap.add(&[truth(0, 0.0)], &[true; 3], &[found(1, 0.0, 0.9)]);
        let scores = ap.scores();
        near(scores.classes[0].ap50(), 0.0);
        assert_eq!(scores.classes[1].at, None);
        near(scores.map50(), 0.0);
        assert_eq!(AveragePrecision::new(1).scores().map50(), None);
    }
}
