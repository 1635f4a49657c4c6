//! What the tests against golden files share: reading them, comparing with them, running a network.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod compare;
pub mod drawn;
pub mod golden;
pub mod meter;
pub mod module;
pub mod rows;
pub mod scene;

use std::path::PathBuf;

use attnscope::attention::{KnobValue, Knobs};
use serde_json::Value;

/// A file or folder of `tests/golden`.
pub fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Settings of a golden file (a JSON object) as knobs; other keys are passed over.
pub fn knobs_of(settings: &Value) -> Knobs {
    ["stoken_size", "n_iter", "n_win", "topk"]
        .into_iter()
        .filter_map(|name| {
            let value = settings.get(name)?;
            let value: KnobValue = serde_json::from_value(value.clone()).unwrap();
            Some((name.to_owned(), value))
        })
        .collect()
}
