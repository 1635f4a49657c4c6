//! One network in every form that training scripts save.

use std::collections::BTreeMap;

use attnscope::checkpoint::{Model, convert};
use attnscope::yolo::Head;
use candle_core::Device;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::common::golden_path;
use super::{file, open, output};

/// The same network as a model folder, rounded as the checkpoints are.
fn folder() -> tempfile::TempDir {
    let intact = golden_path("bad/weights/intact");
    let bytes = std::fs::read(intact.join("weights.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let rounded = |data: &[u8]| -> Vec<u8> {
        let values = data.as_chunks::<2>().0.iter().map(|b| {
            let v = f16::from_le_bytes(*b).to_f32();
            if v.abs() < f16::MIN_POSITIVE.to_f32() {
                0.0
            } else {
                bf16::from_f32(v).to_f32()
            }
        });
        values.flat_map(f32::to_le_bytes).collect()
    };
    let stored: BTreeMap<_, _> = tensors
        .iter()
        .map(|(name, view)| (name, (view.shape().to_vec(), rounded(view.data()))))
        .collect();
    let views = stored.iter().map(|(name, (shape, data))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    safetensors::serialize_to_file(views, None, &weights).unwrap();
    let yaml = folder.path().join("model.yaml");
    std::fs::copy(intact.join("model.yaml"), yaml).unwrap();
    folder
}

#[test]
fn every_form_is_the_same_network() {
    let expected = output(&open(folder().path()));
    assert!(expected.boxes.iter().all(|v| v.is_finite()));
    for name in ["released.pt", "training.pt", "tensors.pt", "tensors.yaml"] {
        let model = open(&file(name));
        assert!(model.report.is_whole(), "{name}: {}", model.report);
        assert_eq!(model.report.found, model.report.expected, "{name}");
        assert!(model.report.unused.is_empty(), "{name}: {}", model.report);
        assert_eq!(output(&model), expected, "{name}");
        assert_eq!(model.classes, ["left", "right"], "{name}");
    }
}

#[test]
fn a_fused_checkpoint_gives_the_same_up_to_rounding() {
    let model = open(&file("fused.pt"));
    assert!(
        model.report.fused && model.report.is_whole(),
        "{}",
        model.report
    );
    assert!(!open(&file("released.pt")).report.fused);
    let (ours, expected) = (output(&model), output(&open(&file("released.pt"))));
    let pairs = ours.boxes.iter().zip(&expected.boxes);
    let pairs = pairs.chain(ours.scores.iter().zip(&expected.scores));
    let apart = pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(apart < 1e-4, "{apart}");
    assert!(apart > 0.0, "folding in another precision rounds somewhere");
}

#[test]
fn what_stands_beside_the_tensors_is_read() {
    let model = open(&file("released.pt"));
    assert_eq!((model.name.as_str(), model.best_size()), ("released", 96));
    assert_eq!(model.best_head(), Head::OneToMany);
    assert_eq!(model.report.heads, ["one-to-many"]);
    let said = model.report.attributes.join("\n");
    for words in [
        "row 5 (BiLevelRoutingAttention)",
        "n_win 2",
        "topk 4",
        "row 3 (StokenAttention)",
    ] {
        assert!(said.contains(words), "no '{words}' in {said}");
    }
    // The file holds an anchor cache that no state dict has.
    assert!(!model.report.to_string().contains("cache"));
    assert_eq!(model.warning(), None);
}

#[test]
fn hyperparameters_of_the_module_win_over_its_definition() {
    // Row 5 has no arguments: without the attributes there would be 7 × 7 regions.
    let model = open(&file("released.pt"));
    let knobs = model.network.attention_at(5).unwrap();
    let legal = knobs.legal([6, 6], &Default::default());
    assert_eq!(legal.values["n_win"].to_string(), "2");
}

#[test]
fn calls_in_a_pickle_are_named_and_not_made() {
    let model = open(&file("training.pt"));
    assert_eq!(model.report.skipped, [format!("{}.system", SYSTEM)]);
    let warning = model.warning().unwrap();
    assert!(
        warning.contains("not called: ") && warning.contains(".system"),
        "{warning}"
    );
    assert!(model.report.is_whole());
}

/// Python's name of the module that `os.system` comes from.
const SYSTEM: &str = "posix";

#[test]
fn wrappers_in_names_are_taken_off_and_said() {
    let assumed = open(&file("tensors.pt")).report.assumed;
    assert_eq!(
        assumed[0],
        "tensor names begin with module.model.; read as model."
    );
}

#[test]
fn bare_tensors_need_a_definition_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone.pt");
    std::fs::copy(file("tensors.pt"), &alone).unwrap();
    let message = Model::open(&alone, &Device::Cpu).unwrap_err().to_string();
    for words in [
        "alone.pt: it holds tensors",
        "expected alone.yaml or model.yaml beside it",
    ] {
        assert!(message.contains(words), "{message}");
    }
    std::fs::copy(file("tensors.yaml"), folder.path().join("model.yaml")).unwrap();
    assert_eq!(output(&open(&alone)), output(&open(&file("tensors.pt"))));
}

#[test]
fn training_names_every_file_best_and_its_folder_tells_them_apart() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("train7/weights");
    std::fs::create_dir_all(&weights).unwrap();
    std::fs::copy(file("released.pt"), weights.join("best.pt")).unwrap();
    assert_eq!(open(&weights.join("best.pt")).name, "train7");
}

