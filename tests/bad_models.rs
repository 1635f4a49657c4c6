//! Broken model files end in one message that names the fault, at once and with little memory.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use attnscope::Error;
use attnscope::checkpoint::Model;
use candle_core::Device;

use common::golden_path;
use common::meter::{Counting, measure};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longest time and most memory that a refusal may take.
const TIME: Duration = Duration::from_secs(2);
const MEMORY: usize = 64 << 20;

/// The faults of `bad/weights` and what their messages must say.
const WEIGHTS: &[(&str, &[&str])] = &[
    (
        "missing_tensors",
        &[
            "86 missing",
            "model.7.ch_wv.weight [4, 8, 1, 1]",
            "model.10.cv2.0.0.conv.weight",
            "model.3.stoken_refine.proj.bias [8]",
            "model.6.bn.running_var [8]",
        ],
    ),
    (
        "misshaped_tensor",
        &["model.4.conv.weight is [8, 7, 3, 3], expected [8, 8, 3, 3]"],
    ),
    ("nan_weight", &["model.5.qkv.qkv.weight holds NaN"]),
    (
        "negative_variance",
        &["model.6.bn.running_var holds the negative variance -0.5 at position 3"],
    ),
    ("truncated", &["shorter than its header says", "model."]),
    ("empty_file", &["the file is empty"]),
    (
        "header_length_max",
        &["header should have 18446744073709551615 bytes"],
    ),
    (
        "header_beyond_file",
        &["header should have 1048576 bytes", "512"],
    ),
    ("header_not_json", &["header is not JSON"]),
    ("unknown_dtype", &["model.0.conv.weight", "F33"]),
    ("overlapping_offsets", &["overlaps", "model.", "at bytes"]),
    ("reversed_offsets", &["model.", "has the offsets"]),
    (
        "offsets_beyond_end",
        &[
            "shorter than its header says",
            "model.1.conv.weight lies at bytes",
        ],
    ),
    (
        "shape_and_size_differ",
        &["model.", "the shape [5]", "20 bytes", "offsets 0 to 16"],
    ),
    (
        "shape_overflow",
        &["model.", "[1099511627776, 1099511627776]"],
    ),
];

/// The faults of `bad/yaml` and what their messages must say.
const YAML: &[(&str, &[&str])] = &[
    ("empty", &["is empty", "nc, backbone and head"]),
    (
        "not_a_mapping",
        &["expected a mapping with nc, backbone and head"],
    ),
    ("invalid_utf8", &["not text", "UTF-8"]),
    ("unclosed_bracket", &["line 16"]),
    ("alias_bomb", &["too large", "aliases"]),
    ("forward_reference", &["row 4", "from is 6"]),
    ("self_reference", &["row 4", "from is 4"]),
    ("before_start", &["row 1", "from is -9"]),
    ("negative_size", &["row 4", "channels is -128"]),
    ("zero_stride", &["row 4", "stride is 0"]),
    ("repeats_1e9", &["row 4", "repeats is 1000000000"]),
    ("repeats_negative", &["row 4", "repeats is -1"]),
    ("row_too_short", &["row 4", "[from, repeats, module, args]"]),
    ("nc_zero", &["nc is 0"]),
    ("nc_1e12", &["nc is 1000000000000"]),
    ("width_infinite", &["scale n", ".inf", "width"]),
    ("concat_size_mismatch", &["row 9", "32", "16"]),
    ("stoken_size_zero", &["row 3", "stoken_size is [0, 4]"]),
    (
        "heads_do_not_divide",
        &["row 3", "num_heads 3", "8 channels"],
    ),
    (
        "topk_larger_than_regions",
        &["row 5", "topk is 5", "4 regions"],
    ),
    ("no_detect", &["no Detect"]),
];

/// The message of a model folder that must not open.
fn refusal(folder: &Path) -> String {
    let name = folder.display();
    let (result, took, memory) = measure(|| Model::open(folder, &Device::Cpu));
    assert!(took < TIME, "{name} took {took:?}");
    assert!(memory < MEMORY, "{name} took {} MB", memory >> 20);
    let error = result.err().unwrap_or_else(|| panic!("{name} was opened"));
    let text = error.to_string();
    assert!(matches!(error, Error::File { .. }), "{name}: {text}");
    assert_eq!(text.matches("; expected ").count(), 1, "{name}: {text}");
    text
}

