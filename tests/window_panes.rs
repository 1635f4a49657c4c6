//! The panes on a real picture: what a press selects, what the texts say, what is drawn.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use attnscope::app::pane::{Camera, Context, Look, Pane, Selection};
use attnscope::app::panes;
use attnscope::attention::polarized::PolarizedTrace;
use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::attention::{KnobValue, Trace, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, Outcome, Settings, Snapshot, Wish};
use attnscope::picture::{Colormap, Photo};
use egui::accesskit::Role;
use egui::{Pos2, Vec2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

/// A pane in a window of its own.
struct Window {
    pane: Box<dyn Pane>,
    snapshot: Snapshot,
    newest: u64,
    settings: Settings,
    selection: Selection,
    looks: BTreeMap<String, Look>,
    camera: Camera,
}

impl Window {
    fn new(pane: &str, outcome: &Outcome) -> Self {
        let pane = panes::all().into_iter().find(|p| p.id() == pane).unwrap();
        Self {
            pane,
            snapshot: Snapshot {
                scene: Some(outcome.scene.clone()),
                traces: outcome.traces.clone(),
                detected: Some(outcome.detected.clone()),
                timing: Some(outcome.timing.clone()),
                fulfilled: 1,
                ..Snapshot::default()
            },
            newest: 1,
            settings: Settings::default(),
            selection: Selection::default(),
            looks: BTreeMap::new(),
            camera: Camera::default(),
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui) {
        let mut cx = Context {
            snapshot: &self.snapshot,
            newest: self.newest,
            settings: &mut self.settings,
            selection: &mut self.selection,
            looks: &mut self.looks,
            camera: &mut self.camera,
        };
        self.pane.ui(ui, &mut cx);
    }

    fn trace<T: Trace>(&self, mechanism: &str) -> (&T, usize) {
        let trace = self
            .snapshot
            .traces
            .values()
            .find(|t| t.trace.mechanism().id == mechanism)
            .unwrap();
        (trace.trace.downcast::<T>().unwrap(), trace.row)
    }
}

fn run(knobs: &[(usize, &str, usize)], confidence: f32) -> Outcome {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let model = MODEL.get_or_init(|| Arc::new(Model::bundled(&candle_core::Device::Cpu).unwrap()));
    let photo = Photo::open(Path::new("assets/samples/chelsea.png")).unwrap();
    let mut settings = Settings::default();
    settings.thresholds.confidence = confidence;
    settings.watch_all(model, &Watch::All);
    for (row, name, value) in knobs {
        let row = settings.knobs.entry(*row).or_default();
        row.insert((*name).to_owned(), KnobValue::Int(*value));
    }
    let wish = Wish {
        number: 1,
        photo: Arc::new(photo),
        model: model.clone(),
        settings,
    };
    Engine::default().run(&wish, &mut ()).unwrap()
}

/// The bundled model on the cat, at its own knobs.
fn cat() -> &'static Outcome {
    static CAT: OnceLock<Outcome> = OnceLock::new();
    CAT.get_or_init(|| run(&[], 0.25))
}

fn harness(window: Window, size: [f32; 2]) -> Harness<'static, Window> {
    let mut harness = Harness::builder()
        .with_size(Vec2::from(size))
        .build_ui_state(|ui, window: &mut Window| window.ui(ui), window);
    harness.run_ok();
    harness
}

/// Saves what a window looks like, for a person to look at: `ATTNSCOPE_SHOTS` names the folder.
fn shot(harness: &mut Harness<'_, Window>, name: &str) {
    let Some(folder) = std::env::var_os("ATTNSCOPE_SHOTS") else {
        return;
    };
    let image = harness.render().unwrap();
    image
        .save(Path::new(&folder).join(format!("{name}.png")))
        .unwrap();
}

#[test]
fn shots() {
    if std::env::var_os("ATTNSCOPE_SHOTS").is_none() {
        return;
    }
    for (theme, dark) in [("dark", egui::Theme::Dark), ("light", egui::Theme::Light)] {
        for (size, wh) in [("wide", [700.0, 450.0]), ("small", [350.0, 300.0])] {
            for pane in ["detections", "super_tokens", "routed_regions", "polarized"] {
                let window = Window::new(pane, cat());
                let mut harness = Harness::builder()
                    .with_size(Vec2::from(wh))
                    .with_theme(dark)
                    .build_ui_state(|ui, window: &mut Window| window.ui(ui), window);
                harness.run_ok();
                shot(&mut harness, &format!("{pane}_{size}_{theme}"));
                let name = CANVASES[pane_index(pane)];
                let canvas = harness.get_by_label(name).rect();
                let at = canvas.min + vec2(0.45, 0.55) * canvas.size();
                harness.hover_at(at);
                harness.run_ok();
                harness.drag_at(at);
                harness.drop_at(at);
                harness.run_ok();
                harness.hover_at(at);
                harness.run_ok();
                shot(&mut harness, &format!("{pane}_{size}_{theme}_pressed"));
            }
        }
    }
}

const PANES: [&str; 4] = ["detections", "super_tokens", "routed_regions", "polarized"];
const CANVASES: [&str; 4] = [
    "Detections canvas",
    "Super tokens canvas",
    "Routed regions canvas",
    "Spatial weight canvas",
];

fn pane_index(pane: &str) -> usize {
    PANES.iter().position(|p| *p == pane).unwrap()
}
