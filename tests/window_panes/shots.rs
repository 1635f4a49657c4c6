//! Pictures of the panes: for a person to look at, and to check colours on real pixels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use attnscope::app::pane::Look;
use attnscope::attention::polarized::PolarizedTrace;
use attnscope::picture::{Colormap, Range, Sampling};
use egui::{Theme, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use image::RgbaImage;

use crate::window::{PANES, Window, bundled, canvas, cat, on_canvas, press, run, trace};

/// What a window looks like; `None`, with a line about it, where nothing can draw.
fn picture(harness: &mut Harness<'_, Window>) -> Option<RgbaImage> {
    // Without a graphics driver the renderer does not fail, it panics.
    match catch_unwind(AssertUnwindSafe(|| harness.render())) {
        Ok(image) => Some(image.unwrap()),
        Err(_) => {
            println!("skipped: no graphics adapter to draw with");
            None
        }
    }
}

#[test]
fn a_cell_has_the_colour_of_its_value() {
    let mut window = Window::new("polarized", Some(cat()));
    let look = Look {
        opacity: 1.0,
        sampling: Sampling::Nearest,
        colormap: Colormap::Magma,
        ..Look::default()
    };
    window.looks.insert("polarized".into(), look);
    let mut harness = window.open([700.0, 450.0], Theme::Dark);
    let rect = canvas(&harness, "Polarized weights canvas");
    let Some(image) = picture(&mut harness) else {
        return;
    };
    let psa: &PolarizedTrace = trace(cat());
    let heat = psa.spatial_map();
    let range = Range::of(&heat.values);
    let place = cat().scene.place(psa.map);
    // Cells in the middle of the photograph, away from its edges.
    for (row, col) in [(12, 9), (19, 20), (25, 31)] {
        let at = place.to_photo(col as f32 + 0.5, row as f32 + 0.5);
        let at = on_canvas(rect, cat(), at);
        let pixel = image.get_pixel(at.x as u32, at.y as u32).0;
        let value = heat.values[row * heat.cols + col];
        let expected = Colormap::Magma.sample(range.position(value));
        for (have, want) in pixel.iter().zip(expected) {
            assert!(have.abs_diff(want) <= 2, "{pixel:?} {expected:?}");
        }
    }
}

/// Every pane in both themes and two sizes, untouched and pressed, at its own and at odd knobs.
/// They go to the folder that `ATTNSCOPE_SHOTS` names.
#[test]
fn shots() {
    let Some(folder) = std::env::var_os("ATTNSCOPE_SHOTS") else {
        return;
    };
    let model = bundled();
    let many = [
        (5, "n_iter", 3),
        (5, "stoken_size", 3),
        (8, "topk", 9),
        (8, "n_win", 10),
    ];
    let scenes = [
        ("", run(&model, &[], 0.25)),
        ("many", run(&model, &many, 0.02)),
        (
            "odd",
            run(&model, &[(5, "stoken_size", 1), (8, "n_win", 3)], 0.9),
        ),
    ];
    for (theme, name) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        for (size, wh) in [("wide", [700.0, 450.0]), ("small", [350.0, 300.0])] {
            for (scene, outcome) in &scenes {
                for (pane, canvas_name) in PANES {
                    let mut window = Window::new(pane, Some(outcome));
                    window.newest = if *scene == "odd" { 2 } else { 1 };
                    let mut harness = window.open(wh, theme);
                    harness.run_steps(20);
                    let save = |harness: &mut Harness<'_, Window>, state: &str| {
                        let file = format!("{pane}_{size}_{name}{scene}{state}.png");
                        if let Some(image) = picture(harness) {
                            image.save(Path::new(&folder).join(file)).unwrap();
                        }
                    };
                    save(&mut harness, "");
                    let rect = canvas(&harness, canvas_name);
                    press(&mut harness, rect.min + vec2(0.45, 0.55) * rect.size());
                    for label in ["token attention", "spatial query"] {
                        if *scene == "many"
                            && let Some(mode) = harness.query_by_label(label)
                        {
                            mode.click();
                            harness.run_ok();
                        }
                    }
                    save(&mut harness, "_pressed");
                }
            }
        }
    }
}
