//! Outputs and traces of layers by what they depend on, within a memory budget.
//!
//! A key is a hash of everything that decides an output: picture, input size, model, row, knobs
//! and the keys of the rows before. So a changed knob changes the keys of just the rows that
//! depend on it, and a knob turned back finds what was computed before. The levels of the detect
//! head are remembered one by one: each depends on one row only.

use std::collections::HashMap;
use std::sync::Arc;

use crate::attention::{Trace, Watch};
use crate::yolo::{Map, RawLevel};

/// Hash of everything that decides an output.
pub(super) type Key = u64;

/// What a row once put out.
#[derive(Clone)]
pub(super) struct Entry {
    /// `[1, C, H, W]`
    pub map: Map,
    /// The trace with what was watched for it.
    pub trace: Option<(Watch, Arc<dyn Trace>)>,
}

enum Piece {
    Row(Entry),
    Level(RawLevel),
}

struct Slot {
    piece: Piece,
    bytes: usize,
    used: u64,
}

/// Pieces by key; the least recently used go first.
pub(super) struct Store {
    slots: HashMap<Key, Slot>,
    budget: usize,
    bytes: usize,
    clock: u64,
}

impl Store {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            slots: HashMap::new(),
            budget,
            bytes: 0,
            clock: 0,
        }
    }

    /// The row of a key whose trace, if one is asked for, holds what `watch` wants.
    pub(super) fn row(&mut self, key: Key, watch: &Watch) -> Option<Entry> {
        let Piece::Row(entry) = self.get(key)? else {
            return None;
        };
        let covered = match &entry.trace {
            Some((have, _)) => have.covers(watch),
            None => !watch.is_on(),
        };
        covered.then(|| entry.clone())
    }

    /// The level of a key.
    pub(super) fn level(&mut self, key: Key) -> Option<RawLevel> {
        match self.get(key)? {
            Piece::Level(level) => Some(level.clone()),
            Piece::Row(_) => None,
        }
    }

    fn get(&mut self, key: Key) -> Option<&Piece> {
        self.clock += 1;
        let slot = self.slots.get_mut(&key)?;
        slot.used = self.clock;
        Some(&slot.piece)
    }

    /// Keeps a row that is not larger than the budget, and drops the oldest pieces beyond it.
    pub(super) fn put_row(&mut self, key: Key, entry: Entry) {
        self.put(key, Piece::Row(entry));
    }

    /// The same for a level.
    pub(super) fn put_level(&mut self, key: Key, level: RawLevel) {
        self.put(key, Piece::Level(level));
    }

    fn put(&mut self, key: Key, piece: Piece) {
        self.clock += 1;
        let bytes = piece.bytes();
        if bytes > self.budget {
            return;
        }
        let slot = Slot {
            piece,
            bytes,
            used: self.clock,
        };
        if let Some(old) = self.slots.insert(key, slot) {
            self.bytes -= old.bytes;
        }
        self.bytes += bytes;
        while self.bytes > self.budget {
            let oldest = self.slots.iter().min_by_key(|(_, s)| s.used);
            let Some(oldest) = oldest.map(|(k, _)| *k) else {
                break;
            };
            if let Some(slot) = self.slots.remove(&oldest) {
                self.bytes -= slot.bytes;
            }
        }
    }

    /// Most memory that may be held, in bytes.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Self::Row(Entry { map, trace }) => {
                map.bytes() + trace.as_ref().map_or(0, |(_, t)| t.bytes())
            }
            Self::Level(level) => level.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    fn entry(n: usize) -> Entry {
        let t = Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap();
        Entry {
            map: t.into(),
            trace: None,
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut store = Store::new(4 * 250);
        store.put_row(1, entry(100));
        store.put_row(2, entry(100));
        assert!(store.row(1, &Watch::Off).is_some());
        store.put_row(3, entry(100));
        assert!(store.row(2, &Watch::Off).is_none());
        assert!(store.row(1, &Watch::Off).is_some());
        assert_eq!(store.bytes(), 800);
        store.put_row(1, entry(10));
        assert_eq!(store.bytes(), 440);
    }

    #[test]
    fn an_entry_without_a_trace_does_not_serve_a_watcher() {
        let mut store = Store::new(1 << 20);
        store.put_row(1, entry(1));
        assert!(store.row(1, &Watch::All).is_none());
        assert!(store.row(1, &Watch::Off).is_some());
    }
}
