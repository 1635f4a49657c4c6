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

    /// The value that was made last.
    pub fn kept(&self) -> Option<&V> {
        self.0.as_ref().map(|(_, value)| value)
    }
}

/// Something shared as a key: equal if it is the very same one.
pub struct Same<T: ?Sized>(Arc<T>);

/// A trace as a key.
pub type TraceKey = Same<dyn Trace>;

impl<T: ?Sized> Same<T> {
    /// The key of something. It keeps it, so that no other can take its address.
    pub fn of(it: &Arc<T>) -> Self {
        Self(it.clone())
    }
}

impl<T: ?Sized> Clone for Same<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

/// Keeps something selected at its place on the photograph while the grid it lies on changes.
pub struct Anchor<K>(Option<Anchored<K>>);

struct Anchored<K> {
    grid: K,
    /// Digest of the photograph.
    photo: u64,
    index: usize,
    /// Pixel of the photograph.
    place: [f32; 2],
}

impl<K> Default for Anchor<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq> Anchor<K> {
    /// `place` gives the place of an index on the photograph, `find` the index at a place.
    /// Changes `selected` where `grid` is another one than before on the same `photo`.
    pub fn follow(
        &mut self,
        grid: K,
        photo: u64,
        selected: &mut Option<usize>,
        place: impl Fn(usize) -> [f32; 2],
        find: impl Fn([f32; 2]) -> Option<usize>,
    ) {
        let Some(index) = *selected else {
            self.0 = None;
            return;
        };
        let before = self
            .0
            .take()
            .filter(|b| b.photo == photo && b.index == index);
        self.0 = match before {
            Some(kept) if kept.grid == grid => Some(kept),
            // The place stays what it was, however the grids round it.
            Some(Anchored { place, .. }) if find(place).is_some() => {
                *selected = find(place);
                selected.map(|index| Anchored {
                    grid,
                    photo,
                    index,
                    place,
                })
            }
            _ => Some(Anchored {
                grid,
                photo,
                index,
                place: place(index),
            }),
        };
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
        let mut photo = 1;
        let mut grid = |cell: usize, photo: u64, selected: &mut Option<usize>| {
            anchor.follow(
                cell,
                photo,
                selected,
                |i| [(i as f32 + 0.5) * cell as f32, 0.0],
                |[x, _]| Some((x / cell as f32) as usize),
            );
        };
        grid(10, photo, &mut selected);
        assert_eq!(selected, Some(3), "35 of 100");
        grid(5, photo, &mut selected);
        assert_eq!(selected, Some(7));
        grid(10, photo, &mut selected);
        assert_eq!(selected, Some(3), "and back");
        selected = Some(9);
        grid(10, photo, &mut selected);
        grid(5, photo, &mut selected);
        assert_eq!(selected, Some(19), "95 of 100");
        photo = 2;
        grid(10, photo, &mut selected);
        assert_eq!(
            selected,
            Some(19),
            "places of another photograph mean nothing"
        );
    }
}