#[test]
fn other_models_are_called_by_their_name() {
    let message = Model::open(&file("segment.pt"), &Device::Cpu).unwrap_err();
    let message = message.to_string();
    for words in [
        "instance segmentation",
        "SegmentationModel",
        "expected a detection model",
    ] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_module_that_nobody_knows_ends_the_network_and_is_named() {
    let model = open(&file("unknown.pt"));
    let warning = model.warning().unwrap();
    assert!(warning.contains("row 4 (MysteryAttention)"), "{warning}");
    assert!(!model.report.is_whole());
    assert_eq!(model.network.layers().len(), 4);
    assert!(model.report.unused.is_empty(), "{}", model.report);
}

#[test]
fn a_converted_model_is_the_same_model() {
    let place = tempfile::tempdir().unwrap();
    for name in ["released.pt", "training.pt", "tensors.pt", "fused.pt"] {
        let out = place.path().join(name);
        convert(&file(name), &out).unwrap();
        let mut files: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["card.json", "model.yaml", "weights.safetensors"]);
        let (before, after) = (open(&file(name)), open(&out));
        assert_eq!(after.config, before.config, "{name}");
        assert_eq!(output(&after), output(&before), "{name}");
        assert_eq!(after.digest, before.digest, "{name}");
        assert_eq!(after.classes, before.classes, "{name}");
        assert_eq!(after.best_size(), before.best_size(), "{name}");
        assert_eq!(after.report.attributes, before.report.attributes, "{name}");
        assert_eq!(after.name, before.name);
    }
}

#[test]
fn converted_tensors_keep_their_type() {
    let out = tempfile::tempdir().unwrap();
    let types = |name: &str| {
        let folder = out.path().join(name);
        convert(&file(name), &folder).unwrap();
        let bytes = std::fs::read(folder.join("weights.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut types: Vec<_> = file.iter().map(|(_, t)| t.dtype().to_string()).collect();
        types.sort();
        types.dedup();
        types
    };
    assert_eq!(types("released.pt"), ["F16"]);
    assert_eq!(types("training.pt"), ["F32"]);
    assert_eq!(types("tensors.pt"), ["BF16", "F64"]);
}

#[test]
fn a_model_is_not_converted_over_itself() {
    let folder = folder();
    let before = std::fs::read(folder.path().join("model.yaml")).unwrap();
    for from in [folder.path().to_owned(), folder.path().join("model.yaml")] {
        let message = convert(&from, folder.path()).unwrap_err().to_string();
        assert!(message.contains("lies in it"), "{message}");
    }
    assert_eq!(
        std::fs::read(folder.path().join("model.yaml")).unwrap(),
        before
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
