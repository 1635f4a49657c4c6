//! Weights files: a safetensors file as a source of tensors that notes what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::damage;
use super::report::{LoadReport, Misshaped, Named};

/// A network may ask for this many numbers more than the file holds, so that a report can name
/// all that is missing. Beyond that the file is of another network, and zeros in its place would
/// only fill the memory.
const SLACK: usize = 4 << 20;
/// A network with more tensors than this is refused: x-scale detectors have two thousand.
const MAX_TENSORS: usize = 20_000;

/// Tensors of one file, handed out by name. A tensor that cannot be handed out is noted and
/// replaced by zeros, so that one report can name everything that is wrong.
pub struct WeightSource<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    /// Numbers in the file.
    numbers: usize,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    report: LoadReport,
    asked: BTreeSet<String>,
}

/// Reads the notes after a network was built.
pub struct Recorder {
    notes: Arc<Mutex<Notes>>,
    all: Vec<Named>,
}

impl<'a> WeightSource<'a> {
    /// Reads the directory of a safetensors file; the numbers stay where they are.
    ///
    /// # Errors
    /// One sentence on what is wrong with the file.
    pub fn parse(bytes: &'a [u8]) -> std::result::Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty".into());
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| {
            damage::describe(bytes).unwrap_or_else(|| format!("it is damaged ({e})"))
        })?;
        let tensors: BTreeMap<_, _> = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view))
            .collect();
        Ok(Self {
            numbers: tensors
                .values()
                .map(|v| v.shape().iter().product::<usize>())
                .sum(),
            tensors,
            notes: Arc::default(),
        })
    }

    /// The source as a variable builder, and the notes it will take.
    pub fn into_builder(self, device: &Device) -> (VarBuilder<'a>, Recorder) {
        let all = self
            .tensors
            .iter()
            .map(|(name, view)| Named {
                name: name.clone(),
                shape: view.shape().to_vec(),
            })
            .collect();
        let recorder = Recorder {
            notes: self.notes.clone(),
            all,
        };
        let builder = VarBuilder::from_backend(Box::new(self), DType::F32, device.clone());
        (builder, recorder)
    }
}

impl Recorder {
    /// What was found, missing, misshaped and left over.
    pub fn report(self) -> LoadReport {
        let notes = lock(&self.notes);
        let mut report = notes.report.clone();
        report.in_file = self.all.len();
        report.expected = notes.asked.len();
        report.unused = self
            .all
            .into_iter()
            // A counter of training steps beside every BatchNorm; nothing needs it here.
            .filter(|t| !t.name.ends_with("num_batches_tracked"))
            .filter(|t| !notes.asked.contains(&t.name))
            .collect();
        report
    }
}

fn lock(notes: &Mutex<Notes>) -> std::sync::MutexGuard<'_, Notes> {
    notes
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl SimpleBackend for WeightSource<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        _: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut notes = lock(&self.notes);
        // Running statistics are no parameters, though they are kept as tensors.
        if notes.asked.insert(name.to_owned()) && !name.contains(".running_") {
            notes.report.parameters = notes.report.parameters.saturating_add(shape.elem_count());
        }
        if notes.report.parameters > self.numbers.saturating_add(SLACK) {
            let held = self.numbers;
            candle_core::bail!("it needs far more parameters than the {held} in the weights file");
        }
        if notes.asked.len() > MAX_TENSORS {
            candle_core::bail!("the network would have more than {MAX_TENSORS} tensors");
        }
        let report = &mut notes.report;
        let zeros = || Tensor::zeros(shape.clone(), DType::F32, device);
        let Some(view) = self.tensors.get(name) else {
            report.missing.push(Named {
                name: name.to_owned(),
                shape: shape.dims().to_vec(),
            });
            return zeros();
        };
        if view.shape() != shape.dims() {
            report.misshaped.push(Misshaped {
                name: name.to_owned(),
                found: view.shape().to_vec(),
                expected: shape.dims().to_vec(),
            });
            return zeros();
        }
        match numbers(name, view) {
            Ok(values) => Tensor::from_vec(values, shape, device),
            Err(why) => {
                report.unusable.push((name.to_owned(), why));
                zeros()
            }
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(view) = self.tensors.get(name) else {
            candle_core::bail!("there is no tensor {name}");
        };
        let shape = Shape::from(view.shape());
        self.get(shape, name, candle_nn::Init::Const(0.0), dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

/// The numbers of a tensor as f32, checked to be usable.
fn numbers(name: &str, view: &TensorView<'_>) -> std::result::Result<Vec<f32>, String> {
    use safetensors::Dtype;
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => chunks(data, f32::from_le_bytes),
        Dtype::F64 => chunks(data, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => chunks(data, |b| half::f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => chunks(data, |b| half::bf16::from_le_bytes(b).to_f32()),
        other => {
            return Err(format!(
                "holds {other:?} numbers instead of F32, F64, F16 or BF16"
            ));
        }
    };
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        return Err(format!(
            "holds {} at position {i}, which is not finite",
            values[i]
        ));
    }
    if name.ends_with("running_var")
        && let Some(i) = values.iter().position(|v| *v < 0.0)
    {
        return Err(format!(
            "holds the negative variance {} at position {i}",
            values[i]
        ));
    }
    Ok(values)
}

fn chunks<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (whole, _) = data.as_chunks::<N>();
    whole.iter().map(|c| read(*c)).collect()
}
