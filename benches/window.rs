//! CPU time of one frame of the real window at 1400×900 while a slider is dragged and the engine is
//! under way: layout and drawing of all panes, without a display. Run with `cargo bench --bench window`.
//!
//! The frame is stepped as the window tests do it, with the accessibility tree that a screen reader
//! would have; turning shapes into triangles is measured apart. What the graphics driver does with
//! them is not ours and not in it.

use std::time::{Duration, Instant};

use attnscope::app::{App, AppOptions, Kept};
use attnscope::attention::MECHANISMS;
use attnscope::engine::DeviceChoice;
use egui::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

const FRAMES: usize = 240;
const SIZE: [f32; 2] = [1400.0, 900.0];
/// Milliseconds.
const GOAL: f64 = 4.0;
/// The same while hundreds of feature maps are scrolled.
const FEATURES_GOAL: f64 = 16.0;
/// The same while a hand points and presses, with every pane in sight.
const HANDS_GOAL: f64 = 16.0;
/// Room for every pane.
const LARGE: [f32; 2] = [1920.0, 1200.0];

fn main() {
    // `cargo test --benches` runs this too, without that word.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    // SAFETY: there is no other thread yet.
    unsafe { attnscope::kernels::one_pool() };
    attnscope::kernels::keep_memory();
    let mut harness = Harness::builder().with_size(SIZE).build_eframe(|cc| {
        let options = AppOptions {
            device: DeviceChoice::Cpu,
            ..AppOptions::default()
        };
        App::new(options, None, &cc.egui_ctx).expect("a thread")
    });
    settle(&mut harness);
    choose(&mut harness, "BiFormerBlock");
    settle(&mut harness);

    let [mut frames, mut triangles] = [Vec::new(), Vec::new()];
    let mut under_way = 0;
    for i in 0..FRAMES {
        // Up and down, so that every frame leaves a wish.
        let topk = 1 + (i % 30).abs_diff(15);
        harness
            .get_by_role_and_label(Role::Slider, "topk")
            .set_value_accesskit(topk as f64);
        let began = cpu();
        harness.step();
        frames.push(ms(cpu() - began));
        under_way += usize::from(harness.state().snapshot().progress.is_some());
        let output = harness.output();
        let shapes = output.shapes.clone();
        let began = cpu();
        std::hint::black_box(harness.ctx.tessellate(shapes, 1.0));
        triangles.push(ms(cpu() - began));
        std::thread::sleep(Duration::from_millis(4));
    }
    println!(
        "window {} x {}, {FRAMES} frames, the engine under way in {under_way}",
        SIZE[0], SIZE[1]
    );
    row("layout and drawing", &mut frames, Some(GOAL));
    row("shapes to triangles", &mut triangles, None);
    feature_maps(&mut harness);
    drop(harness);
    hands_on();
}

/// Every pane beside the others at 640², and a hand that points at one picture after the other and
/// presses it.
fn hands_on() {
    let storage = Storage(every_pane_in_sight());
    let mut harness = Harness::builder().with_size(LARGE).build_eframe(|cc| {
        let options = AppOptions {
            device: DeviceChoice::Cpu,
            ..AppOptions::default()
        };
        App::new(options, Some(&storage), &cc.egui_ctx).expect("a thread")
    });
    settle(&mut harness);
    assert!(
        harness.state().messages().is_empty(),
        "{:?}",
        harness.state().messages()
    );
    let [mut hovers, mut presses] = [Vec::new(), Vec::new()];
    let canvases: Vec<egui::Rect> = MECHANISMS
        .iter()
        .map(|m| harness.get_by_label(&format!("{} canvas", m.title)).rect())
        .collect();
    for i in 0..FRAMES {
        let canvas = canvases[i % canvases.len()];
        // Over the middle of the picture, never the same place twice.
        let part = egui::vec2(0.3 + 0.4 * ((i * 37 % 101) as f32 / 100.0), 0.5);
        let at = canvas.min + part * canvas.size();
        harness.event(egui::Event::PointerMoved(at));
        hovers.push(timed_step(&mut harness));
        if i % 4 > 0 {
            continue;
        }
        for pressed in [true, false] {
            harness.event(egui::Event::PointerButton {
                pos: at,
                button: egui::PointerButton::Primary,
                pressed,
                modifiers: egui::Modifiers::NONE,
            });
            presses.push(timed_step(&mut harness));
        }
        // What the press selects is drawn by the next frame in every pane.
        presses.push(timed_step(&mut harness));
    }
    println!(
        "window {} x {}, every pane in sight, input 640 x 640",
        LARGE[0], LARGE[1]
    );
    row("hovering", &mut hovers, Some(HANDS_GOAL));
    row("pressing", &mut presses, Some(HANDS_GOAL));
}

