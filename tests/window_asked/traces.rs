//! `traces.npz` of the cat as the program writes it.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use candle_core::DType;
use candle_core::npy::NpzTensors;

/// An array of a file.
pub struct Numbers {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Numbers {
    pub fn at(&self, index: &[usize]) -> f64 {
        assert_eq!(index.len(), self.shape.len());
        let place = index.iter().zip(&self.shape).fold(0, |place, (i, n)| {
            assert!(i < n, "{index:?} of {:?}", self.shape);
            place * n + i
        });
        f64::from(self.data[place])
    }
}

/// All arrays of a run by their name.
pub struct Traces(BTreeMap<String, Numbers>);

impl Traces {
    pub fn get(&self, name: &str) -> &Numbers {
        let found = self.0.get(name);
        found.unwrap_or_else(|| panic!("traces.npz has no {name}"))
    }
}

/// What `attnscope analyze` writes for the cat with these settings of knobs.
fn analyzed(set: &[&str]) -> Traces {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["analyze", "assets/samples/chelsea.png", "--device", "cpu"]);
    command.args(["--imgsz", "320"]);
    for knob in set {
        command.args(["--set", knob]);
    }
    let ran = command.arg("--out").arg(out.path()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let file = NpzTensors::new(out.path().join("chelsea/traces.npz")).unwrap();
    let read = |name: String| {
        let tensor = file.get(&name).unwrap().unwrap();
        let shape = tensor.dims().to_vec();
        let flat = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        let data = flat.to_vec1().unwrap();
        (name, Numbers { shape, data })
    };
    Traces(file.names().into_iter().cloned().map(read).collect())
}

/// With every knob as the model has it.
pub fn traces() -> &'static Traces {
    static PLAIN: OnceLock<Traces> = OnceLock::new();
    PLAIN.get_or_init(|| analyzed(&[]))
}

/// With three iterations of the association.
pub fn three_iterations() -> &'static Traces {
    static THREE: OnceLock<Traces> = OnceLock::new();
    THREE.get_or_init(|| analyzed(&["5.n_iter=3"]))
}
