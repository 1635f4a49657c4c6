//! `attnscope render`: the figure of a view file, without a window.

use std::sync::Arc;

use super::args::RenderArgs;
use crate::engine::{self, Engine, Outcome, Wish};
use crate::files;
use crate::view::{Computed, Export, View, ViewFile};
use crate::{Error, Result};

/// Runs the command.
///
/// # Errors
/// If the view cannot be read, its picture or model cannot be opened, or there is nothing to draw.
pub(super) fn run(args: &RenderArgs) -> Result<()> {
    let export = Export::for_path(&args.out, args.scale)?;
    let file = ViewFile::read(&args.view)?;
    let open = args.device.open();
    if let Some(note) = &open.note {
        eprintln!("attnscope: {note}");
    }
    let refused = |why: String| Error::path(&args.view, why, "a view that can be drawn");
    let origin = file.model.place.origin().map_err(refused)?;
    let photo = Arc::new(file.picture.place.open()?);
    let model = Arc::new(origin.open(&open.device)?);
    for change in file.changes(&photo, &model) {
        eprintln!("attnscope: {}: {change}", args.view.display());
    }
    let mut view = file.view;
    if let Some(pane) = &args.pane {
        view.pane.clone_from(pane);
    }
    let model = engine::attach(&model, &view.settings.probes).map_err(refused)?;
    let mut engine = Engine::default();
    let mut run = |view: &View| {
        let wish = Wish {
            number: 1,
            photo: photo.clone(),
            model: model.clone(),
            settings: view.settings_on(&model),
        };
        engine.run(&wish, &mut ())
    };
    let mut outcome = run(&view)?;
    // Of some maps only what is asked for is kept, and what that is shows on the first run.
    if view.figure(computed(&outcome)).is_err() && view.ask_for_unit(computed(&outcome)) {
        outcome = run(&view)?;
    }
    let bytes = export.bytes(&view, computed(&outcome)).map_err(refused)?;
    files::write(&args.out, &bytes)
}

fn computed(outcome: &Outcome) -> Computed<'_> {
    Computed {
        scene: &outcome.scene,
        traces: &outcome.traces,
        detected: Some(&outcome.detected),
        features: outcome.features.as_deref(),
    }
}
