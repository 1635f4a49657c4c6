//! One run: picture + model + settings to traces and detections, running only what changed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Tensor};

use super::badges;
use super::store::{Entry, Key, Store};
use super::{Detected, LayerTrace, Outcome, Scene, Settings, Timing};
use crate::attention::{Erasure, Legal, Trace, Watch};
use crate::checkpoint::Model;
use crate::picture::{Letterbox, Photo};
use crate::yolo::{self, Head, Layer, Module, Output, RawHead};
use crate::{Error, Result};

/// Memory for outputs and traces of earlier settings.
pub const STORE_BYTES: usize = 128 << 20;

/// What is wanted: newest wins.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Grows with every wish.
    pub number: u64,
    /// The photograph.
    pub photo: Arc<Photo>,
    /// The model.
    pub model: Arc<Model>,
    /// Everything else.
    pub settings: Settings,
}

/// Someone who watches a run.
pub trait Listener {
    /// Row `row` of `rows` is about to run; `false` stops the run.
    fn layer(&mut self, row: usize, rows: usize, name: &str) -> bool;
    /// The trace of an attention row is there, before the detections.
    fn trace(&mut self, scene: &Arc<Scene>, trace: &Arc<LayerTrace>);
}

/// Nobody watches.
impl Listener for () {
    fn layer(&mut self, _: usize, _: usize, _: &str) -> bool {
        true
    }
    fn trace(&mut self, _: &Arc<Scene>, _: &Arc<LayerTrace>) {}
}

/// Runs wishes and remembers what they computed.
pub struct Engine {
    store: Store,
    scene: Option<Arc<Scene>>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(STORE_BYTES)
    }
}

/// A wish as the rows see it.
struct Plan {
    keys: Vec<Key>,
    watch: Vec<Watch>,
    legal: BTreeMap<usize, Legal>,
    /// What is taken out of the rows.
    erased: BTreeMap<usize, Erasure>,
    head: Head,
    /// Rows that must run.
    run: Vec<bool>,
    /// What is remembered of the needed rows that need not run. Held here, because what the run
    /// adds to the store may push it out.
    held: Vec<Option<Entry>>,
    /// Rows whose output is worth keeping.
    keep: Vec<bool>,
    /// The rows in the order in which they run.
    order: Vec<usize>,
    /// The last place in that order at which somebody reads each row.
    last_reader: Vec<usize>,
}

