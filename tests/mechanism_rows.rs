//! What the rows of the mechanisms may say, in which order, and what the weights and attributes of a
//! checkpoint decide where they leave a choice.

mod common;

use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::attention::{
    Arg, Attention, Attributes, BuildArgs, KnobValue, Knobs, Notes, Watch, mechanism_of,
};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use common::drawn::{self, Drawn};

/// A row and its checkpoint.
struct Row<'a> {
    module: &'a str,
    channels: usize,
    args: Vec<Arg>,
    attributes: Attributes,
    weights: VarBuilder<'a>,
}

impl Row<'_> {
    fn new(module: &str, channels: usize) -> Row<'_> {
        Row {
            module,
            channels,
            args: Vec::new(),
            attributes: Attributes::new(),
            weights: Drawn::builder(),
        }
    }

    fn args(mut self, args: &[Arg]) -> Self {
        self.args = args.to_vec();
        self
    }

    fn stating(mut self, name: &str, value: Arg) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }

    /// A checkpoint with just these tensors.
    fn holding(mut self, tensors: &[(&str, &[usize])]) -> Self {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let tensors = tensors.iter().map(|(n, s)| ((*n).to_owned(), zeros(s)));
        self.weights = VarBuilder::from_tensors(tensors.collect(), DType::F32, &Device::Cpu);
        self
    }

    /// The module and the notes that were taken, or why there is none.
    fn build(&self) -> Result<(Box<dyn Attention>, Vec<String>), String> {
        let notes = Notes::default();
        let built = mechanism_of(self.module).unwrap().build.unwrap()(&BuildArgs {
            module: self.module,
            channels: self.channels,
            args: &self.args,
            attributes: &self.attributes,
            notes: &notes,
            weights: self.weights.clone(),
        });
        Ok((built?, notes.finish()))
    }

    fn refusal(&self) -> String {
        let message = self
            .build()
            .err()
            .unwrap_or_else(|| panic!("{} was built", self.module));
        message.lines().next().unwrap().to_owned()
    }
}

fn int(v: i64) -> Arg {
    Arg::Int(v)
}

fn word(w: &str) -> Arg {
    Arg::Word(w.into())
}

/// The value of a knob that nobody turned, on a large map.
fn default(layer: &dyn Attention, knob: &str) -> KnobValue {
    layer.legal([40, 40], &Knobs::new()).values[knob]
}

fn run(layer: &dyn Attention, channels: usize, [h, w]: [usize; 2], knobs: &Knobs) -> RoutingTrace {
    let values = drawn::values("x", &[1, channels, h, w]);
    let x = Tensor::from_vec(values, (1, channels, h, w), &Device::Cpu).unwrap();
    let (y, trace) = layer.forward(&x, knobs, &Watch::All).unwrap();
    assert_eq!(y.dims(), x.dims());
    trace.unwrap().downcast::<RoutingTrace>().unwrap().clone()
}

#[test]
fn windows_and_heads_are_read_as_forks_write_them_unless_heads_cannot_be_split() {
    let row = |args: &[Arg]| Row::new("BiLevelRoutingAttention", 64).args(args);
    let heads = |layer: &dyn Attention| {
        run(layer, 64, [8, 8], &Knobs::new()).token_attention[&0].shape()[0]
    };
    for (args, n_win, num_heads, note) in [
        (&[][..], 7, 8, ""),
        (&[int(8), int(8)], 8, 8, ""),
        (
            &[int(8), int(4)],
            8,
            4,
            "n_win 8, num_heads 4, as forks order them",
        ),
        (
            &[int(8), int(7)],
            7,
            8,
            "num_heads 8, n_win 7, as BiFormer orders them",
        ),
        (&[int(5)], 5, 8, ""),
    ] {
        let (layer, notes) = row(args).build().unwrap();
        assert_eq!(
            default(layer.as_ref(), "n_win"),
            KnobValue::Int(n_win),
            "{args:?}"
        );
        if n_win == 8 {
            assert_eq!(heads(layer.as_ref()), num_heads, "{args:?}");
        }
        assert_eq!(notes.is_empty(), note.is_empty(), "{notes:?}");
        assert!(notes.iter().all(|n| n.contains(note)), "{notes:?}");
    }
    // Nothing is left to choose where the checkpoint states it.
    let stated = row(&[int(8), int(4)])
        .stating("n_win", int(4))
        .stating("num_heads", int(8));
    let (layer, notes) = stated.build().unwrap();
    assert_eq!(default(layer.as_ref(), "n_win"), KnobValue::Int(4));
    assert_eq!((heads(layer.as_ref()), notes.len()), (8, 0));
    let message = row(&[int(7), int(7)]).refusal();
    assert_eq!(
        message,
        "64 channels and qk_dim 64 cannot be split into num_heads 7"
    );
    // The variant on NCHW maps has only been seen in its own order.
    let (layer, notes) = Row::new("nchwBRA", 64)
        .args(&[int(4), int(8)])
        .build()
        .unwrap();
    assert_eq!((heads(layer.as_ref()), notes.len()), (4, 0));
}

