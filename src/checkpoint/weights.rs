//! A weights file as the source that a network takes its tensors from. It notes what was asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;

use super::Digest;
use super::bytes::Bytes;
use super::random;
use super::report::{LoadReport, Misshaped, Named, row_of};
use super::tensors::{Slot, Tensors};
use super::{flat, torch};

/// A network may ask for as many numbers again as the file holds, and this many more. Beyond that
/// the file is of another network, and random numbers in its place would only fill the memory.
const SLACK: usize = 4 << 20;
/// Numbers of a network without any weights: x-scale detectors have 70 million.
const MAX_RANDOM: usize = 128 << 20;
/// A network with more tensors than this is refused: x-scale detectors have two thousand.
const MAX_TENSORS: usize = 20_000;

/// Tensors of one file, read and handed out by name. One that is missing is drawn at random; one
/// that cannot be used is noted and replaced by zeros, so that one report can name everything that
/// is wrong.
pub struct WeightSource {
    tensors: Tensors,
    /// Numbers that a network may ask for.
    budget: usize,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    report: LoadReport,
    asked: BTreeSet<String>,
    /// Of these, the ones that were read. A tensor may be asked for again, in another shape, too.
    read: BTreeSet<String>,
    digest: Digest,
}

/// Reads the notes after a network was built.
pub struct Recorder {
    notes: Arc<Mutex<Notes>>,
    all: Vec<Named>,
}

impl WeightSource {
    /// Reads the directory of a safetensors file in memory.
    ///
    /// # Errors
    /// One sentence on what is wrong with the file.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let bytes = Bytes::Memory(bytes.to_vec().into());
        flat::read(bytes).map(Self::new)
    }

    /// Reads the directory of a PyTorch checkpoint in memory.
    ///
    /// # Errors
    /// One sentence on what is wrong with the file.
    pub fn parse_torch(bytes: &[u8]) -> std::result::Result<Self, String> {
        let bytes = Bytes::Memory(bytes.to_vec().into());
        let slots = torch::read(&bytes)?.slots;
        Ok(Self::new(Tensors { bytes, slots }))
    }

    /// A source of these tensors.
    pub(super) fn new(tensors: Tensors) -> Self {
        let numbers = tensors.numbers();
        Self {
            budget: numbers.saturating_mul(2).saturating_add(SLACK),
            tensors,
            notes: Arc::default(),
        }
    }

    /// A source without tensors: everything is drawn at random.
    pub(super) fn random() -> Self {
        let tensors = Tensors {
            bytes: Bytes::Memory(Vec::new().into()),
            slots: Default::default(),
        };
        Self {
            tensors,
            budget: MAX_RANDOM,
            notes: Arc::default(),
        }
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.tensors.slots.keys().cloned().collect()
    }

    /// The source as a variable builder, and the notes it will take.
    pub fn into_builder(self, device: &Device) -> (VarBuilder<'static>, Recorder) {
        let slots = self.tensors.slots.iter();
        let all = slots.map(|(name, slot)| Named {
            name: name.clone(),
            shape: slot.shape.clone(),
        });
        let recorder = Recorder {
            all: all.collect(),
            notes: self.notes.clone(),
        };
        let builder = VarBuilder::from_backend(Box::new(self), DType::F32, device.clone());
        (builder, recorder)
    }
}

impl Recorder {
    /// What was found, missing, misshaped and left over.
    pub fn report(self) -> LoadReport {
        self.finish().0
    }

