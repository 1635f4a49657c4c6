//! Golden safetensors files: tensors by name, and metadata.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use safetensors::{Dtype, SafeTensors};

/// A tensor of a golden file. Every number in these files is exact in f64.
#[derive(Debug, Clone)]
pub struct Reference {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// A golden file.
pub struct Golden {
    tensors: BTreeMap<String, Reference>,
    meta: HashMap<String, String>,
}

impl Golden {
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let reference = Reference {
                shape: view.shape().to_vec(),
                data: numbers(view.dtype(), view.data()),
            };
            (name.to_owned(), reference)
        });
        Self {
            tensors: tensors.collect(),
            meta: header.metadata().clone().unwrap_or_default(),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn find(&self, name: &str) -> Option<&Reference> {
        self.tensors.get(name)
    }

    pub fn get(&self, name: &str) -> &Reference {
        self.find(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// A metadata entry that holds JSON.
    pub fn json(&self, key: &str) -> serde_json::Value {
        let text = self.meta.get(key).unwrap_or_else(|| panic!("no {key}"));
        serde_json::from_str(text).unwrap()
    }

    /// The tensors under a prefix as weights.
    pub fn weights(&self, prefix: &str) -> VarBuilder<'static> {
        let weights = self.tensors.iter().filter_map(|(name, reference)| {
            let name = name.strip_prefix(prefix)?;
            Some((name.to_owned(), reference.tensor()))
        });
        VarBuilder::from_tensors(weights.collect(), DType::F32, &Device::Cpu)
    }

    /// `input_u8` as network input `[1, 3, H, W]` between 0 and 1.
    pub fn input(&self) -> Tensor {
        (self.get("input_u8").tensor() / 255.0).unwrap()
    }
}

impl Reference {
    pub fn tensor(&self) -> Tensor {
        let data: Vec<f32> = self.data.iter().map(|&v| v as f32).collect();
        Tensor::from_vec(data, self.shape.as_slice(), &Device::Cpu).unwrap()
    }

    /// Row `i` of the last axis.
    pub fn row(&self, i: usize) -> &[f64] {
        let len = *self.shape.last().unwrap();
        &self.data[i * len..(i + 1) * len]
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
    }
    match dtype {
        Dtype::F32 => each(data, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::I64 => each(data, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(data, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U8 => each(data, |[b]| f64::from(b)),
        other => panic!("golden files hold no {other:?}"),
    }
}
