//! Probes: a mechanism without weights on the output of any row, beside the network.

mod common;

use std::collections::HashMap;

use attnscope::attention::routing::{self, RoutingTrace};
use attnscope::attention::super_token::{self, SuperTokenTrace};
use attnscope::attention::{
    Arg, Attention, Attributes, BuildArgs, KnobValue, Knobs, MECHANISMS, Mechanism, Notes, Trace,
    Watch,
};
use attnscope::yolo::Module;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use common::compare::flat;
use common::drawn;
use common::scene::tiny;

const CHANNELS: usize = 6;

fn features() -> Tensor {
    let values = drawn::values("features", &[1, CHANNELS, 7, 10]);
    Tensor::from_vec(values, (1, CHANNELS, 7, 10), &Device::Cpu).unwrap()
}

fn probe(mechanism: &'static Mechanism) -> Box<dyn Attention> {
    mechanism.probe.unwrap()(CHANNELS).unwrap()
}

/// A module with weights that do nothing.
fn explicit(module: &str, args: &[Arg], weights: HashMap<String, Tensor>) -> Box<dyn Attention> {
    let build = attnscope::attention::mechanism_of(module).unwrap().build;
    let args = BuildArgs {
        module,
        channels: CHANNELS,
        args,
        attributes: &Attributes::new(),
        notes: &Notes::default(),
        weights: VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu),
    };
    build.unwrap()(&args).unwrap()
}

fn eye(shape: &[usize]) -> Tensor {
    let one = Tensor::eye(CHANNELS, DType::F32, &Device::Cpu).unwrap();
    one.reshape(shape).unwrap()
}

fn zeros(n: usize) -> Tensor {
    Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap()
}

/// Output and trace tensors of both are the same.
fn same(ours: &dyn Attention, theirs: &dyn Attention, knobs: &Knobs) {
    let x = features();
    let run = |a: &dyn Attention| a.forward(&x, knobs, &Watch::All).unwrap();
    let ((y, trace), (z, other)) = (run(ours), run(theirs));
    let near = |a: &Tensor, b: &Tensor, what: &str| {
        let apart = flat(a).into_iter().zip(flat(b)).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0, f32::max);
        assert!(apart < 1e-5, "{what}: {apart} apart");
    };
    near(&y, &z, "output");
    let (trace, other) = (trace.unwrap(), other.unwrap());
    let named = |t: &dyn Trace| t.tensors().unwrap();
    let (trace, other) = (named(trace.as_ref()), named(other.as_ref()));
    assert_eq!(trace.len(), other.len());
    for (a, b) in trace.iter().zip(&other) {
        assert_eq!((&a.name, a.tensor.dims()), (&b.name, b.tensor.dims()));
        near(&a.tensor, &b.tensor, &a.name);
    }
}

#[test]
fn the_super_token_probe_is_the_mechanism_whose_mixer_does_nothing() {
    // 1×1, depthwise 5×5 and 1×1 convolutions that each hand on what they get.
    let mut delta = vec![0.0; CHANNELS * 25];
    (0..CHANNELS).for_each(|c| delta[c * 25 + 12] = 1.0);
    let delta = Tensor::from_vec(delta, (CHANNELS, 1, 5, 5), &Device::Cpu).unwrap();
    let one = eye(&[CHANNELS, CHANNELS, 1, 1]);
    let mut weights = HashMap::new();
    for (i, weight) in [one.clone(), delta, one].into_iter().enumerate() {
        weights.insert(format!("stoken_refine.{i}.weight"), weight);
        weights.insert(format!("stoken_refine.{i}.bias"), zeros(CHANNELS));
    }
    let identity = explicit("StokenAttention", &[], weights);
    for (size, n_iter) in [([2, 3], 1), ([4, 4], 3), ([1, 1], 1)] {
        let knobs = Knobs::from([
            ("stoken_size".to_owned(), KnobValue::Pair(size)),
            ("n_iter".to_owned(), KnobValue::Int(n_iter)),
        ]);
        let probe = probe(&super_token::MECHANISM);
        assert_eq!(probe.legal([7, 10], &knobs).clamps, []);
        same(probe.as_ref(), identity.as_ref(), &knobs);
    }
}

#[test]
fn the_routing_probe_is_the_mechanism_with_identity_projections() {
    let one = eye(&[CHANNELS, CHANNELS]);
    let weights = HashMap::from([
        (
            "qkv.qkv.weight".to_owned(),
            Tensor::cat(&[&one, &one, &one], 0).unwrap(),
        ),
        ("qkv.qkv.bias".to_owned(), zeros(3 * CHANNELS)),
        ("wo.weight".to_owned(), one),
        ("wo.bias".to_owned(), zeros(CHANNELS)),
    ]);
    let mut args = vec![Arg::None; 14];
    (args[1], args[13]) = (Arg::Int(1), Arg::Int(0));
    let identity = explicit("BiLevelRoutingAttention", &args, weights);
    for (n_win, topk) in [(1, 1), (3, 2), (5, 25)] {
        let knobs = Knobs::from([
            ("n_win".to_owned(), KnobValue::Int(n_win)),
            ("topk".to_owned(), KnobValue::Int(topk)),
        ]);
        let probe = probe(&routing::MECHANISM);
        assert_eq!(probe.legal([7, 10], &knobs).clamps, []);
        same(probe.as_ref(), identity.as_ref(), &knobs);
    }
}

#[test]
fn every_map_of_a_network_can_be_probed_and_stays_as_it_is() {
    let model = tiny();
    let head = model.network.head_row().unwrap();
    for mechanism in [&super_token::MECHANISM, &routing::MECHANISM] {
        for row in 0..head {
            let network = model.network.with_probe(row, mechanism).unwrap();
            let layer = network.layers().last().unwrap();
            let channels = model.network.layers()[row].channels;
            assert!(layer.probe && layer.channels == channels);
            assert_eq!(layer.from, [Some(row)]);
            let Module::Attention(attention) = &layer.module else {
                panic!("a probe looks");
            };
            let x = Tensor::ones((1, channels, 4, 6), DType::F32, &Device::Cpu).unwrap();
            let knobs = attention.legal([4, 6], &Knobs::new()).values;
            let (y, trace) = attention.forward(&x, &knobs, &Watch::All).unwrap();
            assert_eq!(y.dims(), x.dims());
            let trace = trace.unwrap();
            assert!(
                trace.downcast::<SuperTokenTrace>().is_some()
                    || trace.downcast::<RoutingTrace>().is_some()
            );
            assert!(!trace.views().is_empty());
        }
        assert!(model.network.with_probe(head, mechanism).is_err());
    }
    let with_weights_only = MECHANISMS.iter().filter(|m| m.probe.is_none());
    for mechanism in with_weights_only {
        let message = model.network.with_probe(0, mechanism).unwrap_err();
        assert!(message.contains("trained weights"), "{message}");
    }
}
