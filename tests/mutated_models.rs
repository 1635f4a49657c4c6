//! Sound model files with one thing changed, systematically: nothing panics or hangs, and a
//! definition that can be built can be run.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use attnscope::attention::{Knobs, Watch};
use attnscope::checkpoint::Model;
use attnscope::yolo::{Config, Head, Network, Thresholds, detections};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use common::{golden_path, rows};

/// Longest time for one broken model.
const TIME: Duration = Duration::from_secs(2);

fn sound(file: &str) -> Vec<u8> {
    std::fs::read(golden_path("bad/weights/intact").join(file)).unwrap()
}

/// The definition with each of its values in turn replaced by each of `others`.
fn mutations<'a>(yaml: &'a str, others: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let is_value = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut places = Vec::new();
    let mut offset = 0;
    for line in yaml.split_inclusive('\n') {
        let code = line.split('#').next().unwrap();
        let mut rest = 0;
        while let Some(start) = code[rest..].find(is_value).map(|i| rest + i) {
            let len = code[start..]
                .find(|c| !is_value(c))
                .unwrap_or(code.len() - start);
            rest = start + len;
            // Not the keys, and not the dash of a list.
            if !code[rest..].starts_with(':') && &code[start..rest] != "-" {
                places.push(offset + start..offset + rest);
            }
        }
        offset += line.len();
    }
    assert!(places.len() > 70, "{} values found", places.len());
    places.into_iter().flat_map(move |place| {
        let replaced = move |other: &&str| {
            let mut yaml = yaml.to_owned();
            yaml.replace_range(place.clone(), other);
            yaml
        };
        others.iter().map(replaced)
    })
}

#[test]
fn a_definition_that_can_be_built_can_be_run() {
    let yaml = String::from_utf8(sound("model.yaml")).unwrap();
    let others = [
        "-2",
        "-1",
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "8",
        "9",
        "100",
        "0.3",
        "[3, 2]",
        "None",
        "True",
        "C3k2",
        "C2PSA",
        "SPPF",
        "Conv",
        "DWConv",
        "C2f",
        "C2fCIB",
        "SCDown",
        "Upsample",
        "Concat",
        "Detect",
        "v10Detect",
        "StokenBlock",
        "BiFormerBlock",
        "PSA",
    ];
    let mut seen = BTreeMap::new();
    for yaml in mutations(&yaml, &others) {
        let outcome = match Config::parse(&yaml) {
            Err(_) => "not parsed",
            Ok(config) => {
                let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
                match Network::build(&config, &weights) {
                    Err(_) => "not built",
                    Ok(network) if network.stopped().is_some() => "stopped before its head",
                    Ok(network) => {
                        run(&network, &yaml);
                        "run"
                    }
                }
            }
        };
        *seen.entry(outcome).or_insert(0) += 1;
    }
    println!("{seen:?}");
    assert!(seen["run"] > 200 && seen["not built"] > 200, "{seen:?}");
}

/// Runs a network at its smallest input that is at least 64 pixels, with all that goes with it.
fn run(network: &Network, yaml: &str) {
    let side = 64usize.next_multiple_of(network.stride());
    if side > 128 {
        return;
    }
    let input = Tensor::ones((1, 3, side, side), DType::F32, &Device::Cpu).unwrap();
    let knobs = |row: usize, map| {
        let attention = network.attention_at(row).unwrap();
        attention.legal(map, &Knobs::new()).values
    };
    let run = rows::run(network, &input, &Watch::All, knobs);
    for (head, raw) in [
        (Head::OneToMany, &run.one_to_many),
        (Head::OneToOne, &run.one_to_one),
    ] {
        let found = detections(raw, head, Thresholds::default());
        assert!(found.len() <= 300, "{yaml}");
    }
}

#[test]
fn any_value_anywhere_in_a_definition_is_survived() {
    let yaml = String::from_utf8(sound("model.yaml")).unwrap();
    let others = [
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551616",
        "1e300",
        ".nan",
        "-.inf",
        "65536",
        "4096",
        "1000000",
        "''",
        "[]",
        "{}",
        "[[[[[[[[1]]]]]]]]",
        "~",
        "\"\\0\"",
        "&a *a",
        "!!binary aaaa",
    ];
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("weights.safetensors"),
        sound("weights.safetensors"),
    )
    .unwrap();
    for yaml in mutations(&yaml, &others) {
        std::fs::write(folder.path().join("model.yaml"), &yaml).unwrap();
        let start = Instant::now();
        let _ = Model::open(folder.path(), &Device::Cpu);
        assert!(start.elapsed() < TIME, "{yaml}");
    }
}

#[test]
fn any_damage_to_a_weights_file_is_survived() {
    let weights = sound("weights.safetensors");
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let cut = (0..weights.len())
        .step_by(499)
        .map(|n| weights[..n].to_vec());
    let flipped = (0..header).step_by(7).map(|at| {
        let mut damaged = weights.clone();
        damaged[at] ^= 1 << (at % 7);
        damaged
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.yaml"), sound("model.yaml")).unwrap();
    for damaged in cut.chain(flipped) {
        std::fs::write(folder.path().join("weights.safetensors"), &damaged).unwrap();
        let start = Instant::now();
        let result = Model::open(folder.path(), &Device::Cpu);
        assert!(start.elapsed() < TIME);
        let whole = damaged.len() == weights.len();
        assert!(
            whole || result.is_err(),
            "{} bytes were enough",
            damaged.len()
        );
    }
}
