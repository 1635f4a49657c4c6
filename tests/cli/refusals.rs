//! Bad input: one clear line that names the file, a non-zero exit, nothing left behind.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::program::{CAT, Out, Ran, TINY};

/// The run was refused: exit 1, a message that begins with the file and says what was expected,
/// and an output folder as empty as before.
fn assert_refused(ran: &Ran, out: &Out, file: &str) {
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.stdout, "");
    let start = format!("attnscope: {file}: ");
    assert!(
        ran.stderr.starts_with(&start),
        "no '{start}' in {}",
        ran.stderr
    );
    assert!(ran.stderr.contains("; expected "), "{}", ran.stderr);
    for defect in ["panicked", "the computation failed", "RUST_BACKTRACE"] {
        assert!(!ran.stderr.contains(defect), "{}", ran.stderr);
    }
    assert_eq!(out.entries(), [""; 0], "something was left behind");
}

/// As [`assert_refused`], and the message is one line.
fn assert_refused_in_a_line(ran: &Ran, out: &Out, file: &str) {
    assert_refused(ran, out, file);
    assert_eq!(ran.errors().len(), 1, "{}", ran.stderr);
}

/// A model folder made for one test.
struct ModelFolder(Out);

impl ModelFolder {
    /// The tiny model with its weights changed.
    fn tiny(change: impl FnOnce(&mut HashMap<String, (Vec<usize>, Vec<f32>)>)) -> Self {
        let bytes = std::fs::read(Path::new(TINY).join("weights.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |view: &TensorView<'_>| -> Vec<f32> {
            let halves = view.data().as_chunks::<2>().0.iter();
            halves
                .map(|b| half::f16::from_le_bytes(*b).to_f32())
                .collect()
        };
        let mut tensors: HashMap<_, _> = file
            .iter()
            .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), floats(&view))))
            .collect();
        change(&mut tensors);

        let folder = Self(Out::new());
        std::fs::copy(
            Path::new(TINY).join("model.yaml"),
            folder.file("model.yaml"),
        )
        .unwrap();
        let bytes: HashMap<&String, (Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, data))| {
                let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
                (name, (shape.clone(), raw))
            })
            .collect();
        let views = bytes.iter().map(|(name, (shape, raw))| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.clone(), raw).unwrap(),
            )
        });
        safetensors::serialize_to_file(views, None, &folder.file("weights.safetensors")).unwrap();
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn analyze(&self, out: &Out) -> Ran {
        out.analyze(&format!(
            "{CAT} --imgsz 64 --model {}",
            self.0.path().display()
        ))
    }
}

