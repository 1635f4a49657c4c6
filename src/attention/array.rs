//! Plain host arrays: what a trace holds, so that a window or a file can read numbers directly.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

/// A row-major array of f32 on the host. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Arc<[f32]>,
}

impl Array {
    /// An array from its parts; `None` when the shape does not fit the data.
    pub fn new(shape: &[usize], data: impl Into<Arc<[f32]>>) -> Option<Self> {
        let data = data.into();
        let fits = shape.iter().product::<usize>() == data.len();
        fits.then(|| Self {
            shape: shape.to_vec(),
            data,
        })
    }

    /// Copies a tensor of any float type and layout from its device.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let shape = tensor.dims().to_vec();
        let flat = tensor.to_dtype(DType::F32)?.flatten_all()?;
        Ok(Self {
            shape,
            data: flat.to_vec1::<f32>()?.into(),
        })
    }

    /// The same numbers as a tensor on the CPU.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Tensor::from_slice(&self.data, self.shape.as_slice(), &Device::Cpu)
    }

    /// Axis lengths.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All values, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values as a shared slice.
    pub fn shared(&self) -> Arc<[f32]> {
        self.data.clone()
    }

    /// The value at an index, or NaN outside the array.
    pub fn at(&self, index: &[usize]) -> f32 {
        if index.len() != self.shape.len() {
            return f32::NAN;
        }
        let mut offset = 0;
        for (&i, &n) in index.iter().zip(&self.shape) {
            if i >= n {
                return f32::NAN;
            }
            offset = offset * n + i;
        }
        self.data[offset]
    }

    /// The sub-array `i` of the first axis as a slice; empty outside the array.
    pub fn row(&self, i: usize) -> &[f32] {
        let len: usize = self.shape.iter().skip(1).product();
        self.data.get(i * len..(i + 1) * len).unwrap_or(&[])
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.data)
    }
}

/// A row-major array of indices on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indices {
    shape: Vec<usize>,
    data: Arc<[u32]>,
}

impl Indices {
    /// An array from its parts; `None` when the shape does not fit the data.
    pub fn new(shape: &[usize], data: impl Into<Arc<[u32]>>) -> Option<Self> {
        let data = data.into();
        let fits = shape.iter().product::<usize>() == data.len();
        fits.then(|| Self {
            shape: shape.to_vec(),
            data,
        })
    }

    /// Axis lengths.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All values, row-major.
    pub fn data(&self) -> &[u32] {
        &self.data
    }

    /// The sub-array `i` of the first axis; empty outside the array.
    pub fn row(&self, i: usize) -> &[u32] {
        let len: usize = self.shape.iter().skip(1).product();
        self.data.get(i * len..(i + 1) * len).unwrap_or(&[])
    }

    /// The same numbers as a tensor of u32 on a device.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(&self.data, self.shape.as_slice(), device)
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexing_is_row_major_and_total() {
        let a = Array::new(&[2, 3], vec![0., 1., 2., 3., 4., 5.]).unwrap();
        assert_eq!(a.at(&[1, 2]), 5.0);
        assert_eq!(a.row(1), &[3., 4., 5.]);
        assert!(a.at(&[2, 0]).is_nan());
        assert!(a.at(&[0]).is_nan());
        assert!(a.row(2).is_empty());
        assert!(Array::new(&[2, 2], vec![0.0]).is_none());
    }
}
