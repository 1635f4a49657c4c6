//! Which detections of a picture are right: COCO's greedy matching of the boxes of one class.

use crate::yolo::Detection;

/// How many overlaps a box is judged at; see [`overlaps`].
pub const OVERLAPS: usize = 10;

/// The overlaps (intersection over union) at which a box counts as found: 0.50, 0.55, … 0.95.
pub fn overlaps() -> [f64; OVERLAPS] {
    // The way numpy's linspace goes, so that a box on the very edge falls to the same side.
    let step = (0.95 - 0.5) / (OVERLAPS - 1) as f64;
    let mut all: [f64; OVERLAPS] = std::array::from_fn(|i| i as f64 * step + 0.5);
    all[OVERLAPS - 1] = 0.95;
    all
}

/// A box that is really there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// `x1, y1, x2, y2` in pixels of the photograph.
    pub rect: [f64; 4],
    /// Class index of the model.
    pub class: usize,
    /// An area of many objects (COCO's `iscrowd`): it need not be found, and any number of
    /// detections in it is neither right nor wrong.
    pub crowd: bool,
}

/// What became of one detection. Bit `i` is for overlap `i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judged {
    pub score: f32,
    /// It found a box that no better one had found.
    pub right: u16,
    /// It lies in a crowd and does not count.
    pub left_out: u16,
}

/// Judges the detections of one class in one picture: from the best score down, each takes the free
/// box that it overlaps most. Ordinary boxes come before crowds; of equal overlaps the later box
/// is taken.
pub(super) fn judge(truths: &[&Truth], detections: &[&Detection]) -> Vec<Judged> {
    let mut truths = truths.to_vec();
    truths.sort_by_key(|t| t.crowd);
    let mut judged = Vec::with_capacity(detections.len());
    let thresholds = overlaps();
    let mut taken = vec![0u16; truths.len()];
    for detection in detections {
        let rect = detection.rect.map(f64::from);
        let near: Vec<f64> = truths.iter().map(|t| overlap(&rect, t)).collect();
        let mut one = Judged {
            score: detection.score,
            right: 0,
            left_out: 0,
        };
        for (place, &threshold) in thresholds.iter().enumerate() {
            let bit = 1 << place;
            let mut best = threshold;
            let mut found: Option<(&Truth, &mut u16)> = None;
            for ((truth, taken), &overlap) in truths.iter().zip(&mut taken).zip(&near) {
                if truth.crowd && found.as_ref().is_some_and(|(t, _)| !t.crowd) {
                    break;
                }
                let free = truth.crowd || *taken & bit == 0;
                if free && overlap >= best {
                    best = overlap;
                    found = Some((truth, taken));
                }
            }
            if let Some((truth, taken)) = found {
                *taken |= bit;
                match truth.crowd {
                    true => one.left_out |= bit,
                    false => one.right |= bit,
                }
            }
        }
        judged.push(one);
    }
    judged
}

/// Intersection over union; over the detection's own area where the other is a crowd.
fn overlap(rect: &[f64; 4], truth: &Truth) -> f64 {
    let [a, b] = [rect, &truth.rect];
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let area = |r: &[f64; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let both = width * height;
    match truth.crowd {
        true => both / area(a),
        false => both / (area(a) + area(b) - both),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(rect: [f64; 4], crowd: bool) -> Truth {
        Truth {
            rect,
            class: 0,
            crowd,
        }
    }

    fn detection(rect: [f32; 4], score: f32) -> Detection {
        Detection {
            rect,
            class: 0,
            score,
            anchor: 0,
            scores: Vec::new(),
        }
    }

    fn judged(truths: &[Truth], detections: &[Detection]) -> Vec<(u16, u16)> {
        let truths: Vec<_> = truths.iter().collect();
        let detections: Vec<_> = detections.iter().collect();
        let all = judge(&truths, &detections).into_iter();
        all.map(|j| (j.right, j.left_out)).collect()
    }

    const ALL: u16 = (1 << OVERLAPS) - 1;

    #[test]
    fn overlaps_are_those_of_coco() {
        // numpy.linspace(0.5, 0.95, 10), to the last bit.
        let numpy = [
            0.5,
            0.55,
            0.6,
            0.65,
            0.7,
            0.75,
            0.8,
            0.85,
            0.899_999_999_999_999_9,
            0.95,
        ];
        assert_eq!(overlaps(), numpy);
    }

    #[test]
    fn a_box_is_right_up_to_its_overlap() {
        // 8 of 10 columns: overlap 0.8, which meets 0.50 to 0.80, seven of them.
        let found = judged(
            &[truth([0.0, 0.0, 10.0, 10.0], false)],
            &[detection([0.0, 0.0, 8.0, 10.0], 0.9)],
        );
        assert_eq!(found, [(0b111_1111, 0)]);
    }

    #[test]
    fn a_box_is_found_once() {
        let there = [truth([0.0, 0.0, 10.0, 10.0], false)];
        let twice = [
            detection([0.0, 0.0, 9.0, 10.0], 0.9),
            detection([0.0, 0.0, 10.0, 10.0], 0.8),
        ];
        // The better score takes the box up to 0.90; above that it is free for the other.
        let up_to_90 = 0b1_1111_1111;
        assert_eq!(
            judged(&there, &twice),
            [(up_to_90, 0), (ALL & !up_to_90, 0)]
        );
    }

    #[test]
    fn each_takes_the_free_box_that_it_overlaps_most() {
        let there = [
            truth([0.0, 0.0, 10.0, 10.0], false),
            truth([2.0, 0.0, 12.0, 10.0], false),
        ];
        let found = judged(
            &there,
            &[
                detection([2.0, 0.0, 12.0, 10.0], 0.9),
                detection([2.0, 0.0, 12.0, 10.0], 0.8),
            ],
        );
        // The second overlaps the first box by 8/12: 0.50, 0.55, 0.60, 0.65.
        assert_eq!(found, [(ALL, 0), (0b1111, 0)]);
    }

    #[test]
    fn detections_in_a_crowd_do_not_count() {
        let there = [
            truth([0.0, 0.0, 100.0, 100.0], true),
            truth([0.0, 0.0, 10.0, 10.0], false),
        ];
        let found = judged(
            &there,
            &[
                detection([0.0, 0.0, 10.0, 10.0], 0.9),
                detection([0.0, 0.0, 10.0, 10.0], 0.8),
                detection([50.0, 50.0, 60.0, 60.0], 0.7),
                // 4 of its 10 columns lie in the crowd.
                detection([96.0, 0.0, 106.0, 10.0], 0.6),
            ],
        );
        assert_eq!(found, [(ALL, 0), (0, ALL), (0, ALL), (0, 0)]);
    }

    #[test]
    fn boxes_without_area_overlap_nothing() {
        let there = [truth([5.0, 5.0, 5.0, 5.0], false), truth([0.0; 4], true)];
        let found = judged(&there, &[detection([5.0, 5.0, 5.0, 5.0], 0.9)]);
        assert_eq!(found, [(0, 0)]);
    }
}