/// Names in a folder, in order.
fn names(folder: &str) -> Vec<String> {
    let name = |e: std::fs::DirEntry| e.file_name().into_string().unwrap();
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn files_that_are_no_pictures() {
    let folder = Out::new();
    let write = |name: &str, content: &[u8]| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let png = std::fs::read(CAT).unwrap();
    let here = folder.path().display().to_string();
    for (file, problem) in [
        (
            write("half.png", &png[..png.len() / 2]),
            "PNG data is damaged or cut off",
        ),
        (
            write("start.png", &png[..20]),
            "PNG data is damaged or cut off",
        ),
        (write("empty.jpg", b""), "the file is empty"),
        (
            write("letter.jpg", b"Dear reader,\nthis is no picture.\n"),
            "not a picture of a known type",
        ),
        (
            write("zeros.png", &[0; 4096]),
            "not a picture of a known type",
        ),
        (format!("{here}/missing.png"), "there is no such file"),
        (here.clone(), "it is a folder"),
        (
            "tests/pictures/60000x60000.png".into(),
            "60000 × 60000 pixels are too many",
        ),
        (
            "tests/pictures/11000x10000.png".into(),
            "11000 × 10000 pixels are too many",
        ),
        ("tests/pictures/0x5.png".into(), "PNG"),
    ] {
        let out = Out::new();
        let ran = out.analyze(&file);
        assert_refused_in_a_line(&ran, &out, &file);
        assert!(
            ran.stderr.contains(problem),
            "no '{problem}' in {}",
            ran.stderr
        );
        assert!(
            ran.stderr
                .ends_with("; expected a PNG, JPEG, BMP, GIF, WebP or TIFF picture\n")
        );
    }
}

#[test]
fn every_damaged_weights_file() {
    let folders = names("tests/golden/bad/weights");
    assert_eq!(folders.len(), 17);
    for name in folders
        .iter()
        .filter(|n| !["intact", "extra_tensors"].contains(&n.as_str()))
    {
        let model = format!("tests/golden/bad/weights/{name}");
        let out = Out::new();
        let ran = out.analyze(&format!("{CAT} --model {model}"));
        assert_refused(&ran, &out, &format!("{model}/weights.safetensors"));
    }
}

#[test]
fn every_damaged_definition() {
    let files = names("tests/golden/bad/yaml");
    assert_eq!(files.len(), 22);
    // An unknown module only ends the network there: tests/partial_models.rs.
    for name in files.into_iter().filter(|n| n != "unknown_module.yaml") {
        let model = ModelFolder::tiny(|_| {});
        let yaml = Path::new("tests/golden/bad/yaml").join(&name);
        std::fs::copy(yaml, model.file("model.yaml")).unwrap();
        let out = Out::new();
        let ran = model.analyze(&out);
        assert_refused_in_a_line(&ran, &out, &model.file("model.yaml").display().to_string());
    }
}

#[test]
fn all_tensors_that_do_not_fit_are_in_one_report() {
    let model = ModelFolder::tiny(|tensors| {
        tensors.remove("model.0.conv.weight").unwrap();
        tensors.remove("model.3.bn.running_var").unwrap();
        let (shape, _) = tensors.get_mut("model.1.bn.bias").unwrap();
        *shape = vec![2, shape[0] / 2];
        tensors.get_mut("model.1.conv.weight").unwrap().1[7] = f32::NAN;
        tensors.insert("teacher.scale".into(), (vec![1], vec![1.0]));
    });
    let out = Out::new();
    let ran = model.analyze(&out);
    let file = model.file("weights.safetensors").display().to_string();
    assert_refused(&ran, &out, &file);
    for words in [
        "2 missing, 1 misshaped, 1 unusable, 1 not used",
        "missing: model.0.conv.weight [8, 3, 3, 3]",
        "missing: model.3.bn.running_var [16]",
        "misshaped: model.1.bn.bias is [2, 4], expected [8]",
        "unusable: model.1.conv.weight holds NaN at position 7",
        "not used: teacher.scale [1]",
    ] {
        assert!(ran.stderr.contains(words), "no '{words}' in {}", ran.stderr);
    }
}

#[test]
fn surplus_tensors_are_a_warning() {
    let model = ModelFolder::tiny(|tensors| {
        tensors.insert("teacher.scale".into(), (vec![1], vec![1.0]));
        tensors.insert("model.99.conv.weight".into(), (vec![1, 1], vec![1.0]));
    });
    let out = Out::new();
    let ran = model.analyze(&out);
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in [
        "weights.safetensors: ",
        "2 not used",
        "teacher.scale [1]",
        "model.99.conv.weight [1, 1]",
    ] {
        assert!(ran.stderr.contains(words), "no '{words}' in {}", ran.stderr);
    }
    assert_eq!(out.entries(), ["chelsea"]);
}

#[test]
fn folders_that_are_no_models() {
    let empty = Out::new();
    let place = empty.path().display().to_string();
    let out = Out::new();
    let ran = out.analyze(&format!("{CAT} --model {place}"));
    assert_refused_in_a_line(&ran, &out, &format!("{place}/model.yaml"));
    assert!(ran.stderr.contains("it is missing"), "{}", ran.stderr);

    let model = ModelFolder::tiny(|_| {});
    std::fs::remove_file(model.file("weights.safetensors")).unwrap();
    let ran = model.analyze(&out);
    assert_refused_in_a_line(
        &ran,
        &out,
        &model.file("weights.safetensors").display().to_string(),
    );

    let model = ModelFolder::tiny(|_| {});
    std::fs::write(model.file("card.json"), "{\"name\": ").unwrap();
    let ran = model.analyze(&out);
    assert_refused_in_a_line(&ran, &out, &model.file("card.json").display().to_string());

    let ran = out.analyze(&format!("{CAT} --model no/such/folder"));
    assert_refused_in_a_line(&ran, &out, "no/such/folder");
}

#[test]
fn an_output_place_that_is_a_file() {
    let holder = Out::new();
    let file = holder.path().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    let name = file.display().to_string();
    for out in [file.clone(), file.join("deeper/still")] {
        let args = ["analyze", CAT, COUNTED, "--imgsz", "32", "--out"].map(PathBuf::from);
        let ran = crate::program::attnscope(args.into_iter().chain([out]));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.stderr
                .starts_with(&format!("attnscope: {name}: it is in the way"))
        );
        assert_eq!(
            ran.errors().len(),
            1,
            "said once, not for each picture: {}",
            ran.stderr
        );
    }
    assert_eq!(holder.files(), ["notes.txt"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

/// A second picture.
const COUNTED: &str = "tests/pictures/plain.png";

#[test]
fn a_file_where_a_pictures_folder_should_be() {
    let out = Out::new();
    std::fs::write(out.path().join("chelsea"), "mine").unwrap();
    let ran = out.analyze(&format!("{CAT} --imgsz 32"));
    assert_eq!((ran.code, ran.errors().len()), (1, 1), "{ran:?}");
    let name = out.path().join("chelsea").display().to_string();
    assert!(
        ran.stderr
            .starts_with(&format!("attnscope: {name}: it cannot be written"))
    );
    assert_eq!(out.files(), ["chelsea"]);
}

#[test]
fn a_folder_where_a_result_should_be_leaves_older_results_alone() {
    let out = Out::new();
    std::fs::create_dir_all(out.path().join("chelsea/traces.npz/kept")).unwrap();
    std::fs::write(out.path().join("chelsea/detections.json"), "old").unwrap();
    let ran = out.analyze(&format!("{CAT} --imgsz 32"));
    assert_eq!((ran.code, ran.errors().len()), (1, 1), "{ran:?}");
    assert!(
        ran.stderr.contains("traces.npz: it is a folder"),
        "{}",
        ran.stderr
    );
    assert_eq!(out.files(), ["chelsea/detections.json"]);
    assert_eq!(out.entries(), ["chelsea"]);
    let kept = std::fs::read(out.path().join("chelsea/detections.json")).unwrap();
    assert_eq!(kept, b"old");
}
