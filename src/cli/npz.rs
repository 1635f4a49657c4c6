//! NumPy archives: named tensors in one file that `numpy.load` reads.
//!
//! candle writes the same format, but number by number without a buffer: millions of system
//! calls, and seconds, for the traces of one picture.

use std::io::{Cursor, Write};

use candle_core::{DType, Device, Result, Tensor};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Tensors as the bytes of an archive, uncompressed: f32 as `<f4`, u32 as `<u4`, others as f32.
///
/// # Errors
/// If a tensor cannot be brought to the host.
pub(super) fn archive(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    // No time of day: the same tensors are the same bytes.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let file = npy(tensor)?;
        let started = archive.start_file(format!("{name}.npy"), options);
        started.map_err(candle_core::Error::wrap)?;
        archive.write_all(&file)?;
    }
    let whole = archive.finish().map_err(candle_core::Error::wrap)?;
    Ok(whole.into_inner())
}

/// One tensor as an npy file, version 1.0.
fn npy(tensor: &Tensor) -> Result<Vec<u8>> {
    let flat = tensor.to_device(&Device::Cpu)?.flatten_all()?;
    let (kind, numbers) = match tensor.dtype() {
        DType::U32 => ("<u4", bytes(&flat.to_vec1::<u32>()?, |v| v.to_le_bytes())),
        _ => {
            let floats = flat.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            ("<f4", bytes(&floats, |v| v.to_le_bytes()))
        }
    };
    let sides: String = tensor.dims().iter().map(|s| format!("{s},")).collect();
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}");
    // Magic, version, length and text, padded so that the numbers begin at a multiple of 64.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    file.extend(numbers);
    Ok(file)
}

fn bytes<T: Copy>(values: &[T], write: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * values.len());
    for value in values {
        bytes.extend_from_slice(&write(*value));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candle_reads_back_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.npz");
        let tensor = |shape: &[usize]| {
            let n: usize = shape.iter().product();
            let data: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 5.0).collect();
            Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
        };
        let transposed = tensor(&[3, 5]).t().unwrap();
        let indices = Tensor::from_vec(vec![0u32, 7, u32::MAX], 3, &Device::Cpu).unwrap();
        let all = [
            ("L5.sta.in".to_owned(), tensor(&[2, 3, 4])),
            ("vector".to_owned(), tensor(&[9])),
            ("number".to_owned(), tensor(&[])),
            ("empty".to_owned(), tensor(&[0, 4])),
            ("transposed".to_owned(), transposed),
            ("indices".to_owned(), indices),
        ];
        std::fs::write(&path, archive(&all).unwrap()).unwrap();
        let back = Tensor::read_npz(&path).unwrap();
        assert_eq!(back.len(), all.len());
        for ((name, ours), (found, theirs)) in all.iter().zip(&back) {
            assert_eq!(name, found);
            assert_eq!((ours.dims(), ours.dtype()), (theirs.dims(), theirs.dtype()));
            let text = |t: &Tensor| format!("{:?}", npy(t).unwrap());
            assert_eq!(text(ours), text(theirs), "{name}");
        }
    }

    #[test]
    fn numbers_begin_at_a_multiple_of_64() {
        let three = Tensor::from_vec(vec![1.0f32, -2.0, 0.5], 3, &Device::Cpu).unwrap();
        let file = npy(&three).unwrap();
        assert_eq!(file.len(), 128 + 12);
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
        assert_eq!(&file[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(&file[10..10 + text.len()], text.as_bytes());
        assert_eq!(file[127], b'\n');
        assert_eq!(
            file[128..],
            [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f]
        );
    }
}
