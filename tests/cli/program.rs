//! Running the program and reading what it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use attnscope::attention::Watch;
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, Outcome, Settings, Wish};
use attnscope::picture::Photo;
use candle_core::npy::NpzTensors;
use candle_core::{Device, Tensor};
use serde_json::Value;
use tempfile::TempDir;

pub const CAT: &str = "assets/samples/chelsea.png";
pub const COFFEE: &str = "tests/pictures/coffee.png";
/// A model that runs in milliseconds: three classes, rows 4, 6, 8, 17 and 21 with attention.
pub const TINY: &str = "tests/golden/tiny";

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The lines on stderr.
    pub fn errors(&self) -> Vec<&str> {
        self.stderr.lines().collect()
    }

    /// Panics unless the run ended well and had nothing to say.
    pub fn quietly_well(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }
}

/// Runs the program with these arguments in the project's folder.
pub fn attnscope<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    finish(command.args(args))
}

/// Runs a prepared command in the project's folder.
pub fn finish(command: &mut Command) -> Ran {
    let output = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("ATTNSCOPE_LOG")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// An output folder of a test, gone at its end.
pub struct Out(TempDir);

impl Out {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `analyze` into this folder; `args` are separated by spaces.
    pub fn analyze(&self, args: &str) -> Ran {
        let out = ["--device", "cpu", "--out"];
        let args = args.split_whitespace().chain(out).map(PathBuf::from);
        let place = self.path().to_owned();
        attnscope(std::iter::once("analyze".into()).chain(args).chain([place]))
    }

    /// Everything below this folder but folders, with `/` between names.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.path()).unwrap();
                    found.push(name.to_string_lossy().replace('\\', "/"));
                }
            }
        }
        found.sort();
        found
    }

    /// Names in this folder, hidden ones too.
    pub fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let name = |e: std::fs::DirEntry| e.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|e| name(e.unwrap())).collect();
        names.sort();
        names
    }

    /// `detections.json` of one picture.
    pub fn report(&self, picture: &str) -> Value {
        let path = self.path().join(picture).join("detections.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// `traces.npz` of one picture.
    pub fn traces(&self, picture: &str) -> BTreeMap<String, Tensor> {
        let file = NpzTensors::new(self.path().join(picture).join("traces.npz")).unwrap();
        let read = |name: &String| (name.clone(), file.get(name).unwrap().unwrap());
        file.names().into_iter().map(read).collect()
    }

    /// Content of every file of one picture by name.
    pub fn contents(&self, picture: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path().join(picture)).unwrap();
        let read = |e: std::fs::DirEntry| {
            let name = e.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(e.path()).unwrap())
        };
        entries.map(|e| read(e.unwrap())).collect()
    }
}

/// The cat analysed at 320 pixels with nothing else set; shared by the tests that only look.
pub fn cat() -> &'static Out {
    static CAT_RUN: OnceLock<Out> = OnceLock::new();
    CAT_RUN.get_or_init(|| {
        let out = Out::new();
        out.analyze(&format!("{CAT} --imgsz 320")).quietly_well();
        out
    })
}

/// A picture analysed in this process as `analyze` does it at 320 pixels with nothing else set.
pub fn in_process(picture: &str) -> Outcome {
    let model = Arc::new(Model::bundled(&Device::Cpu).unwrap());
    let mut settings = Settings {
        size: Some(320),
        ..Settings::default()
    };
    settings.watch_all(&model, &Watch::All);
    let wish = Wish {
        number: 1,
        photo: Arc::new(Photo::open(Path::new(picture)).unwrap()),
        model,
        settings,
    };
    Engine::new(0).run(&wish, &mut ()).unwrap()
}

/// The numbers of a tensor, row by row.
pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    let float = tensor.to_dtype(candle_core::DType::F32).unwrap();
    float.flatten_all().unwrap().to_vec1().unwrap()
}

/// Detections as class, score and box.
pub fn detections(report: &Value) -> Vec<(String, f64, [f64; 4])> {
    let number = |v: &Value| v.as_f64().unwrap();
    let one = |d: &Value| {
        let corners: Vec<f64> = d["box"].as_array().unwrap().iter().map(number).collect();
        let class = d["class"].as_str().unwrap().to_owned();
        (class, number(&d["score"]), corners.try_into().unwrap())
    };
    let list = report["detections"].as_array().unwrap();
    list.iter().map(one).collect()
}
