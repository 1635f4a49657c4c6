//! Every reader of untrusted bytes, on sound and broken files of the tests and on mutations of
//! them: no panic, no hang, no more memory than such a file may take.
//!
//! A few seconds each; `ATTNSCOPE_FUZZ_SECONDS` sets another time. `fuzz/` runs the same functions
//! under a fuzzer that is guided by coverage.

#[path = "../common/meter.rs"]
#[allow(dead_code)]
mod meter;
mod targets;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meter::{Counting, measure};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longest time for one input.
const TIME: Duration = Duration::from_secs(5);
/// Larger files of the tests are no seeds: mutating them takes more time than it finds.
const MAX_SEED: u64 = 256 << 10;

/// What a reader is given, and what it may take.
struct Reader {
    run: fn(&[u8]),
    /// Bytes that mean much to it: they are put in more often than others.
    telling: &'static [u8],
    /// Most memory for one input.
    memory: usize,
}

#[test]
fn definitions() {
    let seeds = files(&["tests/golden", "models"], &["yaml"]);
    // A network may ask for four million numbers that its file lacks, and holds them in the order
    // of the kernels, too.
    for (run, memory) in [
        (targets::definition as fn(&[u8]), 64 << 20),
        (targets::network, 256 << 20),
    ] {
        let reader = Reader {
            run,
            telling: b"-0123456789.eE[]{},:#&*!|>'\"~nc\n ",
            memory,
        };
        reader.survives(&seeds);
    }
}

#[test]
fn safetensors_files() {
    let mut seeds = files(&["tests/golden/bad/weights"], &["safetensors"]);
    // The header is what is read with care.
    seeds.iter_mut().for_each(|s| s.truncate(4096));
    let reader = Reader {
        run: targets::safetensors,
        telling: b"\x00\x7f\x80\xff{}[],:\"0123456789F",
        memory: 64 << 20,
    };
    reader.survives(&seeds);
}

/// Opcodes, and lengths of all sizes.
const OPCODES: &[u8] = b"\x00\x01\x7f\xff\x80.(0122NKMJGXTUBC])}taeusRcbQqrhjliod\x81\x85\x86\x87\x8a\x8b\x8c\x8d\x8f\x90\x92\x93\x94\x95\x96";

#[test]
fn checkpoints() {
    let reader = Reader {
        run: targets::checkpoint,
        telling: b"\x00\x01\x7f\x80\xffPK\x01\x02\x03\x04\x05\x06",
        memory: 64 << 20,
    };
    reader.survives(&files(&["tests/checkpoints"], &["pt"]));
}

#[test]
fn pickles() {
    let archives = files(&["tests/checkpoints"], &["pt"]);
    let pickle = |archive: &Vec<u8>| -> Option<Vec<u8>> {
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).ok()?;
        let names = zip.file_names_raw().map(String::from_utf8_lossy);
        let name = names
            .into_iter()
            .find(|n| n.ends_with("data.pkl"))?
            .into_owned();
        let mut pickle = Vec::new();
        zip.by_name(&name).ok()?.read_to_end(&mut pickle).ok()?;
        Some(pickle)
    };
    let seeds: Vec<_> = archives.iter().filter_map(pickle).collect();
    assert!(seeds.len() > 25, "{} pickles", seeds.len());
    let reader = Reader {
        run: targets::pickle,
        telling: OPCODES,
        memory: 64 << 20,
    };
    reader.survives(&seeds);
}

#[test]
fn cards() {
    let reader = Reader {
        run: targets::card,
        telling: b"{}[],:\"0123456789.-e\\",
        memory: 16 << 20,
    };
    reader.survives(&files(&["tests/golden", "models"], &["json"]));
}

#[test]
fn pictures() {
    let kinds = ["png", "jpg", "bmp", "gif", "webp", "tiff"];
    let reader = Reader {
        run: targets::picture,
        telling: b"\x00\x01\x7f\x80\xfe\xff",
        // As much as a decoder may ask for, the picture, and the picture turned upright.
        memory: 13 << 28,
    };
    reader.survives(&files(&["tests/pictures"], &kinds));
}

