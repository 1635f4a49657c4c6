//! Out of the window and back: the export dialog, the command line and the view file agree.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use attnscope::app::{App, AppOptions};
use egui::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use super::files::{errors, type_path};
use super::{choose_layer, press, settle, slide, window, window_with};

/// Exports the super tokens in a form to a path, and waits for the note.
fn export(harness: &mut Harness<'_, App>, form: &str, path: &Path) {
    press(harness, "Export super tokens");
    harness.run_steps(4);
    // A menu is called “View” too, at the top of the window.
    let forms = harness.get_all_by_role_and_label(Role::Button, form);
    let lowest = forms.max_by(|a, b| a.rect().top().total_cmp(&b.rect().top()));
    lowest.unwrap().click();
    harness.run_steps(2);
    harness
        .get_by(|n| n.data().placeholder() == Some("file to write"))
        .focus();
    harness.run_steps(2);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    harness.event(egui::Event::Text(path.display().to_string()));
    harness.run_steps(2);
    press(harness, "Save");
    let said = format!("Saved {}", path.display());
    let end = Instant::now() + Duration::from_secs(60);
    while !harness.state().messages().iter().any(|m| m.text == said) {
        assert!(Instant::now() < end, "{:?}", harness.state().messages());
        std::thread::sleep(Duration::from_millis(5));
        harness.step();
    }
    harness.run_steps(2);
    harness.get_by_label(&said);
    assert!(errors(harness.state()).is_empty());
}

/// What `attnscope render` makes of a view file.
fn rendered(view: &Path, name: &str) -> Vec<u8> {
    let out = view.with_file_name(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    command.arg("render").arg(view).arg("--out").arg(&out);
    let ran = command.args(["--device", "cpu"]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(ran.stderr.is_empty(), "{ran:?}");
    std::fs::read(out).unwrap()
}

/// Asks the super tokens another question.
fn ask(harness: &mut Harness<'_, App>, title: &str) {
    let lists = harness.get_all_by_role_and_label(Role::ComboBox, "question");
    let canvas = harness.get_by_label("Super tokens canvas").rect();
    let list = lists.into_iter().find(|n| {
        let rect = n.rect();
        rect.bottom() <= canvas.top() + 1.0 && canvas.x_range().contains(rect.left() + 1.0)
    });
    list.unwrap().click();
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::Button, title).click();
    settle(harness);
}

#[test]
fn what_the_window_exports_is_what_render_draws_and_the_view_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut harness = window();
    choose_layer(&mut harness, "StokenBlock");
    slide(&mut harness, "stoken_size", 5.0);
    slide(&mut harness, "n_iter", 2.0);
    // A place of the photograph, by the canvas that shows it.
    let canvas = harness.get_by_label("Super tokens canvas").rect();
    let place = canvas.center() + egui::vec2(-20.0, 8.0);
    harness.hover_at(place);
    harness.run_steps(1);
    for pressed in [true, false] {
        harness.event(egui::Event::PointerButton {
            pos: place,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: egui::Modifiers::NONE,
        });
    }
    settle(&mut harness);
    ask(&mut harness, "token attention");
    let before = harness.state().kept().clone();
    assert!(before.selection.point.is_some());
    assert!(before.selection.units.contains_key(&super::STA));
    assert_eq!(
        before.asking["super_token"].question.as_deref(),
        Some("token_attention")
    );

    export(&mut harness, "View", &at("view.json"));
    for (form, name) in [
        ("SVG", "a.svg"),
        ("PNG", "a.png"),
        ("CSV", "a.csv"),
        ("NPZ", "a.npz"),
    ] {
        export(&mut harness, form, &at(name));
        let exported = std::fs::read(at(name)).unwrap();
        assert!(exported.len() > 100, "{name}");
        let drawn = rendered(&at("view.json"), &format!("again-{name}"));
        assert!(exported == drawn, "{name} differs");
    }

    // Another window, in which everything is as at first, opens the view.
    let mut other = window_with(AppOptions::default(), None);
    assert_eq!(other.state().kept().selection.point, None);
    type_path(&mut other, &at("view.json").display().to_string());
    let after = other.state().kept().clone();
    assert!(
        errors(other.state()).is_empty(),
        "{:?}",
        errors(other.state())
    );
    assert_eq!(after.settings.knobs, before.settings.knobs);
    assert_eq!(after.selection, before.selection);
    assert_eq!(after.asking["super_token"], before.asking["super_token"]);
    assert_eq!(
        after.looks.get("super_token"),
        before.looks.get("super_token")
    );
    let tokens = super::super_tokens(other.state());
    assert_eq!((tokens.stoken_size, tokens.affinity.len()), ([5, 5], 2));
    let unit = before.selection.units[&super::STA];
    let title = format!("What super token {unit} reads from");
    assert!(other.query_by_label_contains(&title).is_some());
    // And exports the same again.
    export(&mut other, "SVG", &at("b.svg"));
    assert!(std::fs::read(at("a.svg")).unwrap() == std::fs::read(at("b.svg")).unwrap());
}
