//! One run: picture + model + settings to traces and detections, running only what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Tensor};

use super::badges;
use super::features::LastCopy;
use super::plan::Plan;
use super::store::{Entry, Store};
use super::{Detected, FeatureMaps, LayerTrace, Outcome, Scene, Settings, Timing};
use crate::attention::{Knobs, Trace};
use crate::checkpoint::Model;
use crate::kernels;
use crate::picture::{Letterbox, Photo};
use crate::yolo::{self, Detect, Head, Layer, Map, Module, Output, RawHead};
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
pub trait Listener: Send {
    /// Row `row` of `rows` is about to run; `false` stops the run.
    fn layer(&mut self, row: usize, rows: usize, name: &str) -> bool;
    /// Whether it may sleep between rows: the run must not keep a thread of the pool meanwhile.
    fn sleeps(&self) -> bool {
        false
    }
    /// The trace of an attention row is there, before the detections.
    fn trace(&mut self, scene: &Arc<Scene>, trace: &Arc<LayerTrace>);
    /// The feature maps that were wanted are there, before the detections.
    fn features(&mut self, _scene: &Arc<Scene>, _features: &Arc<FeatureMaps>) {}
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
    copied: LastCopy,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(STORE_BYTES)
    }
}

impl Engine {
    /// An engine that remembers up to `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self {
            store: Store::new(budget),
            scene: None,
            copied: LastCopy::default(),
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
        let rows = wish.model.network.layers().len();
        let mut run = Run {
            plan: Plan::new(wish, &scene, &mut self.store),
            store: &mut self.store,
            copied: &mut self.copied,
            wish,
            scene: &scene,
            input: None,
            maps: vec![None; rows],
            traces: BTreeMap::new(),
            features: None,
            raw: None,
            timing: Timing {
                rows,
                ..Timing::default()
            },
        };
        match listener.sleeps() {
            true => run.rows(listener)?,
            // Each row enters the pool by itself otherwise, and two threads wake up for it.
            false => kernels::in_pool(|| run.rows(listener))?,
        }
        let Run {
            plan,
            traces,
            features,
            raw,
            mut timing,
            ..
        } = run;
        let detected = detect(wish, &scene, raw.as_ref(), plan.head);
        timing.ran = timing.by_row.len();
        timing.total = start.elapsed();
        Ok(Outcome {
            scene,
            traces,
            detected: Arc::new(detected),
            features,
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
}

/// A wish while its rows run.
struct Run<'a> {
    plan: Plan,
    store: &'a mut Store,
    copied: &'a mut LastCopy,
    wish: &'a Wish,
    scene: &'a Arc<Scene>,
    /// The picture, once somebody has read it.
    input: Option<Tensor>,
    /// What the rows put out, as long as somebody needs it.
    maps: Vec<Option<Map>>,
    traces: BTreeMap<usize, Arc<LayerTrace>>,
    features: Option<Arc<FeatureMaps>>,
    /// What the detect head put out.
    raw: Option<RawHead>,
    timing: Timing,
}

impl Run<'_> {
    /// Runs all rows in their order.
    fn rows(&mut self, listener: &mut dyn Listener) -> Result<()> {
        (0..self.plan.order.len()).try_for_each(|place| self.row(place, listener))
    }