#[test]
fn labels() {
    let jsonl = br#"{"file": "a.webp", "width": 40, "height": 30, "labelled": [0, 2], "boxes": [[2, 1, 2.5, 30, 20]]}
{"file": "b/c.png", "width": 4, "height": 3, "boxes": []}"#;
    let yolo = b"1 0.5 0.25 0.5 0.5\n0 0.1 0.2 0.3 0.2 0.2 0.6\n";
    let coco = br#"{"images": [{"id": 9, "file_name": "b.png", "width": 40, "height": 30}],
        "annotations": [{"image_id": 9, "category_id": 18, "bbox": [1, 2, 10, 20.5], "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]}"#;
    let names = b"path: x\nnc: 2\nnames:\n  0: cat\n  1: 'dog'\n";
    for (run, seed) in [
        (targets::labels_jsonl as fn(&[u8]), jsonl.as_slice()),
        (targets::labels_yolo, yolo),
        (targets::labels_coco, coco),
        (targets::class_names, names),
    ] {
        let reader = Reader {
            run,
            telling: b"-0123456789.eE[]{},:\"'&*\\/ \n",
            memory: 16 << 20,
        };
        reader.survives(&[seed.to_vec()]);
    }
}

#[test]
fn archives() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "a/".repeat(80) + "b.png";
    let labels = br#"{"file": "a.png", "width": 1, "height": 1, "boxes": []}"#;
    for (name, bytes) in [
        ("labels.jsonl", labels.as_slice()),
        ("a.png", &[7; 700]),
        (&long, b"long"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    }
    let reader = Reader {
        run: targets::archive,
        telling: b"\x00\x7f\x80\xff01234567LKSgx5 /.",
        memory: 16 << 20,
    };
    reader.survives(&[builder.into_inner().unwrap()]);
}

impl Reader {
    /// All seeds, then mutations of them until the time is up.
    fn survives(&self, seeds: &[Vec<u8>]) {
        let seconds = std::env::var("ATTNSCOPE_FUZZ_SECONDS").ok();
        let seconds = seconds.and_then(|s| s.parse().ok()).unwrap_or(3);
        let end = Instant::now() + Duration::from_secs(seconds);
        for (i, seed) in seeds.iter().enumerate() {
            self.survive(seed, &format!("seed {i}"));
        }
        let mut numbers = Numbers(0x5eed_5eed);
        let mut count = 0;
        // On a slow machine the seeds alone may take the time.
        while count == 0 || Instant::now() < end {
            let state = numbers.0;
            let seed = &seeds[numbers.below(seeds.len())];
            let input = self.mutated(seed, seeds, &mut numbers);
            // The state brings the same input again.
            self.survive(&input, &format!("mutation {state:#x}"));
            count += 1;
        }
        println!("{} seeds, {count} mutations", seeds.len());
    }

    fn survive(&self, input: &[u8], what: &str) {
        let ((), took, memory) = measure(|| (self.run)(input));
        if took < TIME && memory < self.memory {
            return;
        }
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("too_much");
        std::fs::write(&kept, input).unwrap();
        let (megabytes, kept) = (memory >> 20, kept.display());
        panic!("{what} took {took:?} and {megabytes} MB; it is in {kept}");
    }

    /// One to four changes: a bit, a telling byte, a stretch left out, doubled, or from elsewhere.
    fn mutated(&self, seed: &[u8], seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
        let mut out = seed.to_vec();
        for _ in 0..=numbers.below(4) {
            if out.is_empty() {
                out.push(self.telling[numbers.below(self.telling.len())]);
            }
            let at = numbers.below(out.len());
            let end = (at + 1 + numbers.below(24)).min(out.len());
            match numbers.below(5) {
                0 => out[at] ^= 1 << numbers.below(8),
                1 => out[at] = self.telling[numbers.below(self.telling.len())],
                2 => drop(out.drain(at..end)),
                3 => {
                    let stretch = out[at..end].to_vec();
                    out.splice(at..at, stretch);
                }
                _ => {
                    let other = &seeds[numbers.below(seeds.len())];
                    let from = numbers.below(other.len().max(1)).min(other.len());
                    let to = (from + end - at).min(other.len());
                    out.splice(at..end, other[from..to].to_vec());
                }
            }
        }
        out
    }
}

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

/// The files of these kinds in folders of the project, in order.
fn files(folders: &[&str], kinds: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|f| root.join(f)).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if path.is_dir() {
                open.push(path);
            } else if kinds.contains(&kind) && path.metadata().unwrap().len() <= MAX_SEED {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no seeds in {folders:?}");
    found.iter().map(|p| std::fs::read(p).unwrap()).collect()
}
