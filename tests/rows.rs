//! What a row may say, and what the weights and attributes of a checkpoint decide: fused
//! convolutions, the heads that are there, activations.

mod common;

use std::collections::BTreeSet;
use std::sync::Mutex;

use attnscope::attention::{Knobs, Watch};
use attnscope::yolo::{Config, Head, Network};
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use common::compare::flat;
use common::drawn::{self, Drawn};
use common::{golden_path, rows};

fn definition(name: &str) -> String {
    let path = golden_path(&format!("../../models/definitions/{name}.yaml"));
    std::fs::read_to_string(path).unwrap()
}

/// The drawn weights as a checkpoint that was fused for inference holds them.
#[derive(Default)]
struct Fused {
    /// Convolutions that stand for two, by the path of their weight.
    merged: Mutex<BTreeSet<String>>,
}

impl Fused {
    fn drawn(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(drawn::values(name, shape), shape, &Device::Cpu)
    }

    /// Factor and shift of the BatchNorm beside a convolution.
    fn norm(&self, conv: &str, c: usize) -> Result<[Tensor; 2]> {
        let get = |name: &str| self.drawn(&format!("{conv}.bn.{name}"), &[c]);
        let factor = (get("weight")? / (get("running_var")? + 1e-3)?.sqrt()?)?;
        let shift = (get("bias")? - (get("running_mean")? * &factor)?)?;
        Ok([factor, shift])
    }

    /// Weight and bias of a convolution with its BatchNorm.
    fn fold(&self, conv: &str, shape: &[usize]) -> Result<[Tensor; 2]> {
        let [factor, shift] = self.norm(conv, shape[0])?;
        let weight = self.drawn(&format!("{conv}.conv.weight"), shape)?;
        let weight = weight.broadcast_mul(&factor.reshape((shape[0], 1, 1, 1))?)?;
        Ok([weight, shift])
    }
}

impl SimpleBackend for Fused {
    fn get(&self, shape: Shape, name: &str, _: Init, _: DType, _: &Device) -> Result<Tensor> {
        let dims = shape.dims();
        if let Some(conv) = name.strip_suffix(".conv.weight") {
            if dims[2] < 7 {
                return Ok(self.fold(conv, dims)?[0].clone());
            }
            // A 7×7 depthwise convolution and a 3×3 one with the same middle.
            self.merged.lock().unwrap().insert(conv.to_owned());
            let [large, _] = self.fold(&format!("{conv}.conv"), dims)?;
            let [small, _] = self.fold(&format!("{conv}.conv1"), &[dims[0], 1, 3, 3])?;
            let small = small.pad_with_zeros(2, 2, 2)?.pad_with_zeros(3, 2, 2)?;
            return large + small;
        }
        if let Some(conv) = name.strip_suffix(".conv.bias") {
            let norm =
                |conv: &str| Ok::<_, candle_core::Error>(self.norm(conv, dims[0])?[1].clone());
            if !self.merged.lock().unwrap().contains(conv) {
                return norm(conv);
            }
            return norm(&format!("{conv}.conv"))? + norm(&format!("{conv}.conv1"))?;
        }
        assert!(!name.contains(".bn."), "{name} is not there any more");
        self.drawn(name, dims)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} has no shape of its own")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        name.ends_with(".conv.bias") || name.ends_with("one2one_cv2.0.2.weight")
    }
}

/// Everything that a network puts out on a small picture.
fn run(network: &Network) -> rows::Run {
    let pixels = drawn::values("picture", &[1, 3, 32, 64]);
    let input = Tensor::from_vec(pixels, (1, 3, 32, 64), &Device::Cpu).unwrap();
    rows::run(network, &input, &Watch::Off, |_, _| Knobs::new())
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    each.fold(0.0, f32::max)
}

#[test]
fn a_fused_checkpoint_gives_the_same_boxes_from_the_head_it_kept() {
    let config = Config::parse(&definition("yolov10n")).unwrap();
    let whole = Network::build(&config, &Drawn::builder()).unwrap();
    let weights = VarBuilder::from_backend(Box::<Fused>::default(), DType::F32, Device::Cpu);
    let fused = Network::build(&config, &weights).unwrap();
    assert_eq!(whole.heads(), [Head::OneToOne, Head::OneToMany]);
    assert_eq!(fused.heads(), [Head::OneToOne]);
    let said = "row 23 (v10Detect): the weights have the one-to-one head only";
    assert_eq!(
        (whole.notes().len(), fused.notes()),
        (0, &[said.to_owned()][..])
    );
    let (whole, fused) = (run(&whole), run(&fused));
    for (row, (a, b)) in whole.maps.iter().zip(&fused.maps).enumerate() {
        assert!(apart(&flat(a), &flat(b)) < 1e-4, "row {row}");
    }
    let (a, b) = (&whole.one_to_one, &fused.one_to_one);
    assert!(apart(&a.boxes, &b.boxes) < 1e-4 && apart(&a.scores, &b.scores) < 1e-4);
    // Asked for the other head, it gives the one it has.
    assert_eq!(fused.one_to_many, fused.one_to_one);
}