/// A folder with the sound model, to be broken.
struct Folder(tempfile::TempDir);

impl Folder {
    fn sound() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["model.yaml", "weights.safetensors"] {
            let intact = golden_path("bad/weights/intact").join(file);
            std::fs::copy(intact, folder.path().join(file)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.file(name), content).unwrap();
        self
    }

    fn without(self, name: &str) -> Self {
        std::fs::remove_file(self.file(name)).unwrap();
        self
    }

    /// With another row (or rows) in the place of row `index` of the definition.
    fn with_row(self, index: usize, new: &str) -> Self {
        let yaml = std::fs::read_to_string(self.file("model.yaml")).unwrap();
        let row = yaml.lines().filter(|l| l.starts_with("  - [")).nth(index);
        let yaml = yaml.replacen(row.unwrap(), &format!("  - {new}"), 1);
        self.with("model.yaml", yaml)
    }

    /// With another scale `[depth, width, max_channels]`.
    fn with_scale(self, new: &str) -> Self {
        let yaml = std::fs::read_to_string(self.file("model.yaml")).unwrap();
        self.with("model.yaml", yaml.replace("[0.50, 0.0625, 256]", new))
    }
}

/// The names in a folder of faults, without extension.
fn faults(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(golden_path(folder)).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(|e| stem(e.unwrap().path())).collect();
    names.sort();
    names
}

fn assert_says(what: &str, message: &str, words: &[&str]) {
    for word in words {
        assert!(
            message.contains(word),
            "{what}: '{word}' is not in: {message}"
        );
    }
}

#[test]
fn every_damaged_weights_file_is_refused_by_name() {
    let mut names: Vec<String> = WEIGHTS.iter().map(|(name, _)| (*name).into()).collect();
    names.extend(["intact".to_owned(), "extra_tensors".to_owned()]);
    names.sort();
    assert_eq!(faults("bad/weights"), names);
    for (name, words) in WEIGHTS {
        let message = refusal(&golden_path("bad/weights").join(name));
        assert_says(name, &message, words);
        assert_says(name, &message, &["weights.safetensors: "]);
    }
}

#[test]
fn every_damaged_definition_is_refused_by_row() {
    let mut names: Vec<String> = YAML.iter().map(|(name, _)| (*name).into()).collect();
    // It opens up to that module: tests/partial_models.rs.
    names.push("unknown_module".into());
    names.sort();
    assert_eq!(faults("bad/yaml"), names);
    for (name, words) in YAML {
        let path = golden_path("bad/yaml").join(name).with_extension("yaml");
        let folder = Folder::sound().with("model.yaml", std::fs::read(path).unwrap());
        let message = refusal(folder.path());
        assert_says(name, &message, words);
        assert_says(name, &message, &["model.yaml: "]);
    }
}

#[test]
fn the_sound_model_opens_and_surplus_tensors_are_a_warning() {
    let open = |name: &str| {
        let model = Model::open(&golden_path("bad/weights").join(name), &Device::Cpu);
        model.unwrap_or_else(|e| panic!("{e}"))
    };
    let intact = open("intact");
    assert_eq!(intact.warning(), None);
    assert_eq!(intact.classes, ["left", "right"]);
    let warning = open("extra_tensors").warning().unwrap();
    let names = ["2 not used", "model.11.conv.weight", "teacher.scale"];
    assert_says("extra_tensors", &warning, &names);
}

#[test]
fn all_that_does_not_fit_is_in_one_report() {
    let folder = Folder::sound()
        .with_row(4, "[-1, 1, Conv, [256, 3, 2]]")
        .with_row(7, "[3, 1, Conv, [128, 1]]");
    let words = [
        "missing: model.7.conv.weight [8, 8, 1, 1]",
        "misshaped: model.4.conv.weight is [8, 8, 3, 3], expected [16, 8, 3, 3]",
        "misshaped: model.5.qkv.qkv.weight is [24, 8], expected [48, 16]",
        "not used: model.7.ch_wq.weight [1, 8, 1, 1]",
    ];
    assert_says("report", &refusal(folder.path()), &words);
}