#[test]
fn attributes_of_the_attention_inside_a_block_count_as_well() {
    let row = Row::new("BiFormerBlock", 16)
        .stating("attn.n_win", int(5))
        .stating("attn.topk", int(3))
        .stating("attn.num_heads", int(2));
    let (layer, _) = row.build().unwrap();
    assert_eq!(default(layer.as_ref(), "n_win"), KnobValue::Int(5));
    assert_eq!(default(layer.as_ref(), "topk"), KnobValue::Int(3));
    let row = Row::new("StokenAttentionLayer", 16)
        .stating("attn.stoken_size", Arg::List(vec![int(4), int(6)]))
        .stating("attn.n_iter", int(2))
        .stating("attn.stoken_refine.num_heads", int(4));
    let (layer, _) = row.build().unwrap();
    assert_eq!(
        default(layer.as_ref(), "stoken_size"),
        KnobValue::Pair([4, 6])
    );
    assert_eq!(default(layer.as_ref(), "n_iter"), KnobValue::Int(2));
}

#[test]
fn what_routing_cannot_be_is_refused_in_a_sentence() {
    let bare = |i: usize, value: Arg| {
        let mut args = vec![Arg::None; 15];
        args[i] = value;
        Row::new("BiLevelRoutingAttention", 16)
            .args(&args)
            .refusal()
    };
    assert_eq!(
        bare(7, word("fracpool")),
        "kv_downsample_mode is fracpool, which BiFormer names but does not have; expected identity, \
         ada_avgpool, ada_maxpool, avgpool or maxpool"
    );
    assert_eq!(
        bare(11, Arg::Bool(true)),
        "diff_routing has no output in BiFormer; expected soft_routing with it"
    );
    assert_eq!(
        bare(9, word("qk")),
        "param_attention is qk; expected qkv or qkvo"
    );
    assert_eq!(
        bare(13, int(4)),
        "side_dwconv is 4; expected an odd count, or 0 for none"
    );
    for (topk, what) in [
        (-1, "plain attention"),
        (-2, "plain attention with a position term"),
        (0, "convolutions"),
    ] {
        let row = Row::new("BiFormerBlock", 16).args(&[int(7), int(8), int(topk)]);
        let expected = format!("it has {what} in the place of routing; expected topk from 1");
        assert_eq!(row.refusal(), expected);
    }
    let plain = Row::new("BiFormerBlock", 16).holding(&[("attn.qkv.weight", &[48, 16])]);
    assert!(
        plain
            .refusal()
            .starts_with("it has plain attention in the place of routing")
    );
}

#[test]
fn without_padding_the_regions_divide_the_map() {
    let mut args = vec![Arg::None; 15];
    args[14] = Arg::Bool(false);
    let (layer, _) = Row::new("BiLevelRoutingAttention", 16)
        .args(&args)
        .build()
        .unwrap();
    for (map, wanted, used) in [
        ([20, 20], None, 5),
        ([20, 20], Some(6), 5),
        ([20, 20], Some(18), 20),
        ([12, 18], Some(7), 6),
        ([21, 21], None, 7),
        ([7, 13], Some(3), 1),
    ] {
        let knobs: Knobs = wanted
            .map(|n| ("n_win".to_owned(), KnobValue::Int(n)))
            .into_iter()
            .collect();
        let legal = layer.legal(map, &knobs);
        assert_eq!(
            legal.values["n_win"],
            KnobValue::Int(used),
            "{map:?} {wanted:?}"
        );
        let asked = wanted.unwrap_or(7);
        let moved = legal.clamps.iter().find(|c| c.knob == "n_win");
        assert_eq!(moved.is_some(), asked != used, "{map:?} {wanted:?}");
        if let Some(clamp) = moved {
            let [h, w] = map;
            let why =
                format!("auto_pad is off, so that n_win must divide the feature map of {h}x{w}");
            assert_eq!(
                (clamp.asked, clamp.reason.as_str()),
                (KnobValue::Int(asked), why.as_str())
            );
        }
        let again = layer.legal(map, &legal.values);
        assert_eq!((again.values, again.clamps), (legal.values.clone(), vec![]));
        let trace = run(layer.as_ref(), 16, map, &legal.values);
        assert_eq!(trace.padded, map);
    }
}

