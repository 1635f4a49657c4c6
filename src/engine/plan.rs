//! A wish as the rows see it: what must run, what is remembered, and what is worth remembering.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::store::{Entry, Key, Store};
use super::{Scene, Wish};
use crate::attention::{Erasure, Knobs, Legal, Watch};
use crate::yolo::{Head, Layer, Module, RawLevel};

/// What a run does with each row.
pub(super) struct Plan {
    pub keys: Vec<Key>,
    pub watch: Vec<Watch>,
    pub legal: BTreeMap<usize, Legal>,
    /// What is taken out of the rows, where that acts.
    pub erased: BTreeMap<usize, Erasure>,
    pub head: Head,
    /// Rows that must run.
    pub run: Vec<bool>,
    /// What is remembered of the needed rows that need not run. Held here, because what the run
    /// adds to the store may push it out.
    pub held: Vec<Option<Entry>>,
    /// Key of each level of the detect head, and what is remembered of it.
    pub levels: Vec<(Key, Option<RawLevel>)>,
    /// Rows whose output is worth keeping.
    pub keep: Vec<bool>,
    /// The rows in the order in which they run.
    pub order: Vec<usize>,
    /// The last place in that order at which somebody reads each row.
    pub last_reader: Vec<usize>,
}

impl Plan {
    /// The plan of a wish, with what `store` remembers.
    pub(super) fn new(wish: &Wish, scene: &Scene, store: &mut Store) -> Self {
        let layers = wish.model.network.layers();
        let n = layers.len();
        let mut plan = Self {
            keys: Vec::with_capacity(n),
            watch: Vec::with_capacity(n),
            legal: BTreeMap::new(),
            erased: BTreeMap::new(),
            head: wish.settings.head_on(&wish.model),
            run: vec![false; n],
            held: vec![None; n],
            levels: Vec::new(),
            keep: Vec::new(),
            order: order_of(layers),
            last_reader: vec![0; n],
        };
        plan.name(wish, scene);
        let knobs = |row| {
            plan.legal
                .get(&row)
                .is_some_and(|l: &Legal| !l.knobs.is_empty())
        };
        plan.keep = worth_keeping(layers, knobs);
        for (place, &row) in plan.order.iter().enumerate() {
            for from in layers[row].from.iter().flatten() {
                plan.last_reader[*from] = place;
            }
        }
        plan.recall(wish, store);
        plan
    }

    /// The knobs of a row.
    pub(super) fn knobs(&self, row: usize) -> Option<&Knobs> {
        self.legal.get(&row).map(|l| &l.values)
    }

    /// Keys of all rows, by what decides their outputs.
    fn name(&mut self, wish: &Wish, scene: &Scene) {
        let picture = hash(&(wish.photo.digest, scene.letterbox, wish.model.digest));
        for (row, layer) in wish.model.network.layers().iter().enumerate() {
            let keys = &self.keys;
            let source = |from: &Option<usize>| from.map_or(picture, |i| keys[i]);
            let sources: Vec<Key> = layer.from.iter().map(source).collect();
            if matches!(layer.module, Module::Detect(_)) {
                let level = |(i, source): (usize, &Key)| (hash(&(row, i, source, self.head)), None);
                self.levels = sources.iter().enumerate().map(level).collect();
            }
            let legal = wish.settings.legal(&wish.model, row);
            let knobs = legal.as_ref().map(|l| &l.values);
            // A probe is known by what it is and where, so that it may come and go.
            let what = (!layer.probe).then_some(row).ok_or(&layer.name);
            let erased = wish.settings.erasure(&wish.model, row);
            self.keys.push(hash(&(what, sources, knobs, erased)));
            self.erased.extend(erased.map(|e| (row, e.clone())));
            self.legal.extend(legal.map(|l| (row, l)));
            let watch = wish.settings.watch.get(&row);
            self.watch.push(watch.cloned().unwrap_or(Watch::Off));
        }
    }

    /// From the head back: a row runs if it is needed and not remembered.
    fn recall(&mut self, wish: &Wish, store: &mut Store) {
        let layers = wish.model.network.layers();
        let mut needed: Vec<bool> = self.watch.iter().map(Watch::is_on).collect();
        if let Some(head) = wish.model.network.head_row() {
            for ((key, held), from) in self.levels.iter_mut().zip(&layers[head].from) {
                *held = store.level(*key);
                if held.is_none() {
                    self.run[head] = true;
                    from.iter().for_each(|&i| needed[i] = true);
                }
            }
        }
        if let Some(row) = wish.settings.features_on(&wish.model) {
            needed[row] = true;
            // Asked for again after the next change, and read by the row that is stepped to next.
            self.keep[row] = true;
        }
        for row in (0..layers.len()).rev() {
            if !needed[row] {
                continue;
            }
            self.held[row] = store.row(self.keys[row], &self.watch[row]);
            if self.held[row].is_none() {
                self.run[row] = true;
                for from in layers[row].from.iter().flatten() {
                    needed[*from] = true;
                }
            }
        }
    }
}

/// The rows, each followed by the probes on it: what is looked at comes before what is not.
fn order_of(layers: &[Arc<Layer>]) -> Vec<usize> {
    let on = |row| move |p: &usize| layers[*p].probe && layers[*p].from == [Some(row)];
    let rows = (0..layers.len()).filter(|&row| !layers[row].probe);
    rows.flat_map(|row| std::iter::once(row).chain((0..layers.len()).filter(on(row))))
        .collect()
}

/// Rows that may be asked for again after a run: attention rows, for their traces; what these and
/// the head read, because somebody may look at something else; and for each row with knobs all
/// that stays while they are turned, and is read by what changes.
fn worth_keeping(layers: &[Arc<Layer>], has_knobs: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut keep = vec![false; layers.len()];
    for (row, layer) in layers.iter().enumerate() {
        keep[row] |= matches!(layer.module, Module::Attention(_));
        if matches!(layer.module, Module::Attention(_) | Module::Detect(_)) {
            layer.from.iter().flatten().for_each(|&i| keep[i] = true);
        }
        if !has_knobs(row) {
            continue;
        }
        let mut changes = vec![false; layers.len()];
        changes[row] = true;
        for (reader, layer) in layers.iter().enumerate().skip(row + 1) {
            let sources = || layer.from.iter().flatten();
            changes[reader] = sources().any(|&i| changes[i]);
            if changes[reader] {
                let stays = sources().filter(|&&i| !changes[i]);
                stays.for_each(|&i| keep[i] = true);
            }
        }
    }
    keep
}

fn hash(value: &impl Hash) -> Key {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
