//! Arrows from what reads to what is read, for the window and for figures: the same shape on both.

/// Radius of the ring round what reads from itself, in points.
pub const RING: f32 = 7.0;

/// The parts of an arrow: a bent line and a filled head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrow {
    /// Start, control point and end of a quadratic Bézier curve; it ends at the neck of the head.
    pub curve: [[f32; 2]; 3],
    /// Tip and both corners.
    pub head: [[f32; 2]; 3],
}

impl Arrow {
    /// A slightly bent arrow of a line width; `grow` widens the head, for the casing behind it.
    pub fn new(from: [f32; 2], to: [f32; 2], width: f32, grow: f32) -> Self {
        let along = minus(to, from);
        let length = along[0].hypot(along[1]);
        // Turned by a quarter, so that two arrows between the same places lie apart.
        let bend = [0.12 * along[1], -0.12 * along[0]];
        let control = [0, 1].map(|i| from[i] + along[i] / 2.0 + bend[i]);
        let way = unit(minus(to, control));
        let head = (5.0 + 1.5 * width).min(0.4 * length) + grow;
        let tip = [0, 1].map(|i| to[i] + grow * way[i]);
        let neck = [0, 1].map(|i| tip[i] - head * way[i]);
        let side = [0.5 * head * way[1], -0.5 * head * way[0]];
        Self {
            curve: [from, control, neck],
            head: [
                tip,
                [neck[0] + side[0], neck[1] + side[1]],
                [neck[0] - side[0], neck[1] - side[1]],
            ],
        }
    }

    /// The line as `steps` straight pieces.
    pub fn line(&self, steps: usize) -> Vec<[f32; 2]> {
        let [a, b, c] = self.curve;
        let steps = steps.max(1);
        let at = |step: usize| {
            let t = step as f32 / steps as f32;
            let s = 1.0 - t;
            [0, 1].map(|i| s * s * a[i] + 2.0 * s * t * b[i] + t * t * c[i])
        };
        (0..=steps).map(at).collect()
    }
}

/// Line width (points) and opacity of one of `count` arrows; `share` is its weight over the
/// largest. The strongest is drawn in full; of many, the weaker ones step back.
pub fn strength(share: f32, count: usize) -> [f32; 2] {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let crowd = (16.0 / count.max(1) as f32).sqrt().min(1.0);
    let [width, opacity] = [1.25 * crowd.max(0.5), 0.55 * crowd];
    let most = 3.5 * crowd.max(0.6);
    let share = share * share;
    [
        width + (most - width) * share,
        opacity + (1.0 - opacity) * share,
    ]
}

/// Where the way from `from` to `middle` enters the rectangle of half sides `half` around `middle`.
pub fn entry(from: [f32; 2], middle: [f32; 2], half: [f32; 2]) -> [f32; 2] {
    let back = minus(from, middle);
    let reach = |i: usize| half[i] / back[i].abs().max(1e-3);
    let reach = reach(0).min(reach(1)).min(1.0);
    [0, 1].map(|i| middle[i] + reach * back[i])
}

fn minus(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn unit(way: [f32; 2]) -> [f32; 2] {
    let length = way[0].hypot(way[1]);
    match length > 0.0 {
        true => way.map(|v| v / length),
        false => [0.0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_enters_at_the_edge() {
        let at = |x, y| entry([x, y], [100.0, 100.0], [10.0, 5.0]);
        assert_eq!(at(0.0, 100.0), [90.0, 100.0]);
        assert_eq!(at(100.0, 300.0), [100.0, 105.0]);
        assert_eq!(at(99.0, 100.0), [99.0, 100.0], "from inside");
    }

    #[test]
    fn an_arrow_ends_where_it_points() {
        let arrow = Arrow::new([0.0, 0.0], [100.0, 40.0], 2.0, 0.0);
        assert_eq!(arrow.head[0], [100.0, 40.0]);
        let line = arrow.line(8);
        assert_eq!((line[0], line.len()), ([0.0, 0.0], 9));
        let neck = [0, 1].map(|i| (arrow.head[1][i] + arrow.head[2][i]) / 2.0);
        let end = minus(line[8], neck);
        assert!(end[0].hypot(end[1]) < 1e-3, "the line meets the head");
        let back = Arrow::new([100.0, 40.0], [0.0, 0.0], 2.0, 0.0).line(8);
        assert_ne!(line[4], back[4], "the way back lies elsewhere");
    }

    #[test]
    fn weak_arrows_step_back_in_a_crowd() {
        for count in [1, 16, 400] {
            let [thin, pale] = strength(0.1, count);
            let [thick, full] = strength(1.0, count);
            assert!(thin < thick && pale < full, "{count}");
            assert_eq!(full, 1.0);
        }
        assert!(strength(0.1, 400)[1] < strength(0.1, 16)[1] / 3.0);
        assert!(strength(f32::NAN, 0).iter().all(|v| v.is_finite()));
    }
}