#[test]
fn regions_hold_at_least_one_key() {
    let mut args = vec![Arg::None; 15];
    (args[5], args[7]) = (int(4), word("avgpool"));
    let (layer, _) = Row::new("BiLevelRoutingAttention", 16)
        .args(&args)
        .build()
        .unwrap();
    let legal = layer.legal([20, 20], &Knobs::new());
    // Seven regions would have 3 × 3 cells.
    assert_eq!(legal.values["n_win"], KnobValue::Int(6));
    assert!(legal.clamps[0].reason.contains("4x4 cells for one key"));
    let trace = run(layer.as_ref(), 16, [20, 20], &legal.values);
    assert_eq!(trace.token_attention[&0].shape()[2], trace.topk);
}

#[test]
fn the_trace_tells_the_regions_that_there_are() {
    let (layer, _) = Row::new("nchwBRA", 16)
        .args(&[int(2), int(7)])
        .build()
        .unwrap();
    let t = run(layer.as_ref(), 16, [20, 30], &Knobs::new());
    assert_eq!((t.n_win, t.grid, t.region), (7, [10, 8], [2, 4]));
    assert_eq!((t.regions(), t.padded), (80, [20, 32]));
    assert_eq!(t.region_at(19, 29), Some(79));
    assert_eq!(t.rect(79), [28.0, 18.0, 32.0, 20.0]);
    assert_eq!((t.in_degree().rows, t.in_degree().cols), (10, 8));
    // Never more regions than can be ranked.
    for side in 1..200 {
        let legal = layer.legal(
            [side, side],
            &Knobs::from([("n_win".to_owned(), KnobValue::Int(side))]),
        );
        let n = legal.values["n_win"].int();
        assert!(side.div_ceil((side / n).max(1)) <= 45, "{side}: {n}");
    }
}

#[test]
fn where_a_token_looks_sums_to_one_whatever_stands_for_the_keys() {
    for (mode, per_side) in [("identity", 4), ("ada_avgpool", 3), ("maxpool", 2)] {
        let mut args = vec![Arg::None; 15];
        (args[0], args[4], args[5], args[7]) = (int(4), int(per_side), int(per_side), word(mode));
        let (layer, _) = Row::new("BiLevelRoutingAttention", 16)
            .args(&args)
            .build()
            .unwrap();
        let t = run(layer.as_ref(), 16, [20, 20], &Knobs::new());
        let sum: f32 = t.token_map(3, 7, None).unwrap().values.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{mode}: {sum}");
    }
}

#[test]
fn the_weights_decide_how_super_tokens_are_refined() {
    let constants: &[(&str, &[usize])] = &[
        ("unfold.weights", &[9, 1, 3, 3]),
        ("fold.weights", &[9, 1, 3, 3]),
    ];
    let mixer: &[(&str, &[usize])] = &[
        ("stoken_refine.0.weight", &[8, 8, 1, 1]),
        ("stoken_refine.0.bias", &[8]),
        ("stoken_refine.1.weight", &[8, 1, 5, 5]),
        ("stoken_refine.1.bias", &[8]),
        ("stoken_refine.2.weight", &[8, 8, 1, 1]),
        ("stoken_refine.2.bias", &[8]),
    ];
    let attends = |row: Row<'_>| {
        let (layer, notes) = row.build().unwrap();
        let x = Tensor::ones((1, 8, 6, 6), DType::F32, &Device::Cpu).unwrap();
        let (_, trace) = layer.forward(&x, &Knobs::new(), &Watch::All).unwrap();
        let trace = trace.unwrap();
        let trace = trace.downcast::<SuperTokenTrace>().unwrap();
        (trace.token_attention.is_some(), notes.len())
    };
    let row = || Row::new("StokenAttention", 8);
    // A definition without weights: attention, as in forks.
    assert_eq!(attends(row()), (true, 0));
    assert_eq!(attends(row().holding(constants)), (false, 1));
    assert_eq!(
        attends(row().holding(&[constants, mixer].concat())),
        (false, 0)
    );
    // In the order of STViT: size, iterations, refine, refine_attention, heads.
    let size = Arg::List(vec![int(3), int(3)]);
    let ordered = |refine, attention| {
        let args = [
            size.clone(),
            int(1),
            Arg::Bool(refine),
            Arg::Bool(attention),
            int(2),
        ];
        attends(row().args(&args))
    };
    assert_eq!(ordered(true, true), (true, 0));
    assert_eq!(ordered(true, false), (false, 0));
    assert_eq!(ordered(false, true), (false, 0));
    assert_eq!(
        attends(row().stating("refine", Arg::Bool(false))),
        (false, 0)
    );
    let message = row().args(&[size, int(1), int(3)]).refusal();
    assert_eq!(message, "8 channels cannot be split into num_heads 3");
}
