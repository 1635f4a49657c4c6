//! Damaged and malicious checkpoints: one message each, at once, with little memory.

use std::time::Duration;

use attnscope::Error;
use attnscope::checkpoint::Model;
use candle_core::Device;

use super::common::meter::measure;
use super::file;

/// Longest time and most memory that a refusal may take.
const TIME: Duration = Duration::from_secs(2);
const MEMORY: usize = 16 << 20;

/// The files of `hostile` and what their messages must say.
const FILES: &[(&str, &[&str])] = &[
    (
        "axes_without_strides",
        &["model.0.w has 2 axes and 1 strides"],
    ),
    ("big_endian", &["big-endian"]),
    ("bit_flip", &["data.pkl", "damaged"]),
    (
        "bytes_of_16_eib",
        &["18446744073709551615 bytes should follow"],
    ),
    ("doubling_modules", &["nested"]),
    ("doubling_tuples", &["expected a model or its tensors"]),
    ("empty", &["the file is empty"]),
    ("extension_code", &["the opcode 0x82 is not known"]),
    ("key_without_value", &["a key has no value"]),
    ("legacy", &["before 1.6", "save it again with torch.save"]),
    ("memo_missing", &["value 99 was never kept"]),
    (
        "missing_storage",
        &["model.0.w needs the entry data/0, which is missing"],
    ),
    ("module_in_itself", &["nested"]),
    ("negative_shape", &["model.0.w has a shape"]),
    ("nesting", &["expected a model or its tensors"]),
    ("no_end", &["at byte 3, it ends"]),
    ("no_pickle", &["no data.pkl"]),
    (
        "offset_beyond_storage",
        &["model.0.w", "storage has 8 bytes"],
    ),
    ("self_append", &["expected a model or its tensors"]),
    (
        "shape_beyond_64_bits",
        &["model.0.w has a shape that no memory can hold"],
    ),
    (
        "shape_overflow",
        &["model.0.w", "[1099511627776, 1099511627776]"],
    ),
    ("short_storage", &["model.0.w", "storage has 5 bytes"]),
    ("stack_underflow", &["the stack is empty"]),
    (
        "stride_beyond_storage",
        &["model.0.w", "storage has 8 bytes"],
    ),
    ("string_of_2_gib", &["2147483647 bytes should follow"]),
    ("system", &["a call of", ".system"]),
    ("tensors_and_eval", &["no definition of the network"]),
    ("text", &["no zip archive"]),
    ("torchscript", &["TorchScript"]),
    ("truncated", &["cut off"]),
];

#[test]
fn every_hostile_checkpoint_is_refused_by_its_fault() {
    let entries = std::fs::read_dir(file("hostile")).unwrap();
    assert_eq!(entries.count(), FILES.len());
    for (name, words) in FILES {
        let path = file("hostile").join(name).with_extension("pt");
        let (result, took, memory) = measure(|| Model::open(&path, &Device::Cpu));
        assert!(took < TIME, "{name} took {took:?}");
        assert!(memory < MEMORY, "{name} took {} MB", memory >> 20);
        let error = result.err().unwrap_or_else(|| panic!("{name} was opened"));
        let text = error.to_string();
        assert!(matches!(error, Error::File { .. }), "{name}: {text}");
        assert_eq!(text.matches("; expected ").count(), 1, "{name}: {text}");
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
        for word in [&format!("{name}.pt: ")[..]].iter().chain(*words) {
            assert!(text.contains(word), "{name}: no '{word}' in {text}");
        }
    }
}

#[test]
fn opening_reads_tensors_one_at_a_time() {
    let path = file("training.pt");
    let size = std::fs::metadata(&path).unwrap().len() as usize;
    let (model, _, peak) = measure(|| Model::open(&path, &Device::Cpu).unwrap());
    assert!(model.report.is_whole());
    // The pickle and its values, and the network: 16 thousand numbers of 4 bytes.
    assert!(peak < 16 * size, "{peak} bytes for a file of {size}");
}