impl Engine {
    /// An engine that remembers up to `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self {
            store: Store::new(budget),
            scene: None,
        }
    }

    /// Memory held for earlier settings, in bytes.
    pub fn remembered_bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Most memory that may be held for earlier settings, in bytes.
    pub fn budget(&self) -> usize {
        self.store.budget()
    }

    /// Lets go of everything that was computed before.
    pub fn forget(&mut self) {
        *self = Self::new(self.store.budget());
    }

    /// Fulfils a wish.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the listener stopped the run; [`Error::Compute`] for defects.
    pub fn run(&mut self, wish: &Wish, listener: &mut dyn Listener) -> Result<Outcome> {
        let start = Instant::now();
        let scene = self.scene_for(wish);
        let model = &wish.model;
        let layers = model.network.layers();
        let mut plan = self.plan(wish, &scene);
        let mut traces = BTreeMap::new();
        let mut timing = Timing {
            rows: layers.len(),
            ..Timing::default()
        };
        let mut input: Option<Tensor> = None;
        let mut maps: Vec<Option<Output>> = vec![None; layers.len()];

        for (place, &row) in plan.order.iter().enumerate() {
            let layer = &layers[row];
            let watch = &plan.watch[row];
            let entry = if plan.run[row] {
                if !listener.layer(row, layers.len(), &layer.name) {
                    return Err(Error::Cancelled);
                }
                let began = Instant::now();
                let mut sources = Vec::with_capacity(layer.from.len());
                for from in &layer.from {
                    sources.push(match from {
                        None => match &input {
                            Some(t) => t.clone(),
                            None => input.insert(network_input(&scene)?).clone(),
                        },
                        Some(i) => map_of(&maps, *i)?,
                    });
                }
                let none = BTreeMap::new();
                let knobs = plan.legal.get(&row).map_or(&none, |l| &l.values);
                let set = (knobs, plan.erased.get(&row));
                let (output, trace) = layer.run_without(&sources, set, watch, plan.head)?;
                timing.by_row.insert(row, began.elapsed());
                let entry = Entry {
                    output,
                    trace: trace.map(|t| (watch.clone(), t)),
                };
                if plan.keep[row] {
                    self.store.put(plan.keys[row], entry.clone());
                }
                Some(entry)
            } else {
                plan.held[row].take()
            };
            if let Some(entry) = entry {
                if let Some((_, trace)) = &entry.trace
                    && watch.is_on()
                {
                    let trace = Arc::new(self.layer_trace(wish, &plan, row, trace));
                    listener.trace(&scene, &trace);
                    traces.insert(row, trace);
                }
                maps[row] = Some(entry.output);
            }
            // Large early maps are let go as soon as nobody needs them.
            for (map, last) in maps.iter_mut().zip(&plan.last_reader) {
                if *last <= place {
                    *map = None;
                }
            }
        }
        timing.ran = timing.by_row.len();
        let raw = match model.network.head_row().map(|row| maps[row].take()) {
            Some(Some(Output::Raw(raw))) => Some(raw),
            Some(_) => return Err(candle_core::Error::msg("the network gave no boxes").into()),
            None => None,
        };
        let detected = detect(wish, &scene, raw.as_deref(), plan.head);
        timing.total = start.elapsed();
        Ok(Outcome {
            scene,
            traces,
            detected: Arc::new(detected),
            timing,
        })
    }

    /// The scene of a wish; the same one as long as picture, model and size stay.
    fn scene_for(&mut self, wish: &Wish) -> Arc<Scene> {
        let (size, _) = wish.settings.size_on(&wish.model);
        let letterbox = Letterbox::new([wish.photo.width, wish.photo.height], [size, size]);
        if let Some(scene) = &self.scene
            && Arc::ptr_eq(&scene.photo, &wish.photo)
            && Arc::ptr_eq(&scene.model, &wish.model)
            && scene.letterbox == letterbox
        {
            return scene.clone();
        }
        let scene = Arc::new(Scene {
            photo: wish.photo.clone(),
            model: wish.model.clone(),
            letterbox,
        });
        self.scene = Some(scene.clone());
        scene
    }

    /// Keys of all rows, and which of them must run.
    fn plan(&mut self, wish: &Wish, scene: &Scene) -> Plan {
        let layers = wish.model.network.layers();
        let n = layers.len();
        let off = Watch::Off;
        let mut plan = Plan {
            keys: Vec::with_capacity(n),
            watch: Vec::with_capacity(n),
            legal: BTreeMap::new(),
            erased: BTreeMap::new(),
            head: wish.settings.head_on(&wish.model),
            run: vec![false; n],
            held: vec![None; n],
            keep: worth_keeping(&wish.model),
            order: order_of(layers),
            last_reader: vec![0; n],
        };
        let picture = hash(&(wish.photo.digest, scene.letterbox, wish.model.digest));
        for (row, layer) in layers.iter().enumerate() {
            let sources: Vec<Key> = layer
                .from
                .iter()
                .map(|f| f.map_or(picture, |i| plan.keys[i]))
                .collect();
            let legal = wish.settings.legal(&wish.model, row);
            let knobs = legal.as_ref().map(|l| &l.values);
            let head = matches!(layer.module, Module::Detect(_)).then_some(plan.head);
            // A probe is known by what it is and where, so that it may come and go.
            let what = (!layer.probe).then_some(row).ok_or(&layer.name);
            let erased = wish.settings.erasure(&wish.model, row);
            plan.keys.push(hash(&(what, sources, knobs, erased, head)));
            plan.erased.extend(erased.map(|e| (row, e.clone())));
            plan.legal.extend(legal.map(|l| (row, l)));
            let watch = wish.settings.watch.get(&row).unwrap_or(&off);
            plan.watch.push(watch.clone());
        }
        for (place, &row) in plan.order.iter().enumerate() {
            for from in layers[row].from.iter().flatten() {
                plan.last_reader[*from] = place;
            }
        }
        // From the head back: a row runs if it is needed and not remembered.
        let mut needed: Vec<bool> = plan.watch.iter().map(Watch::is_on).collect();
        if let Some(head) = wish.model.network.head_row() {
            plan.last_reader[head] = n;
            needed[head] = true;
        }
        for row in (0..n).rev() {
            if !needed[row] {
                continue;
            }
            plan.held[row] = self.store.get(plan.keys[row], &plan.watch[row]);
            if plan.held[row].is_none() {
                plan.run[row] = true;
                for from in layers[row].from.iter().flatten() {
                    needed[*from] = true;
                }
            }
        }
        plan
    }

    fn layer_trace(
        &self,
        wish: &Wish,
        plan: &Plan,
        row: usize,
        trace: &Arc<dyn Trace>,
    ) -> LayerTrace {
        let legal = plan.legal.get(&row).cloned().unwrap_or_default();
        let badges = badges::of_row(&wish.model, row, &legal.values, &wish.settings);
        LayerTrace {
            wish: wish.number,
            row,
            trace: trace.clone(),
            legal,
            badges,
        }
    }
}