    /// The report, and a digest of all tensors that were taken.
    pub(super) fn finish(self) -> (LoadReport, Digest) {
        let notes = lock(&self.notes);
        let mut report = notes.report.clone();
        report.in_file = self.all.len();
        report.expected = notes.asked.len();
        report.misshaped.dedup();
        report.unusable.dedup();
        let misshaped = |name: &String| report.misshaped.iter().any(|t| t.name == *name);
        report.found = notes.read.iter().filter(|n| !misshaped(n)).count();
        let named = |end: &str| self.all.iter().any(|t| t.name.ends_with(end));
        report.fused = named(".conv.bias") && !named(".bn.running_var");
        report.unused = self
            .all
            .into_iter()
            // A counter of training steps beside every BatchNorm; nothing needs it here.
            .filter(|t| !t.name.ends_with("num_batches_tracked"))
            .filter(|t| !notes.asked.contains(&t.name))
            .collect();
        (report, notes.digest)
    }
}

fn lock(notes: &Mutex<Notes>) -> std::sync::MutexGuard<'_, Notes> {
    notes
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl SimpleBackend for WeightSource {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: candle_nn::Init,
        _: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut notes = lock(&self.notes);
        let first_time = notes.asked.insert(name.to_owned());
        // Running statistics are no parameters, though they are kept as tensors.
        if first_time && !name.contains(".running_") {
            let n = shape.elem_count();
            notes.report.parameters = notes.report.parameters.saturating_add(n);
            if let Some(row) = row_of(name) {
                let of_row = notes.report.parameters_by_row.entry(row).or_default();
                *of_row = of_row.saturating_add(n);
            }
        }
        if notes.report.parameters > self.budget {
            let held = self.tensors.numbers();
            candle_core::bail!("it needs far more parameters than the {held} in the weights file");
        }
        if notes.asked.len() > MAX_TENSORS {
            candle_core::bail!("the network would have more than {MAX_TENSORS} tensors");
        }
        let values = match self.tensors.slots.get(name) {
            Some(slot) => self.take(name, slot, &shape, &mut notes),
            None => {
                if first_time {
                    let (name, shape) = (name.to_owned(), shape.dims().to_vec());
                    notes.report.missing.push(Named { name, shape });
                }
                Some(random::numbers(name, shape.dims(), init))
            }
        };
        match values {
            Some(values) => Tensor::from_vec(values, shape, device),
            None => Tensor::zeros(shape, DType::F32, device),
        }
    }

    /// For a look at the shape that a tensor has in the file: zeros that take no memory. Nothing is
    /// noted, since nothing was taken.
    fn get_unchecked(&self, name: &str, _: DType, device: &Device) -> Result<Tensor> {
        let Some(slot) = self.tensors.slots.get(name) else {
            candle_core::bail!("there is no tensor {name}");
        };
        Tensor::zeros((), DType::F32, device)?.broadcast_as(slot.shape.as_slice())
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.slots.contains_key(name)
    }
}

impl WeightSource {
    /// The numbers of a tensor of the file; `None`, with a note, if they cannot be used.
    fn take(&self, name: &str, slot: &Slot, shape: &Shape, notes: &mut Notes) -> Option<Vec<f32>> {
        if slot.shape != shape.dims() {
            notes.report.misshaped.push(Misshaped {
                name: name.to_owned(),
                found: slot.shape.clone(),
                expected: shape.dims().to_vec(),
            });
            return None;
        }
        let read = self.tensors.floats(slot).and_then(|(values, raw)| {
            check(name, &values)?;
            Ok((values, raw))
        });
        match read {
            Ok((values, raw)) => {
                if notes.read.insert(name.to_owned()) {
                    notes.digest.add(name.as_bytes());
                    notes.digest.add(&raw);
                }
                Some(values)
            }
            Err(why) => {
                notes.report.unusable.push((name.to_owned(), why));
                None
            }
        }
    }
}

/// Refuses numbers that no computation can use.
fn check(name: &str, values: &[f32]) -> std::result::Result<(), String> {
    if let Some((i, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(format!("holds {v} at position {i}, which is not finite"));
    }
    let negative = || values.iter().enumerate().find(|(_, v)| **v < 0.0);
    if name.ends_with("running_var")
        && let Some((i, v)) = negative()
    {
        return Err(format!("holds the negative variance {v} at position {i}"));
    }
    Ok(())
}
