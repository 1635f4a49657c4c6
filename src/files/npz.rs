//! Tensors as an `.npz` archive that NumPy opens.
//!
//! `Tensor::write_npz` asks the system to write every number by itself: millions of calls and
//! seconds for the traces of one picture, and an archive that could not be finished passes for
//! whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Entries of 4 GB and more need another form of the archive.
const LARGE: usize = u32::MAX as usize;

/// Writes every tensor under its name, uncompressed.
///
/// # Errors
/// If the file cannot be written to its end, or NumPy has no such type of number.
pub(crate) fn write<S: AsRef<str>>(path: &Path, tensors: &[(S, Tensor)]) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(File::create(path)?));
    for (name, tensor) in tensors {
        let bytes = npy(tensor)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes.len() >= LARGE);
        zip.start_file(format!("{}.npy", name.as_ref()), options)?;
        zip.write_all(&bytes)?;
    }
    zip.finish()?.flush()
}

/// One tensor in NumPy's format 1.0: magic, header length, header, numbers (little endian).
fn npy(tensor: &Tensor) -> io::Result<Vec<u8>> {
    let descr = match tensor.dtype() {
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U32 => "<u4",
        DType::U8 => "|u1",
        other => return Err(io::Error::other(format!("NumPy has no {other:?}"))),
    };
    let sides = tensor.dims().iter().map(|side| format!("{side},"));
    let shape: String = sides.collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The numbers begin at a multiple of 64; ten bytes lie before the header.
    let used = (10 + header.len() + 1) % 64;
    header.extend(std::iter::repeat_n(' ', (64 - used) % 64));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;
    let size = header.len() + tensor.elem_count() * tensor.dtype().size_in_bytes();
    let mut bytes = Vec::with_capacity(10 + size);
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    let tensor = tensor.to_device(&Device::Cpu);
    let written = tensor.and_then(|t| t.write_bytes(&mut bytes));
    written.map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use candle_core::npy::NpzTensors;

    use super::*;

    #[test]
    fn tensors_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let cpu = &Device::Cpu;
        let tensors = [
            (
                "map",
                Tensor::arange(0f32, 6., cpu)
                    .unwrap()
                    .reshape((2, 3))
                    .unwrap(),
            ),
            ("one", Tensor::new(7u32, cpu).unwrap()),
            ("none", Tensor::zeros((0, 4), DType::I64, cpu).unwrap()),
        ];
        write(&path, &tensors).unwrap();
        let read = NpzTensors::new(&path).unwrap();
        let get = |name| read.get(name).unwrap().unwrap();
        assert_eq!(
            get("map").to_vec2::<f32>().unwrap(),
            [[0., 1., 2.], [3., 4., 5.]]
        );
        assert_eq!(get("one").to_scalar::<u32>().unwrap(), 7);
        assert_eq!(
            (get("none").dims(), get("none").dtype()),
            (&[0, 4][..], DType::I64)
        );
    }

    #[test]
    fn the_numbers_begin_at_a_multiple_of_64() {
        let bytes = npy(&Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(bytes.len() % 64, 8);
        assert_eq!(bytes[bytes.len() - 8..], [0, 0, 128, 63, 0, 0, 0, 64]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        // Linux has a device that is always full.
        if Path::new("/dev/full").exists() {
            let one = Tensor::new(1f32, &Device::Cpu).unwrap();
            assert!(write(Path::new("/dev/full"), &[("x", one)]).is_err());
        }
    }
}
