//! A pane in a window of its own, on a real outcome.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use attnscope::app::pane::{Asking, Camera, Context, Look, Pane, Selection, Shared};
use attnscope::app::panes;
use attnscope::attention::{KnobValue, Trace, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, Outcome, Settings, Snapshot, Wish};
use attnscope::picture::Photo;
use egui::{Pos2, Rect, Vec2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

/// Every pane with the accessible name of its canvas.
pub const PANES: [(&str, &str); 4] = [
    ("detections", "Detections canvas"),
    ("super_token", "Super tokens canvas"),
    ("routing", "Routed regions canvas"),
    ("polarized", "Polarized weights canvas"),
];

/// The pane of all layers; its canvas is there once a map is enlarged.
pub const LAYERS: (&str, &str) = ("layers", "Feature map canvas");

/// Seconds between frames.
pub const FRAME: f32 = 0.02;

/// What the shell keeps for its panes.
pub struct Window {
    pane: Box<dyn Pane>,
    pub snapshot: Snapshot,
    pub newest: u64,
    pub settings: Settings,
    pub selection: Selection,
    pub asking: BTreeMap<String, Asking>,
    pub looks: BTreeMap<String, Look>,
    pub shared: Shared,
    pub camera: Camera,
}

impl Window {
    pub fn new(pane: &str, outcome: Option<&Outcome>) -> Self {
        let pane = panes::all().into_iter().find(|p| p.id() == pane).unwrap();
        let snapshot = outcome.map_or_else(Snapshot::default, |outcome| Snapshot {
            scene: Some(outcome.scene.clone()),
            traces: outcome.traces.clone(),
            detected: Some(outcome.detected.clone()),
            timing: Some(outcome.timing.clone()),
            row_times: outcome.timing.by_row.clone(),
            features: outcome.features.clone(),
            fulfilled: 1,
            ..Snapshot::default()
        });
        Self {
            pane,
            snapshot,
            newest: 1,
            settings: Settings::default(),
            selection: Selection::default(),
            asking: BTreeMap::new(),
            looks: BTreeMap::new(),
            shared: Shared::default(),
            camera: Camera::default(),
        }
    }

    pub fn ui(&mut self, ui: &mut egui::Ui) {
        let mut cx = Context {
            snapshot: &self.snapshot,
            newest: self.newest,
            settings: &mut self.settings,
            selection: &mut self.selection,
            asking: &mut self.asking,
            looks: &mut self.looks,
            shared: &mut self.shared,
            camera: &mut self.camera,
        };
        self.pane.ui(ui, &mut cx);
    }

    /// The pane in a test window of this size, drawn until it is at rest.
    pub fn open(self, size: [f32; 2], theme: egui::Theme) -> Harness<'static, Self> {
        let mut harness = Harness::builder()
            .with_size(Vec2::from(size))
            .with_theme(theme)
            .with_step_dt(FRAME)
            .with_max_steps(60)
            .build_ui_state(|ui, window: &mut Self| window.ui(ui), self);
        harness.run_ok();
        harness
    }
}

/// The only trace of a type.
pub fn trace<T: Trace>(outcome: &Outcome) -> &T {
    let mut traces = outcome.traces.values();
    traces.find_map(|t| t.trace.downcast::<T>()).unwrap()
}

/// The bundled model.
pub fn bundled() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    MODEL
        .get_or_init(|| Arc::new(Model::bundled(&candle_core::Device::Cpu).unwrap()))
        .clone()
}

/// A run on the cat, with some knobs moved (row, name, value).
pub fn run(model: &Arc<Model>, knobs: &[(usize, &str, usize)], confidence: f32) -> Outcome {
    let mut settings = Settings::default();
    settings.watch_all(model, &Watch::All);
    settings.features = model.network.attention().map(|(row, _)| row).next();
    settings.thresholds.confidence = confidence;
    for (row, name, value) in knobs {
        let row = settings.knobs.entry(*row).or_default();
        row.insert((*name).to_owned(), KnobValue::Int(*value));
    }
    run_with(model, settings)
}

/// A run on the cat, at 320 pixels unless `settings` has another size.
pub fn run_with(model: &Arc<Model>, mut settings: Settings) -> Outcome {
    settings.size.get_or_insert(320);
    let photo = Photo::open(Path::new("assets/samples/chelsea.png")).unwrap();
    let wish = Wish {
        number: 1,
        photo: Arc::new(photo),
        model: model.clone(),
        settings,
    };
    Engine::default().run(&wish, &mut ()).unwrap()
}

/// The bundled model on the cat, at its own knobs.
pub fn cat() -> &'static Outcome {
    static CAT: OnceLock<Outcome> = OnceLock::new();
    CAT.get_or_init(|| run(&bundled(), &[], 0.25))
}

/// Presses the primary button at a place and leaves the pointer there.
pub fn press(harness: &mut Harness<'_, Window>, at: Pos2) {
    hover(harness, at);
    for pressed in [true, false] {
        harness.event(egui::Event::PointerButton {
            pos: at,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: egui::Modifiers::NONE,
        });
    }
    harness.run_ok();
}

/// Chooses a question of the pane.
pub fn ask(harness: &mut Harness<'_, Window>, title: &str) {
    harness
        .get_by_role_and_label(egui::accesskit::Role::ComboBox, "question")
        .click();
    harness.run_ok();
    harness
        .get_by_role_and_label(egui::accesskit::Role::Button, title)
        .click();
    harness.run_ok();
}

/// Moves the pointer to a place.
pub fn hover(harness: &mut Harness<'_, Window>, at: Pos2) {
    harness.hover_at(at);
    harness.run_ok();
}

/// Where a pixel of the photograph lies on a canvas that it fits into.
pub fn on_canvas(canvas: Rect, outcome: &Outcome, [x, y]: [f32; 2]) -> Pos2 {
    let photo = &outcome.scene.photo;
    let size = vec2(photo.width as f32, photo.height as f32);
    let scale = (canvas.width() / size.x).min(canvas.height() / size.y);
    canvas.center() + scale * (vec2(x, y) - size / 2.0)
}

/// The canvas of a pane.
pub fn canvas(harness: &Harness<'_, Window>, name: &str) -> Rect {
    harness.get_by_label(name).rect()
}

/// The only text that begins like this.
pub fn text(harness: &Harness<'_, Window>, start: &str) -> String {
    harness.get_by_label_contains(start).value().unwrap()
}
