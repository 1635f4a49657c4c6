//! One function for each reader of untrusted bytes: it may refuse them in any way but a panic. The
//! test beside this file runs them over kept files and mutations of these, `fuzz/` with a fuzzer.

// A fuzzer is built for one of them at a time.
#![allow(dead_code)]

use std::io::{Cursor, Write};

use attnscope::checkpoint::{Card, WeightSource};
use attnscope::dataset::{archive, coco, jsonl, names, yolo};
use attnscope::picture::Photo;
use attnscope::yolo::{Config, Network};
use candle_core::Device;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A model definition.
pub fn definition(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Config::parse(text);
    }
}

/// A model definition, built on the tensors of an empty file.
pub fn network(data: &[u8]) {
    let Ok(Ok(config)) = std::str::from_utf8(data).map(Config::parse) else {
        return;
    };
    let empty = WeightSource::parse(b"\x02\0\0\0\0\0\0\0{}").map(|s| s.into_builder(&Device::Cpu));
    let (weights, recorder) = empty.unwrap();
    let _ = Network::build(&config, &weights);
    drop(weights);
    let _ = recorder.report().to_string();
}

/// A safetensors file: its directory, and every tensor in it.
pub fn safetensors(data: &[u8]) {
    weights(WeightSource::parse(data));
}

/// A checkpoint of PyTorch: its archive, its pickle, its modules, and every tensor in it.
pub fn checkpoint(data: &[u8]) {
    weights(WeightSource::parse_torch(data));
}

/// The pickle of a checkpoint, in a sound archive with two storages.
pub fn pickle(data: &[u8]) {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [
        ("a/data.pkl", data),
        ("a/data/0", &[1; 4096]),
        ("a/data/1", &[0; 64]),
    ] {
        out.start_file(name, stored).unwrap();
        out.write_all(bytes).unwrap();
    }
    checkpoint(&out.finish().unwrap().into_inner());
}

/// A model card.
pub fn card(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Card::parse(text);
    }
}

/// A photograph.
pub fn picture(data: &[u8]) {
    let _ = Photo::decode("fuzzed", None, data);
}

/// Labels, a line of JSON for each picture.
pub fn labels_jsonl(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = jsonl::parse(text, 10);
    }
}

/// Labels of one picture as YOLO text.
pub fn labels_yolo(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = yolo::parse(text, 10);
    }
}

/// Labels as COCO JSON.
pub fn labels_coco(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = coco::parse(text);
    }
}

/// Class names of a data set.
pub fn class_names(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = names::parse(text);
    }
}

/// A tar archive of labelled pictures.
pub fn archive(data: &[u8]) {
    let _ = archive::index(Cursor::new(data), data.len() as u64);
}

fn weights(source: Result<WeightSource, String>) {
    let Ok(source) = source else {
        return;
    };
    let names = source.names();
    let (builder, recorder) = source.into_builder(&Device::Cpu);
    for name in &names {
        if let Ok(look) = builder.get_unchecked(name) {
            let _ = builder.get(look.shape().clone(), name);
        }
    }
    let _ = recorder.report().to_string();
}
