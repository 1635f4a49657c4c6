//! Every attention module alone against numbers of an independent reference, through the public
//! interface.

mod common;

use attnscope::attention::{
    Arg, Attention, Attributes, BuildArgs, Knobs, Notes, Watch, mechanism_of,
};
use serde_json::Value;

use common::compare::{Table, flat};
use common::golden::Golden;
use common::{golden_path, knobs_of};

/// Outputs and maps may be this far from the reference.
const LIMIT: f64 = 1e-5;

/// A module file and the module in it.
struct Case {
    name: String,
    golden: Golden,
    knobs: Knobs,
}

impl Case {
    fn all() -> Vec<Self> {
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
    fn build(&self, knobs: bool) -> Box<dyn Attention> {
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

    fn map(&self) -> [usize; 2] {
        let shape = &self.golden.get("x").shape;
        [shape[2], shape[3]]
    }

    /// Names of the reference maps.
    fn maps(&self) -> Vec<&str> {
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

#[test]
fn outputs_and_traces_are_those_of_the_reference() {
    let mut tables: [Table; 3] = Default::default();
    for case in Case::all() {
        let module = case.build(true);
        let mechanism = module.mechanism();
        let table = &mut tables[["sta", "bra", "psa"]
            .iter()
            .position(|s| *s == mechanism.short)
            .unwrap()];
        let legal = module.legal(case.map(), &case.knobs);
        assert_eq!(legal.clamps, [], "{}", case.name);
        assert_eq!(legal.values, case.knobs, "{}", case.name);

        let x = case.golden.get("x").tensor();
        let (y, trace) = module.forward(&x, &legal.values, &Watch::All).unwrap();
        let trace = trace.expect("a watched module leaves a trace");
        let reference = case.golden.get("y");
        assert_eq!(y.dims(), reference.shape.as_slice(), "{}", case.name);
        table.check("y", &case.name, &flat(&y), &reference.data, LIMIT);

        assert_eq!(trace.map(), case.map(), "{}", case.name);
        let mut compared = table.check_trace(&case.golden, "", trace.as_ref(), LIMIT);
        compared.sort();
        assert_eq!(compared, case.maps(), "{}", case.name);
    }
    for (table, title) in tables.iter().zip(["sta", "bra", "psa"]) {
        table.print(title);
    }
}

#[test]
fn watching_changes_no_byte_of_the_output() {
    for case in Case::all() {
        let module = case.build(true);
        let x = case.golden.get("x").tensor();
        let (watched, trace) = module.forward(&x, &case.knobs, &Watch::All).unwrap();
        assert!(trace.is_some(), "{}", case.name);
        let (alone, trace) = module.forward(&x, &case.knobs, &Watch::Off).unwrap();
        assert!(trace.is_none(), "{}", case.name);
        assert!(flat(&alone) == flat(&watched), "{}", case.name);
    }
}

#[test]
fn a_knob_acts_like_the_hyperparameter_it_stands_for() {
    for case in Case::all() {
        let x = case.golden.get("x").tensor();
        let forward = |module: &dyn Attention| {
            let (y, _) = module.forward(&x, &case.knobs, &Watch::Off).unwrap();
            flat(&y)
        };
        let (built, turned) = (case.build(true), case.build(false));
        let same = forward(built.as_ref()) == forward(turned.as_ref());
        assert!(same, "{}", case.name);
    }
}

#[test]
fn a_batch_gives_what_its_images_give_alone() {
    for case in Case::all() {
        let module = case.build(true);
        let x = case.golden.get("x").tensor();
        let other = (&x * -0.5).unwrap();
        let both = candle_core::Tensor::cat(&[&other, &x], 0).unwrap();
        let (y, _) = module.forward(&both, &case.knobs, &Watch::Off).unwrap();
        let second = flat(&y.get(1).unwrap());
        let mut table = Table::default();
        let reference = case.golden.get("y");
        table.check("y", &case.name, &second, &reference.data, LIMIT);
    }
}
