//! Every model that the program carries opens, runs, and says whether it was trained.

mod common;

use attnscope::checkpoint::{BUNDLED, Bundled, Origin};
use attnscope::engine::Engine;
use candle_core::Device;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use common::scene::{photo, run, watched};

#[test]
fn each_opens_and_runs_with_all_its_traces() {
    for bundled in &BUNDLED {
        let model = Origin::Bundled(bundled).open(&Device::Cpu).unwrap();
        let trained = !bundled.id.ends_with("-sequential");
        assert_eq!(model.card.random, !trained, "{}", bundled.id);
        assert_eq!(model.warning().is_some(), !trained, "{}", bundled.id);
        let model = Arc::new(model);
        let mut settings = watched(&model);
        settings.size = Some(128);
        let outcome = run(
            &mut Engine::default(),
            &photo(1, 150, 100),
            &model,
            &settings,
        );
        let rows: Vec<usize> = model.network.attention().map(|(row, _)| row).collect();
        assert!(outcome.traces.keys().eq(&rows), "{}", bundled.id);
        for trace in outcome.traces.values() {
            let said = trace.badges.iter().any(|b| b.contains("random weights"));
            assert_eq!(said, !trained, "{}: {:?}", bundled.id, trace.badges);
            for t in trace.trace.tensors().unwrap() {
                let sum = t.tensor.to_dtype(candle_core::DType::F32).unwrap();
                let sum: f32 = sum.sum_all().unwrap().to_scalar().unwrap();
                assert!(
                    sum.is_finite(),
                    "{} row {}: {}",
                    bundled.id,
                    trace.row,
                    t.name
                );
            }
        }
    }
}

#[test]
fn the_catalogue_is_the_folder_of_models() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let entries = std::fs::read_dir(&models).unwrap().map(|e| e.unwrap());
    let folders: BTreeSet<String> = entries
        .filter(|e| e.path().join("model.yaml").exists())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    // Everybody who clones the project has all of them.
    let sizes = folders
        .iter()
        .flat_map(|name| std::fs::read_dir(models.join(name)).unwrap());
    let bytes: u64 = sizes.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 30_000_000, "{bytes}");
    let carried: BTreeSet<String> = BUNDLED.iter().map(|b| b.id.to_owned()).collect();
    assert_eq!(carried, folders);
    assert_eq!(Bundled::named("yolo26-sta").unwrap().id, "yolo26-sta");
    assert!(Bundled::named("no such").is_none());
}
