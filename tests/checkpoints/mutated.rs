//! Sound checkpoints with bytes changed: whatever they say, opening them ends soon, with bounded
//! memory, and never in a panic.

use std::io::{Cursor, Read, Write};
use std::time::Duration;

use attnscope::checkpoint::WeightSource;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::common::meter::measure;
use super::file;

const TIME: Duration = Duration::from_secs(2);
const MEMORY: usize = 64 << 20;

/// A fixed sequence of numbers below a bound.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// One to four changes: a byte replaced, a stretch left out, doubled, or moved in from elsewhere.
fn mutate(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    // Bytes that mean much: opcodes, and lengths of all sizes.
    const TELLING: &[u8] = b"\x00\x01\x7f\xff\x80.(0122NKMJGXTUBC])}taeusRcbQqrhjliod\x81\x85\x86\x87\x8a\x8b\x8d\x90\x93\x94";
    let mut out = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(out.len());
        let end = (at + 1 + numbers.below(24)).min(out.len());
        match numbers.below(5) {
            0 => out[at] ^= 1 << numbers.below(8),
            1 => out[at] = TELLING[numbers.below(TELLING.len())],
            2 => drop(out.drain(at..end)),
            3 => {
                let stretch = out[at..end].to_vec();
                out.splice(at..at, stretch);
            }
            _ => {
                let from = numbers.below(bytes.len());
                let stretch = bytes[from..(from + end - at).min(bytes.len())].to_vec();
                out.splice(at..end, stretch);
            }
        }
        if out.is_empty() {
            out.push(b'.');
        }
    }
    out
}

/// Opens bytes and says whether that was refused.
fn refused(bytes: &[u8], what: &str) -> bool {
    let (result, took, memory) = measure(|| WeightSource::parse_torch(bytes));
    assert!(took < TIME, "{what} took {took:?}");
    assert!(memory < MEMORY, "{what} took {} MB", memory >> 20);
    result.is_err()
}

#[test]
fn any_damage_to_a_checkpoint_is_survived() {
    let sound = std::fs::read(file("released.pt")).unwrap();
    let mut numbers = Numbers(0x5eed);
    let mut count = 0;
    for i in 0..1500 {
        let damaged = mutate(&sound, &mut numbers);
        count += usize::from(refused(&damaged, &format!("file {i}")));
    }
    assert!(!refused(&sound, "the sound file"));
    assert!(count > 100, "only {count} were refused");
}

#[test]
fn any_damage_to_its_pickle_is_survived() {
    let sound = std::fs::read(file("released.pt")).unwrap();
    let mut archive = ZipArchive::new(Cursor::new(&sound)).unwrap();
    let mut pickle = Vec::new();
    let mut entry = archive.by_name("released/data.pkl").unwrap();
    entry.read_to_end(&mut pickle).unwrap();
    drop(entry);
    let mut numbers = Numbers(0xfeed);
    let mut count = 0;
    for i in 0..1500 {
        let damaged = mutate(&pickle, &mut numbers);
        let file = with_pickle(&mut archive, &damaged);
        count += usize::from(refused(&file, &format!("pickle {i}")));
    }
    assert!(!refused(
        &with_pickle(&mut archive, &pickle),
        "the sound one"
    ));
    assert!(count > 100, "only {count} were refused");
}

/// The archive with another pickle, and everything else as it was.
fn with_pickle(archive: &mut ZipArchive<Cursor<&Vec<u8>>>, pickle: &[u8]) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    out.start_file("released/data.pkl", stored).unwrap();
    out.write_all(pickle).unwrap();
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).unwrap();
        if !entry.name().unwrap().ends_with("data.pkl") {
            out.raw_copy_file(entry).unwrap();
        }
    }
    out.finish().unwrap().into_inner()
}