#[test]
fn folders_that_are_no_models() {
    let missing = PathBuf::from("no/such/folder");
    assert_says(
        "missing",
        &refusal(&missing),
        &["no/such/folder", "no such file or folder"],
    );
    let bare = tempfile::tempdir().unwrap();
    assert_says("bare", &refusal(bare.path()), &["model.yaml", "missing"]);
    let folder = Folder::sound().without("weights.safetensors");
    assert_says(
        "no weights",
        &refusal(folder.path()),
        &["weights.safetensors", "missing"],
    );
    std::fs::create_dir(folder.file("weights.safetensors")).unwrap();
    let message = refusal(folder.path());
    assert_says("directory", &message, &["weights.safetensors", "folder"]);
    for broken in ["{\"name\": ", "name: x", "\u{0}"] {
        let folder = Folder::sound().with("card.json", broken);
        assert_says("card", &refusal(folder.path()), &["card.json", "JSON"]);
    }
    let folder = Folder::sound().with("card.json", [0xff, 0xfe]);
    assert_says("card", &refusal(folder.path()), &["card.json", "UTF-8"]);
}

#[test]
fn files_of_absurd_size_are_not_read() {
    let sizes = [
        ("model.yaml", 3 << 30),
        ("card.json", 3 << 30),
        ("weights.safetensors", 5 << 30),
    ];
    for (name, bytes) in sizes {
        let folder = Folder::sound().with(name, "");
        let file = std::fs::File::options()
            .write(true)
            .open(folder.file(name))
            .unwrap();
        // Sparse: it takes no room on the disk.
        file.set_len(bytes).unwrap();
        let size = bytes.to_string();
        assert_says(
            name,
            &refusal(folder.path()),
            &[name, size.as_str(), "bytes"],
        );
    }
}

#[cfg(unix)]
#[test]
fn files_without_an_end_are_not_read() {
    for name in ["model.yaml", "card.json", "weights.safetensors"] {
        let folder = Folder::sound();
        let _ = std::fs::remove_file(folder.file(name));
        std::os::unix::fs::symlink("/dev/zero", folder.file(name)).unwrap();
        assert_says(
            name,
            &refusal(folder.path()),
            &[name, "not an ordinary file"],
        );
    }
}

#[test]
fn definitions_that_would_fill_the_machine_are_refused() {
    let wide = "[1.0, 1.0, 100000]";
    let deep = "[10.0, 0.0625, 256]";
    let blocks = vec!["[-1, 100, C2f, [64, True]]"; 100].join("\n  - ");
    let cases: [(&str, usize, &str, &[&str]); 5] = [
        (
            deep,
            3,
            "[-1, 1, StokenAttention, [[4, 9999], 1, 2]]",
            &["row 3", "9999"],
        ),
        // Few weights, but 100 GB of output.
        (
            wide,
            0,
            "[-1, 1, Conv, [60000, 1, 1]]",
            &["row 0", "60000 channels"],
        ),
        (
            wide,
            4,
            "[-1, 1, Conv, [5000, 63, 2]]",
            &["row 4", "parameters"],
        ),
        (
            wide,
            4,
            "[-1, 100, C3k2, [5000, True]]",
            &["row 4", "parameters"],
        ),
        (deep, 4, &blocks, &["tensors"]),
    ];
    for (scale, row, new, words) in cases {
        let folder = Folder::sound().with_scale(scale).with_row(row, new);
        assert_says("definition", &refusal(folder.path()), words);
    }
    // Each row joins the last one 64 times: 8 · 64¹² channels.
    let join = format!("[[{}], 1, Concat, [1]]", vec!["-1"; 64].join(", "));
    let folder = Folder::sound().with_row(4, &vec![join; 12].join("\n  - "));
    assert_says(
        "joins",
        &refusal(folder.path()),
        &["row 5 (Concat)", "channels"],
    );
}
