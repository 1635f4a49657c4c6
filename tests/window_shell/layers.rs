//! Feature maps in the whole window: they are computed only while somebody looks.

use super::{press, settle, window};
use egui_kittest::kittest::Queryable;

#[test]
fn feature_maps_are_there_while_the_pane_is_seen() {
    let mut harness = window();
    assert!(harness.state().snapshot().features.is_none());
    press(&mut harness, "Layers");
    settle(&mut harness);
    let features = harness.state().snapshot().features.clone().unwrap();
    assert_eq!(features.row, 5, "the first attention row");
    harness.get_by_label("layer 2 C3k2").click();
    harness.run_steps(2);
    settle(&mut harness);
    let snapshot = harness.state().snapshot().clone();
    assert_eq!(snapshot.features.as_ref().unwrap().row, 2);
    // Only what feeds the row ran, and its time is in the list beside those of the first run.
    let ran = &snapshot.timing.as_ref().unwrap().by_row;
    assert_eq!(ran.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(snapshot.row_times.len(), 28);
    // Looking is no setting: there is nothing to take back.
    assert_eq!(harness.state().kept().settings.features, None);
    press(&mut harness, "Detections");
    settle(&mut harness);
    assert!(harness.state().snapshot().features.is_none());
}
