//! Modules alone, as the golden module files hold them.

use attnscope::attention::{Arg, Attention, Attributes, BuildArgs, Knobs, Notes, mechanism_of};
use serde_json::Value;

use super::golden::Golden;
use super::{golden_path, knobs_of};

/// A module file and the module in it.
pub struct Case {
    pub name: String,
    pub golden: Golden,
    pub knobs: Knobs,
}

impl Case {
    pub fn all() -> Vec<Self> {
        let folder = std::fs::read_dir(golden_path("modules")).unwrap();
        let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert_eq!(paths.len(), 35, "module files");
        let case = |path: &std::path::PathBuf| {
            let golden = Golden::open(path);
            Self {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                knobs: knobs_of(&golden.json("settings")),
                golden,
            }
        };
        paths.iter().map(case).collect()
    }

    /// The module with the file's hyperparameters, or without those that are knobs.
    pub fn build(&self, knobs: bool) -> Box<dyn Attention> {
        let settings = self.golden.json("settings");
        let at = |key: &str| settings.get(key).map_or(Arg::None, arg);
        let knob = |key: &str| if knobs { at(key) } else { Arg::None };
        let mut attributes = Attributes::new();
        let mut words = self.name.split('_');
        let (module, args) = match (words.next().unwrap(), words.next().unwrap()) {
            ("sta", kind) => {
                let module = match kind {
                    "layer" => "StokenAttentionLayer",
                    _ => "StokenAttention",
                };
                let args = [knob("stoken_size"), knob("n_iter"), at("heads"), Arg::None];
                (module, [&args[..], &[at("qk_scale")]].concat())
            }
            ("bra", "nchw") => {
                let args = [at("heads"), knob("n_win"), Arg::None, knob("topk")];
                ("nchwBRA", args.to_vec())
            }
            ("bra", "block") => {
                attributes.insert("pre_norm".into(), at("pre_norm"));
                let args = [knob("n_win"), at("heads"), knob("topk")];
                ("BiFormerBlock", args.to_vec())
            }
            ("bra", _) => {
                let mut args = vec![Arg::None; 15];
                args[0] = knob("n_win");
                for (place, key) in [
                    (1, "heads"),
                    (2, "qk_dim"),
                    (3, "qk_scale"),
                    (4, "kv_per_win"),
                    (5, "kv_downsample_ratio"),
                    (7, "kv_downsample_mode"),
                    (12, "soft"),
                ] {
                    args[place] = at(key);
                }
                args[8] = knob("topk");
                // What else there is, and how wide, the weights know.
                ("BiLevelRoutingAttention", args)
            }
            (_, "p") => ("PSA_p", vec![]),
            (_, "s") => ("PSA_s", vec![]),
            (_, "sequential") => ("SequentialPolarizedSelfAttention", vec![]),
            _ => ("PolarizedSelfAttention", vec![]),
        };
        let args = BuildArgs {
            module,
            channels: self.golden.get("x").shape[1],
            args: &args,
            attributes: &attributes,
            notes: &Notes::default(),
            weights: self.golden.weights("p."),
        };
        mechanism_of(module).unwrap().build.unwrap()(&args).unwrap()
    }

    pub fn map(&self) -> [usize; 2] {
        let shape = &self.golden.get("x").shape;
        [shape[2], shape[3]]
    }

    /// Names of the reference maps.
    pub fn maps(&self) -> Vec<&str> {
        let names = self.golden.names();
        names
            .filter(|n| !n.starts_with("p.") && !["x", "y"].contains(n))
            .collect()
    }
}

fn arg(value: &Value) -> Arg {
    match value {
        Value::Bool(b) => Arg::Bool(*b),
        Value::Number(n) => n
            .as_i64()
            .map_or_else(|| Arg::Float(n.as_f64().unwrap()), Arg::Int),
        Value::String(word) => Arg::Word(word.clone()),
        Value::Array(list) => Arg::List(list.iter().map(arg).collect()),
        other => panic!("{other} is no argument"),
    }
}