/// A small network whose row 1 is `row`, with further top-level keys.
fn with(row: &str, keys: &str) -> std::result::Result<Network, String> {
    let yaml = format!(
        "nc: 2\n{keys}\nscales: {{n: [1.0, 1.0, 1024]}}\nbackbone:\n  - [-1, 1, Conv, [16, 3, 8]]\n  - {row}\n\
         head:\n  - [[0, 0], 1, Concat, [1]]\n  - [[2, 0], 1, Detect, [nc]]\n"
    );
    Network::build(&Config::parse(&yaml)?, &Drawn::builder())
}

#[test]
fn the_activation_that_a_checkpoint_states_wins() {
    let row = |network: &Network| flat(&run(network).maps[1]);
    let plain =
        |args: &str, keys: &str| row(&with(&format!("[-1, 1, SPPF, {args}]"), keys).unwrap());
    let state = |act: &str| format!("attributes: {{1: {{cv1.act: {act}}}}}");
    // Four arguments: without an activation, as YOLO26; two: with one.
    let (none, silu) = (plain("[16, 5, 3, False]", ""), plain("[16, 5]", ""));
    assert!(apart(&none, &silu) > 1e-3);
    assert_eq!(plain("[16, 5, 3, False]", &state("SiLU")), silu);
    assert_eq!(plain("[16, 5]", &state("Identity")), none);
    let message = with("[-1, 1, SPPF, [16, 5]]", &state("ReLU")).unwrap_err();
    assert_eq!(
        message,
        "row 1 (SPPF): its activation is ReLU; expected SiLU or Identity"
    );
}

#[test]
fn an_activation_for_all_is_noted_where_it_is_not_followed() {
    let notes = |keys: &str| {
        with("[-1, 1, Conv, [16, 3]]", keys)
            .unwrap()
            .notes()
            .to_vec()
    };
    assert!(notes("activation: nn.SiLU()").is_empty());
    let said = "activation nn.ReLU() is not followed: every convolution has SiLU";
    assert_eq!(notes("activation: nn.ReLU()"), [said]);
}

#[test]
fn arguments_that_no_block_has_are_refused_with_what_was_expected() {
    for (row, says) in [
        ("Conv, [16, 2]", "kernel is 2; expected an odd count"),
        ("Conv, [16, 3, 1, 0]", "padding is 0; expected None or 1"),
        (
            "Conv, [16, 3, 1, None, 3]",
            "3 groups do not divide 16 and 16 channels",
        ),
        ("Conv, [16, 3, 1, None, 1, 2]", "dilation is 2"),
        (
            "Conv, [16, 3, 1, None, 1, 1, nn.GELU()]",
            "its activation is nn.GELU()",
        ),
        ("DWConv, [24, 3, 1, 1, 7]", "its activation is 7"),
        (
            "Bottleneck, [16, True, 1, 3]",
            "kernels is 3; expected a list of two",
        ),
        (
            "C2f, [16, True, 1, 0.01]",
            "expansion 0.01 leaves 0 of 16 channels inside",
        ),
        (
            "C2PSA, [32]",
            "it turns 16 into 32 channels; expected the same",
        ),
        ("PSABlock, [16, 0.25]", "attn_ratio is 0.25; expected 0.5"),
        (
            "PSABlock, [16, 0.5, 3]",
            "16 channels cannot be split into 3 attention heads",
        ),
        (
            "nn.Upsample, [40, None, nearest]",
            "size is 40; expected None and a scale_factor",
        ),
        (
            "nn.Upsample, [None, 1.5, nearest]",
            "scale_factor is 1.5; expected a count",
        ),
        (
            "nn.Upsample, [None, 2, bicubic]",
            "mode is bicubic; expected nearest",
        ),
        ("Concat, [2]", "its axis is 2; expected 1"),
        (
            "Detect, [80]",
            "its class count is 80; expected nc, which is 2",
        ),
    ] {
        let message = with(&format!("[-1, 1, {row}]"), "").unwrap_err();
        assert!(message.starts_with("row 1 ("), "{row}: {message}");
        assert!(message.contains(says), "{row}: {message}");
    }
}

#[test]
fn forms_of_upsampling_that_people_write() {
    for args in [
        "[None, 2, nearest]",
        "[None, 2]",
        "[]",
        "[None, 2.0, nearest, None]",
    ] {
        let network = with(&format!("[-1, 1, nn.Upsample, {args}]"), "").unwrap();
        assert_eq!(network.layers()[1].stride, 4.0, "{args}");
    }
}
