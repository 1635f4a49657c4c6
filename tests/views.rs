//! View files: what the window exports and what `attnscope render` draws of the same view are the
//! same bytes, and what is wrong with a view is told in a line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use attnscope::attention::{KnobValue, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, Outcome, Settings, Wish};
use attnscope::picture::{Colormap, Look, Photo};
use attnscope::view::{Asking, Computed, DETECTIONS, Export, LAYERS, PhotoSource, View, ViewFile};
use tempfile::TempDir;

const SAMPLE: &str = "chelsea.png";
/// The row whose feature maps are looked at.
const LAYER: usize = 4;

fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let open = || Arc::new(Model::bundled(&candle_core::Device::Cpu).unwrap());
    MODEL.get_or_init(open).clone()
}

/// Knobs that are not the model's own.
fn settings() -> Settings {
    let mut settings = Settings::default();
    for (row, name, value) in [(5, "n_iter", 2), (5, "stoken_size", 5), (8, "topk", 6)] {
        let knobs = settings.knobs.entry(row).or_default();
        knobs.insert(name.to_owned(), KnobValue::Int(value));
    }
    settings
}

/// What a window with every pane open has computed.
fn outcome() -> &'static Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    OUTCOME.get_or_init(|| {
        let mut settings = settings();
        settings.watch_all(&model(), &Watch::All);
        settings.features = Some(LAYER);
        let wish = Wish {
            number: 1,
            photo: Arc::new(PhotoSource::Sample(SAMPLE.into()).open().unwrap()),
            model: model(),
            settings,
        };
        Engine::default().run(&wish, &mut ()).unwrap()
    })
}

fn computed() -> Computed<'static> {
    let outcome = outcome();
    Computed {
        scene: &outcome.scene,
        traces: &outcome.traces,
        detected: Some(&outcome.detected),
        features: outcome.features.as_deref(),
    }
}

/// A view of a pane with a place pressed; `question` of its mechanism.
fn view(pane: &str, question: Option<&str>) -> View {
    let mut view = View {
        pane: pane.to_owned(),
        settings: settings(),
        ..View::default()
    };
    view.selection.press([222.0, 128.0]);
    view.selection.detection = Some(0);
    let asking = Asking {
        question: question.map(str::to_owned),
        ..Asking::default()
    };
    view.asking.insert(pane.to_owned(), asking);
    let look = Look {
        colormap: Colormap::Magma,
        opacity: 0.6,
        ..Look::default()
    };
    view.looks.insert(pane.to_owned(), look);
    view
}

/// A folder with a view file in it.
struct Folder(TempDir);

impl Folder {
    fn with(view: &View) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(view);
        folder
    }

    fn write(&self, view: &View) {
        let photo: &Photo = &outcome().scene.photo;
        let source = PhotoSource::Sample(SAMPLE.into());
        let file = ViewFile::new(view.clone(), (photo, Some(&source)), &model()).unwrap();
        file.write(&self.at("view.json")).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `attnscope render` on the view.
    fn render(&self, out: &str) -> Output {
        render(&self.at("view.json"), &self.at(out))
    }

    /// Names in the folder.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let name = |e: std::fs::DirEntry| e.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|e| name(e.unwrap())).collect();
        names.sort();
        names
    }
}

fn render(view: &Path, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("render");
    command.arg(view).arg("--out").arg(out);
    command.args(["--device", "cpu"]).output().unwrap()
}

fn said(ran: &Output) -> String {
    String::from_utf8(ran.stderr.clone()).unwrap()
}