/// The map that a row put out, in this run or an earlier one.
fn map_of(maps: &[Option<Output>], row: usize) -> Result<Tensor> {
    match &maps[row] {
        Some(Output::Map(map)) => Ok(map.clone()),
        _ => Err(candle_core::Error::Msg(format!("the map of row {row} is gone")).into()),
    }
}

/// The photograph as network input `[1, 3, H, W]` between 0 and 1.
pub fn network_input(scene: &Scene) -> Result<Tensor> {
    let bytes = scene.letterbox.apply(&scene.photo);
    let [w, h] = scene.letterbox.input;
    let t = Tensor::from_vec(bytes, (1, 3, h, w), &scene.model.device)?;
    Ok((t.to_dtype(DType::F32)? / 255.0)?)
}

/// The detections; none where the network has no head.
fn detect(wish: &Wish, scene: &Scene, raw: Option<&RawHead>, head: Head) -> Detected {
    let thresholds = wish.settings.thresholds;
    let mut list = raw.map_or_else(Vec::new, |raw| yolo::detections(raw, head, thresholds));
    for d in &mut list {
        d.rect = scene.letterbox.to_photo(d.rect);
    }
    Detected {
        wish: wish.number,
        list,
        head,
        thresholds,
        badges: badges::of_detections(&wish.model, &wish.settings),
    }
}

/// The rows, each followed by the probes on it: what is looked at comes before what is not.
fn order_of(layers: &[Arc<Layer>]) -> Vec<usize> {
    let on = |row| move |p: &usize| layers[*p].probe && layers[*p].from == [Some(row)];
    let rows = (0..layers.len()).filter(|&row| !layers[row].probe);
    rows.flat_map(|row| std::iter::once(row).chain((0..layers.len()).filter(on(row))))
        .collect()
}

/// Rows that a knob can change, and the rows that feed them: only those are ever needed again.
fn worth_keeping(model: &Model) -> Vec<bool> {
    let layers = model.network.layers();
    let mut turned = vec![false; layers.len()];
    let mut keep = vec![false; layers.len()];
    for (row, layer) in layers.iter().enumerate() {
        let sources = layer.from.iter().flatten();
        turned[row] = matches!(layer.module, Module::Attention(_) | Module::Detect(_))
            || sources.clone().any(|&i| turned[i]);
        if turned[row] {
            keep[row] = true;
            sources.for_each(|&i| keep[i] = true);
        }
    }
    keep
}

fn hash(value: &impl Hash) -> Key {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
