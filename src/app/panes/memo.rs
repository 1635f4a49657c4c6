//! What a pane keeps from one frame to the next.

use std::sync::Arc;

use crate::attention::Trace;

/// One computed value with what it was computed from.
pub struct Memo<K, V>(Option<(K, V)>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq, V> Memo<K, V> {
    /// The value for `key`; made anew only when the key has changed.
    pub fn get(&mut self, key: K, make: impl FnOnce() -> V) -> &V {
        if self.0.as_ref().is_some_and(|(kept, _)| *kept != key) {
            self.0 = None;
        }
        &self.0.get_or_insert_with(|| (key, make())).1
    }
}

/// A trace as a key: equal if it is the very same one.
#[derive(Clone)]
pub struct TraceKey(Arc<dyn Trace>);

impl TraceKey {
    /// The key of a trace. It keeps the trace, so that no other can take its address.
    pub fn of(trace: &Arc<dyn Trace>) -> Self {
        Self(trace.clone())
    }
}

impl PartialEq for TraceKey {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

/// Keeps something selected at its place on the photograph while the grid it lies on changes.
pub struct Anchor<K>(Option<(K, usize, [f32; 2])>);

impl<K> Default for Anchor<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq> Anchor<K> {
    /// `place` gives the place of an index on the photograph, `find` the index at a place.
    /// Changes `selected` where `grid` is another one than before.
    pub fn follow(
        &mut self,
        grid: K,
        selected: &mut Option<usize>,
        place: impl Fn(usize) -> Option<[f32; 2]>,
        find: impl Fn([f32; 2]) -> Option<usize>,
    ) {
        let Some(mut index) = *selected else {
            self.0 = None;
            return;
        };
        if let Some((before, was, at)) = &self.0 {
            if *before == grid && *was == index {
                return;
            }
            if *before != grid && *was == index {
                let at = *at;
                if let Some(found) = find(at) {
                    index = found;
                    *selected = Some(found);
                    // The place stays what it was, however the grids round it.
                    self.0 = Some((grid, index, at));
                    return;
                }
            }
        }
        self.0 = place(index).map(|at| (grid, index, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once_per_key() {
        let mut memo = Memo::default();
        let mut made = 0;
        for key in [1, 1, 2, 2, 1] {
            let value = *memo.get(key, || {
                made += 1;
                key * 10
            });
            assert_eq!(value, key * 10);
        }
        assert_eq!(made, 3);
    }

    #[test]
    fn a_selection_stays_in_place_when_the_grid_changes() {
        // Cells of a line of 100 pixels; the grid is the number of pixels per cell.
        let mut anchor = Anchor::default();
        let mut selected = Some(3);
        let mut grid = |cell: usize, selected: &mut Option<usize>| {
            anchor.follow(
                cell,
                selected,
                |i| Some([(i as f32 + 0.5) * cell as f32, 0.0]),
                |[x, _]| Some((x / cell as f32) as usize),
            );
        };
        grid(10, &mut selected);
        assert_eq!(selected, Some(3), "35 of 100");
        grid(5, &mut selected);
        assert_eq!(selected, Some(7));
        grid(10, &mut selected);
        assert_eq!(selected, Some(3), "and back");
        selected = Some(9);
        grid(10, &mut selected);
        grid(5, &mut selected);
        assert_eq!(selected, Some(19), "95 of 100");
    }
}