/// Nothing but one line was said, the run failed and left nothing.
fn assert_refused(ran: &Output, folder: &Folder, begins: &str) -> String {
    let said = said(ran);
    assert!(!ran.status.success(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with(&format!("attnscope: {begins}")), "{said}");
    assert!(said.contains("; expected "), "{said}");
    assert!(
        folder.names().iter().all(|n| n == "view.json"),
        "{:?}",
        folder.names()
    );
    said
}

/// A view is written with and without a window, in every form, to the same bytes.
fn same_both_ways(view: &View) {
    let folder = Folder::with(view);
    let what = format!("{} {:?}", view.pane, view.asking.get(&view.pane));
    for ending in Export::ENDINGS {
        let name = format!("figure.{ending}");
        // Two pixels per point is what both propose.
        let export = Export::for_path(Path::new(&name), 2.0).unwrap();
        let ran = folder.render(&name);
        match export.bytes(view, computed()) {
            Ok(bytes) => {
                assert!(ran.status.success(), "{what}: {}", said(&ran));
                assert_eq!(said(&ran), "", "{what}");
                let drawn = std::fs::read(folder.at(&name)).unwrap();
                assert!(bytes.len() > 40, "{what}: {ending}");
                assert!(drawn == bytes, "{what}: the {ending} differs");
                std::fs::remove_file(folder.at(&name)).unwrap();
            }
            Err(why) => {
                let words = "a CSV holds them";
                assert!(
                    ending == "npz" && why.contains(words),
                    "{what}: {ending}: {why}"
                );
                let message = assert_refused(&ran, &folder, "");
                assert!(message.contains(words), "{message}");
            }
        }
    }
}

#[test]
fn detections_are_written_alike() {
    same_both_ways(&view(DETECTIONS, None));
}

#[test]
fn super_tokens_are_written_alike() {
    for question in ["affinity", "token_matrix", "affinity_moved", "heads"] {
        same_both_ways(&view("super_token", Some(question)));
    }
}

#[test]
fn routed_regions_are_written_alike() {
    for question in ["routes", "token_attention", "overlap", "region_matrix"] {
        same_both_ways(&view("routing", Some(question)));
    }
}

#[test]
fn polarized_weights_are_written_alike() {
    for question in ["spatial_weight", "channel_weight", "factor", "channels"] {
        let mut view = view("polarized", Some(question));
        view.selection.channel = Some(17);
        same_both_ways(&view);
    }
}

#[test]
fn position_sensitive_attention_is_written_alike() {
    for question in ["token_attention", "received", "heads"] {
        let mut view = view("position_sensitive", Some(question));
        same_both_ways(&view);
        // Another layer, and a position chosen by itself.
        view.selection.rows.insert("position_sensitive".into(), 25);
        view.selection.units = BTreeMap::from([(25, 37)]);
        same_both_ways(&view);
    }
}

#[test]
fn feature_maps_are_written_alike() {
    for sorted in ["number", "variance"] {
        let mut view = view(LAYERS, Some(sorted));
        view.selection.layer = Some(LAYER);
        same_both_ways(&view);
    }
}

#[test]
fn a_view_of_other_weights_or_another_picture_says_so_and_is_drawn() {
    let folder = Folder::with(&view("polarized", None));
    let path = folder.at("view.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    let digest = |d: u64| format!("{d:016x}");
    for (digest, part) in [
        (digest(model().digest), "the weights are not those"),
        (
            digest(outcome().scene.photo.digest),
            "the picture is not the one",
        ),
    ] {
        assert!(whole.contains(&digest));
        std::fs::write(&path, whole.replace(&digest, "0123456789abcdef")).unwrap();
        let ran = folder.render("figure.svg");
        assert!(ran.status.success(), "{}", said(&ran));
        let said = said(&ran);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("view.json: ") && said.contains(part),
            "{said}"
        );
        assert_eq!(folder.names(), ["figure.svg", "view.json"]);
    }
}

#[test]
fn a_broken_view_is_one_message_and_nothing_is_written() {
    let folder = Folder::with(&view("routing", None));
    let path = folder.at("view.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    let begins = format!("{}: ", path.display());
    for (bad, part) in [
        (String::new(), "EOF"),
        (whole[..whole.len() / 2].to_owned(), "EOF"),
        ("{}".to_owned(), "missing field"),
        (
            whole.replace("\"attnscope_view\": 1", "\"attnscope_view\": 9"),
            "version 9",
        ),
        (whole.replace(SAMPLE, "no-such.png"), "no-such.png"),
        (
            whole.replace("\"pane\": \"routing\"", "\"pane\": \"ceiling\""),
            "ceiling",
        ),
    ] {
        assert_ne!(bad, whole, "{part}");
        std::fs::write(&path, bad).unwrap();
        let message = assert_refused(&folder.render("figure.svg"), &folder, &begins);
        assert!(message.contains(part), "{message}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_refused(&folder.render("figure.svg"), &folder, &begins);
}

#[test]
fn a_form_that_is_not_written_is_refused_before_anything_is_opened() {
    let folder = Folder::with(&view("routing", None));
    let out = folder.at("figure.pdf");
    let begins = format!("{}: ", out.display());
    // The view is not there: that is not even noticed.
    let ran = render(&folder.at("gone.json"), &out);
    let message = assert_refused(&ran, &folder, &begins);
    assert!(
        message.contains("no figure is written as .pdf"),
        "{message}"
    );
}

#[test]
fn the_relative_places_of_a_view_count_from_its_folder() {
    let folder = Folder::with(&view(DETECTIONS, None));
    let path = folder.at("view.json");
    std::fs::copy("assets/samples/chelsea.png", folder.at("mine.png")).unwrap();
    let photo = Photo::open(&folder.at("mine.png")).unwrap();
    let source = PhotoSource::File(folder.at("mine.png"));
    let file = ViewFile::new(view(DETECTIONS, None), (&photo, Some(&source)), &model()).unwrap();
    file.write(&path).unwrap();
    let ran = folder.render("figure.csv");
    assert!(ran.status.success(), "{}", said(&ran));
    let first = std::fs::read(folder.at("figure.csv")).unwrap();
    // Moved together they still belong together.
    let moved = tempfile::tempdir().unwrap();
    for name in ["mine.png", "view.json"] {
        std::fs::rename(folder.at(name), moved.path().join(name)).unwrap();
    }
    let out = moved.path().join("figure.csv");
    let ran = render(&moved.path().join("view.json"), &out);
    assert!(ran.status.success(), "{}", said(&ran));
    assert_eq!(said(&ran), "");
    assert!(std::fs::read(out).unwrap() == first);
}
