//! The stock definitions in `models/definitions`: every scale builds, with as many parameters as
//! its makers state.

use std::sync::{Arc, Mutex};

use attnscope::attention::position_sensitive;
use attnscope::checkpoint::Card;
use attnscope::yolo::{Config, Head, Network};
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

/// Gives each tensor as a single zero that is repeated, and counts what it stands for. Convolutions
/// are given with their BatchNorm folded in, so that nothing is computed: a network of any size
/// takes no more memory than its list of tensors.
struct Counting {
    count: Arc<Mutex<usize>>,
    /// As fused for inference: one depthwise convolution of two, one head of two.
    fused: bool,
}

impl SimpleBackend for Counting {
    fn get(&self, shape: Shape, name: &str, _: Init, _: DType, device: &Device) -> Result<Tensor> {
        // In place of its bias an unfused convolution has weight and bias of a BatchNorm.
        let times = if name.ends_with(".conv.bias") && !self.fused {
            2
        } else {
            1
        };
        *self.count.lock().unwrap() += times * shape.elem_count();
        // No weights are packed for numbers of this type.
        Tensor::zeros((), DType::F64, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} has no shape of its own")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        let head = name.ends_with("one2one_cv2.0.2.weight");
        let two_in_one = name.ends_with(".conv.conv.weight");
        name.ends_with(".conv.bias") || if self.fused { head } else { two_in_one }
    }
}

/// A file of `models`.
fn text(path: &str) -> String {
    let path = format!("{}/models/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A stock definition at a scale, and its parameters.
fn built(file: &str, scale: &str, fused: bool) -> (Network, usize) {
    let text = text(&format!("definitions/{file}.yaml"));
    network(&format!("scale: {scale}\n{text}"), fused)
}

fn network(definition: &str, fused: bool) -> (Network, usize) {
    let count = Arc::default();
    let backend = Counting {
        count: Arc::clone(&count),
        fused,
    };
    let weights = VarBuilder::from_backend(Box::new(backend), DType::F64, Device::Cpu);
    let config = Config::parse(definition).unwrap();
    let network = Network::build(&config, &weights).unwrap();
    // The framework counts the constant bins, which are no parameters here.
    let bins = if config.reg_max > 1 {
        config.reg_max
    } else {
        0
    };
    let counted = *count.lock().unwrap();
    (network, counted + bins)
}

#[test]
fn every_scale_has_the_parameters_that_its_makers_state() {
    for (file, scale, expected) in [
        ("yolov8", "n", 3_157_200),
        ("yolov8", "s", 11_166_560),
        ("yolov8", "m", 25_902_640),
        ("yolov8", "l", 43_691_520),
        ("yolov8", "x", 68_229_648),
        ("yolov10n", "n", 2_775_520),
        ("yolov10s", "s", 8_128_272),
        ("yolov10m", "m", 16_576_768),
        ("yolo11", "n", 2_624_080),
        ("yolo11", "s", 9_458_752),
        ("yolo11", "m", 20_114_688),
        ("yolo11", "l", 25_372_160),
        ("yolo11", "x", 56_966_176),
        ("yolo26", "n", 2_572_280),
        ("yolo26", "s", 10_009_784),
        ("yolo26", "m", 21_896_248),
        ("yolo26", "l", 26_299_704),
        ("yolo26", "x", 58_993_368),
    ] {
        let (network, counted) = built(file, scale, false);
        assert_eq!(counted, expected, "{file} {scale}");
        assert_eq!(network.stride(), 32, "{file} {scale}");
        assert_eq!(network.notes(), [""; 0], "{file} {scale}");
        let two = ["yolov10", "yolo26"].iter().any(|f| file.starts_with(f));
        assert_eq!(
            network.heads().len(),
            if two { 2 } else { 1 },
            "{file} {scale}"
        );
    }
}

/// Of YOLOv10 b, l and x only rounded counts of the fused model with one head are stated.
#[test]
fn fused_networks_have_the_millions_of_parameters_that_are_stated() {
    for (scale, millions) in [
        ("n", 2.3),
        ("s", 7.2),
        ("m", 15.4),
        ("b", 19.1),
        ("l", 24.4),
        ("x", 29.5),
    ] {
        let (network, counted) = built(&format!("yolov10{scale}"), scale, true);
        assert_eq!(network.heads(), [Head::OneToOne]);
        let counted = counted as f64 / 1e6;
        assert!((counted - millions).abs() < 0.06, "{scale}: {counted}");
    }
}

/// The networks of the articles on attention in YOLO.
#[test]
fn article_networks_build_with_attention_where_their_cards_say() {
    let parallel = ["PolarizedSelfAttention"; 3];
    let sequential = ["SequentialPolarizedSelfAttention"; 3];
    for (folder, scales, modules) in [
        ("yolo26-sta", "nsmlx", &["StokenAttention"; 2][..]),
        (
            "yolo11-biformer",
            "nsmlx",
            &["BiFormerBlock", "BiLevelRoutingAttention"],
        ),
        ("yolov10n-polarized", "n", &parallel),
        ("yolov10n-polarized-sequential", "n", &sequential),
    ] {
        let card = text(&format!("{folder}/card.json"));
        let random = Card::parse(&card).unwrap().random;
        assert_eq!(random, folder.ends_with("-sequential"), "{folder}");
        let card: serde_json::Value = serde_json::from_str(&card).unwrap();
        let stated: Vec<&String> = card["attention"].as_object().unwrap().keys().collect();
        for scale in scales.chars() {
            let yaml = text(&format!("{folder}/model.yaml"));
            let yaml = yaml.replace("scale: n ", &format!("scale: {scale} "));
            let (network, _) = network(&yaml, false);
            assert_eq!(network.notes(), [""; 0], "{folder} {scale}");
            // YOLO's own attention is in all of them.
            let added: Vec<(String, &str)> = network
                .attention()
                .filter(|(_, a)| a.mechanism().id != position_sensitive::MECHANISM.id)
                .map(|(row, _)| (row.to_string(), network.layers()[row].name.as_str()))
                .collect();
            let rows: Vec<&String> = added.iter().map(|(row, _)| row).collect();
            assert_eq!(rows, stated, "{folder} {scale}");
            let names: Vec<&str> = added.iter().map(|(_, name)| *name).collect();
            assert_eq!(names, modules, "{folder} {scale}");
        }
    }
}