    /// Runs the row at this place of the order, or takes what is remembered of it.
    fn row(&mut self, place: usize, listener: &mut dyn Listener) -> Result<()> {
        let row = self.plan.order[place];
        let layers = self.wish.model.network.layers();
        let layer = &layers[row];
        if self.plan.run[row] && !listener.layer(row, layers.len(), &layer.name) {
            self.stop();
            return Err(Error::Cancelled);
        }
        if let Module::Detect(detect) = &layer.module {
            self.raw = Some(self.head(row, layer, detect)?);
            return Ok(());
        }
        let entry = match self.plan.run[row] {
            true => Some(self.compute(row, layer)?),
            false => self.plan.held[row].take(),
        };
        if let Some(Entry { map, trace }) = entry {
            if let Some((_, trace)) = trace
                && self.plan.watch[row].is_on()
            {
                let trace = Arc::new(self.layer_trace(row, trace));
                listener.trace(self.scene, &trace);
                self.traces.insert(row, trace);
            }
            if self.wish.settings.features == Some(row) {
                let key = self.plan.keys[row];
                let maps =
                    self.copied
                        .of(self.wish, row, self.plan.knobs(row), key, &map.tensor()?)?;
                listener.features(self.scene, &maps);
                self.features = Some(maps);
            }
            self.maps[row] = Some(map);
        }
        // Large early maps are let go as soon as nobody needs them.
        for (map, last) in self.maps.iter_mut().zip(&self.plan.last_reader) {
            if *last <= place {
                *map = None;
            }
        }
        Ok(())
    }

    /// Runs a row.
    fn compute(&mut self, row: usize, layer: &Layer) -> Result<Entry> {
        let began = Instant::now();
        let sources = layer.from.iter().map(|from| self.source(*from));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let none = Knobs::new();
        let knobs = self.plan.knobs(row).unwrap_or(&none);
        let watch = &self.plan.watch[row];
        let set = (knobs, self.plan.erased.get(&row));
        let (output, trace) = layer.run_without(&sources, set, watch, self.plan.head)?;
        self.timing.by_row.insert(row, began.elapsed());
        let Output::Map(map) = output else {
            return Err(candle_core::Error::msg("boxes in place of a map").into());
        };
        let entry = Entry {
            map,
            trace: trace.map(|t| (watch.clone(), t)),
        };
        if self.plan.keep[row] {
            self.store.put_row(self.plan.keys[row], entry.clone());
        }
        Ok(entry)
    }

    /// Runs the levels of the detect head that are not remembered, and joins all.
    fn head(&mut self, row: usize, layer: &Layer, detect: &Detect) -> Result<RawHead> {
        let began = Instant::now();
        let mut missing = Vec::new();
        for (i, from) in layer.from.iter().enumerate() {
            if self.plan.levels[i].1.is_none() {
                missing.push((i, self.source(*from)?.tensor()?));
            }
        }
        let made = detect.levels(&missing, self.plan.head)?;
        for ((i, _), level) in missing.into_iter().zip(made) {
            let (key, held) = &mut self.plan.levels[i];
            self.store.put_level(*key, level.clone());
            *held = Some(level);
            self.timing.levels.push(i);
        }
        let levels = self
            .plan
            .levels
            .iter()
            .filter_map(|(_, level)| level.clone());
        let raw = detect.joined(&levels.collect::<Vec<_>>())?;
        if self.plan.run[row] {
            self.timing.by_row.insert(row, began.elapsed());
        }
        Ok(raw)
    }

    /// What a row reads: the map of another in this run or an earlier one, or the picture.
    fn source(&mut self, from: Option<usize>) -> Result<Map> {
        let Some(row) = from else {
            return Ok(match &self.input {
                Some(input) => input.clone().into(),
                None => self.input.insert(network_input(self.scene)?).clone().into(),
            });
        };
        let gone = || candle_core::Error::Msg(format!("the map of row {row} is gone"));
        Ok(self.maps[row].clone().ok_or_else(gone)?)
    }

    /// Remembers what the rest of the run would have read: it may be taken up again.
    fn stop(&mut self) {
        for (row, map) in self.maps.iter_mut().enumerate() {
            if let Some(map) = map.take()
                && !self.plan.keep[row]
            {
                let entry = Entry { map, trace: None };
                self.store.put_row(self.plan.keys[row], entry);
            }
        }
    }

    fn layer_trace(&self, row: usize, trace: Arc<dyn Trace>) -> LayerTrace {
        let legal = self.plan.legal.get(&row).cloned().unwrap_or_default();
        let badges = badges::of_row(&self.wish.model, row, &legal.values, &self.wish.settings);
        LayerTrace {
            wish: self.wish.number,
            row,
            trace,
            legal,
            badges,
        }
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
