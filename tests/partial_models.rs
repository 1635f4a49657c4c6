//! Models of which only a part is there: they open with stated random numbers, or end early, and
//! say so.

mod common;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use attnscope::attention::{Knobs, Watch};
use attnscope::checkpoint::Model;
use attnscope::yolo::Head;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use common::meter::{Counting, measure};
use common::{golden_path, rows};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The small sound model with those of its tensors that `keep` names.
fn part(keep: impl Fn(&str) -> bool) -> tempfile::TempDir {
    part_of("bad/weights/intact", keep)
}

fn part_of(model: &str, keep: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let intact = golden_path(model);
    let bytes = std::fs::read(intact.join("weights.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kept = file.iter().filter(|(name, _)| keep(name));
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    safetensors::serialize_to_file(kept, None, &weights).unwrap();
    let yaml = folder.path().join("model.yaml");
    std::fs::copy(intact.join("model.yaml"), yaml).unwrap();
    folder
}

fn open(path: &Path) -> Model {
    Model::open(path, &Device::Cpu).unwrap_or_else(|e| panic!("{e}"))
}

/// A gigabyte that nobody asks for, behind the tensors of a weights file.
fn with_ballast(weights: &Path) {
    let bytes = std::fs::read(weights).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, numbers) = bytes[8..].split_at(length);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let (start, end) = (numbers.len(), numbers.len() + BALLAST);
    header["ballast"] =
        serde_json::json!({"dtype": "U8", "shape": [BALLAST], "data_offsets": [start, end]});
    let header = header.to_string();
    let mut file = std::fs::File::create(weights).unwrap();
    for part in [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        numbers,
    ] {
        file.write_all(part).unwrap();
    }
    // Sparse: it takes no room on the disk.
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

const BALLAST: usize = 1 << 30;

#[test]
fn only_what_the_network_asks_for_is_read() {
    let folder = part(|_| true);
    let whole = open(folder.path());
    with_ballast(&folder.path().join("weights.safetensors"));
    let (model, took, memory) = measure(|| open(folder.path()));
    assert_eq!(model.report.unused[0].name, "ballast");
    assert_eq!(model.digest, whole.digest);
    // Other tests run at the same time, and are counted.
    assert!(memory < 64 << 20, "{} MB", memory >> 20);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

fn run(model: &Model) -> rows::Run {
    let input = Tensor::full(0.5f32, (1, 3, 64, 64), &Device::Cpu).unwrap();
    let knobs = |row: usize, map| {
        let attention = model.network.attention_at(row).unwrap();
        attention.legal(map, &Knobs::new()).values
    };
    rows::run(&model.network, &input, &Watch::Off, knobs)
}

/// Boxes and scores for an even picture.
fn output(model: &Model) -> (Vec<f32>, Vec<f32>) {
    let raw = run(model).one_to_many;
    (raw.boxes.clone(), raw.scores.clone())
}

#[test]
fn a_row_without_weights_is_random_and_says_so() {
    let folder = part(|name| !name.starts_with("model.3.") && name != "model.7.ln.weight");
    let model = open(folder.path());
    let rows = model.random_rows();
    let told: Vec<_> = rows.iter().map(|r| (r.row, r.tensors)).collect();
    assert_eq!(told, [(3, 3), (7, 1)]);
    assert_eq!(rows[0].module, "StokenAttention");
    let badge = "random weights: 3 tensors of this layer are not in the file";
    assert_eq!(rows[0].to_string(), badge);
    let badge = "random weights: 1 tensor of this layer is not in the file";
    assert_eq!(rows[1].to_string(), badge);
    let warning = model.warning().unwrap();
    for words in [
        "weights.safetensors: random weights in row 3 (StokenAttention), 7 (PolarizedSelfAttention)",
        "4 missing",
        "missing: model.3.stoken_refine.qkv.weight [24, 8, 1, 1]",
    ] {
        assert!(warning.contains(words), "no '{words}' in {warning}");
    }
    assert!(!model.report.is_whole());
    assert!(!model.card.random, "most of it is from the file");
    assert_eq!(model.report.found + 4, model.report.expected);
}

#[test]
fn random_numbers_are_the_same_every_time() {
    let without = |row: &'static str| part(move |name| !name.starts_with(row));
    let (a, b) = (without("model.3."), without("model.3."));
    let (a, b) = (open(a.path()), open(b.path()));
    assert_eq!(a.digest, b.digest);
    let (boxes, scores) = output(&a);
    assert_eq!((&boxes, &scores), (&output(&b).0, &output(&b).1));
    assert!(boxes.iter().chain(&scores).all(|v| v.is_finite()));
    let whole = part(|_| true);
    let whole = open(whole.path());
    assert_ne!(output(&whole).0, boxes);
    assert_ne!(whole.digest, a.digest);
}

#[test]
fn with_fewer_than_half_of_the_tensors_it_is_another_file() {
    let rows_up_to = |last: usize| {
        let row = |name: &str| name.split('.').nth(1)?.parse::<usize>().ok();
        part(move |name| row(name).is_some_and(|r| r <= last))
    };
    let folder = rows_up_to(7);
    let message = Model::open(folder.path(), &Device::Cpu).unwrap_err();
    let message = message.to_string();
    for words in [
        "weights.safetensors: of ",
        "missing: model.10.cv2.0.0.conv.weight",
    ] {
        assert!(message.contains(words), "no '{words}' in {message}");
    }
}

#[test]
fn a_definition_alone_runs_on_random_numbers() {
    let folder = part(|_| true);
    let alone = folder.path().join("alone");
    std::fs::create_dir(&alone).unwrap();
    let yaml = alone.join("small.yaml");
    std::fs::copy(folder.path().join("model.yaml"), &yaml).unwrap();
    let model = open(&yaml);
    assert!(model.card.random);
    assert_eq!((model.name.as_str(), model.report.found), ("small", 0));
    // Upsample and Concat have no weights.
    let rows: Vec<usize> = model.random_rows().iter().map(|r| r.row).collect();
    assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6, 7, 10]);
    let warning = model.warning().unwrap();
    assert!(
        warning.ends_with("all weights are random: there is no weights file"),
        "{warning}"
    );
    assert!(warning.contains("small.yaml: "), "{warning}");
    let (boxes, scores) = output(&model);
    assert!(boxes.iter().chain(&scores).all(|v| v.is_finite()));
    let spread = |v: &[f32]| {
        v.iter()
            .copied()
            .fold(0.0f32, |m, v| m.max((v - scores[0]).abs()))
    };
    assert!(spread(&scores) > 1e-3, "the signal was lost on its way");
}

#[test]
fn a_model_may_have_only_its_one_to_one_head() {
    // Folding BatchNorm into an end-to-end model takes the other one away.
    let folder = part_of("tiny", |name| {
        let head = name.split('.').nth(2).unwrap_or_default();
        !["cv2", "cv3"].contains(&head) || !name.starts_with("model.25.")
    });
    let (part, whole) = (open(folder.path()), open(&golden_path("tiny")));
    assert_eq!(whole.report.heads, ["one-to-one", "one-to-many"]);
    assert!(part.report.is_whole(), "{}", part.report);
    assert_eq!(part.report.heads, ["one-to-one"]);
    assert_eq!(part.best_head(), Head::OneToOne);
    let (ours, expected) = (run(&part), run(&whole));
    assert_eq!(ours.one_to_one, expected.one_to_one);
    assert_ne!(expected.one_to_one, expected.one_to_many);
}

#[test]
fn a_module_that_nobody_knows_ends_the_network() {
    let folder = part(|_| true);
    let yaml = golden_path("bad/yaml/unknown_module.yaml");
    std::fs::copy(yaml, folder.path().join("model.yaml")).unwrap();
    let model = open(folder.path());
    assert_eq!(model.network.layers().len(), 3);
    let stopped = model.report.stopped.as_deref().unwrap();
    assert!(
        stopped.starts_with("row 3 (MysteryAttention): "),
        "{stopped}"
    );
    assert!(model.warning().unwrap().contains(stopped));
    assert_eq!(model.report.unknown, ["row 3 (MysteryAttention)"]);
    let text = model.report.to_string();
    assert!(
        text.contains("not known: row 3 (MysteryAttention)"),
        "{text}"
    );
    assert!(!model.report.is_whole());
}

#[test]
fn a_definition_alone_with_a_module_that_nobody_knows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("model.yaml");
    std::fs::copy(golden_path("bad/yaml/unknown_module.yaml"), &place).unwrap();
    let why = Model::open(&place, &Device::Cpu).unwrap_err().to_string();
    assert!(why.contains("row 3 (MysteryAttention): "), "{why}");
}