fn timed_step(harness: &mut Harness<'_, App>) -> f64 {
    let began = cpu();
    harness.step();
    ms(cpu() - began)
}

/// The kept state of a window whose panes all stand beside each other, at 640².
fn every_pane_in_sight() -> String {
    let mut tiles = egui_tiles::Tiles::default();
    let panes = attnscope::app::panes::all();
    let all = panes.iter().map(|p| tiles.insert_pane(p.id().to_owned()));
    let all = all.collect();
    let root = tiles.insert_grid_tile(all);
    let tree = egui_tiles::Tree::new(egui::Id::unique("panes"), root, tiles);
    let kept = serde_json::to_value(Kept::default()).and_then(|mut kept| {
        kept["layout"] = serde_json::to_value(tree)?;
        kept["settings"]["size"] = 640.into();
        serde_json::to_string(&kept)
    });
    kept.expect("a state that can be kept")
}

/// What the window before has kept.
struct Storage(String);

impl eframe::Storage for Storage {
    fn get_string(&self, _key: &str) -> Option<String> {
        Some(self.0.clone())
    }
    fn set_string(&mut self, _key: &str, _value: String) {}
    fn remove_string(&mut self, _key: &str) {}
    fn flush(&mut self) {}
}

/// The pane of all layers on a row of 256 channels: the frames in which its maps are coloured, and
/// those in which the wheel brings more of them into sight.
fn feature_maps(harness: &mut Harness<'_, App>) {
    harness.get_by_label("Layers").click();
    harness.run_steps(2);
    harness.get_by_label("layer 10 C3k2").click();
    settle(harness);
    let at = harness.get_by_label("sorted by").rect().center() + egui::vec2(0.0, 120.0);
    harness.hover_at(at);
    let mut frames = Vec::new();
    for i in 0..FRAMES {
        if i % 60 == 0 {
            // New colours for all.
            harness.get_by_label("common range").click();
        }
        harness.event(egui::Event::MouseWheel {
            unit: egui::MouseWheelUnit::Point,
            delta: egui::vec2(0.0, if i % 120 < 60 { -40.0 } else { 40.0 }),
            modifiers: egui::Modifiers::NONE,
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Unknown,
        });
        let began = cpu();
        harness.step();
        frames.push(ms(cpu() - began));
    }
    row("256 feature maps", &mut frames, Some(FEATURES_GOAL));
}

fn settle(harness: &mut Harness<'_, App>) {
    let end = Instant::now() + Duration::from_secs(120);
    harness.run_steps(3);
    while !harness.state().is_settled() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
        harness.step();
    }
    harness.run_steps(2);
}

/// The first row of this kind.
fn choose(harness: &mut Harness<'_, App>, layer: &str) {
    harness
        .get_all_by(|n| n.role() == Role::Button && n.label().is_some_and(|l| l.contains(layer)))
        .next()
        .expect("a row of this kind")
        .click();
    harness.run_steps(2);
}

/// CPU time of this thread.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn cpu() -> Duration {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const THREAD_CPU_TIME: i32 = 3;
    let mut time = Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the struct has the layout of `timespec` on 64-bit Linux and outlives the call.
    unsafe { clock_gettime(THREAD_CPU_TIME, &raw mut time) };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

/// The time of day: other systems tell the CPU time of a thread in other ways.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn cpu() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn row(what: &str, times: &mut [f64], goal: Option<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let goal = goal.map_or(String::new(), |g| {
        let met = if at(0.5) <= g { "met" } else { "missed" };
        format!("  goal {g:.1} ms: {met}")
    });
    println!(
        "{what:24} median {:6.2} ms   9 of 10 below {:6.2} ms   worst {:6.2} ms{goal}",
        at(0.5),
        at(0.9),
        at(1.0)
    );
}
