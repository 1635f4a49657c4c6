//! How the work of a convolution is divided.

/// What is to be done for an image: every block of channels of every strip of pixels of every group, in units of a block
/// of a strip.
pub(super) struct Work {
    pub(super) groups: usize,
    pub(super) strips: usize,
    pub(super) blocks: usize,
    /// Of a strip, and of the last, which may be shorter; none is empty.
    pub(super) lanes: [usize; 2],
}

impl Work {
    /// Number of units.
    pub(super) fn len(&self) -> usize {
        self.groups * self.strips * self.blocks
    }

    /// The unit with which a task begins, of `tasks` that have about the same number of lanes each.
    pub(super) fn start(&self, task: usize, tasks: usize) -> usize {
        let [each, last] = self.lanes;
        let all_but_last = (self.strips - 1) * self.blocks;
        let group = all_but_last * each + self.blocks * last;
        let lanes = task * self.groups * group / tasks;
        let (group, lanes) = (lanes / group, lanes % group);
        let inside = match lanes.checked_sub(all_but_last * each) {
            Some(beyond) => all_but_last + beyond / last,
            None => lanes / each,
        };
        group * self.strips * self.blocks + inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_share_all_units_and_have_about_the_same_lanes() {
        for (groups, strips, blocks, lanes) in [
            (1, 3, 8, [12, 1]),
            (1, 1, 5, [7, 7]),
            (3, 2, 4, [12, 5]),
            (2, 9, 1, [1, 1]),
        ] {
            let work = Work {
                groups,
                strips,
                blocks,
                lanes,
            };
            let of = |unit: usize| lanes[usize::from(unit / blocks % strips == strips - 1)];
            let all: usize = (0..work.len()).map(of).sum();
            for tasks in 1..=work.len() {
                assert_eq!(
                    (work.start(0, tasks), work.start(tasks, tasks)),
                    (0, work.len())
                );
                for task in 0..tasks {
                    let [start, end] = [task, task + 1].map(|i| work.start(i, tasks));
                    assert!(start <= end);
                    let own: usize = (start..end).map(of).sum();
                    let off = own as f64 - all as f64 / tasks as f64;
                    assert!(
                        off.abs() <= 1.0 + lanes[0] as f64,
                        "task {task} of {tasks}: {own}"
                    );
                }
            }
        }
    }
}
