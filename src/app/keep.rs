//! What the window is next time as it was left: written by eframe at the end and now and then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use egui::ThemePreference;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::pane::{Asking, Camera, Look, Selection};
use super::source::Recent;
use crate::checkpoint::{BUNDLED, Bundled, Model, Origin};
use crate::engine::{Probe, Settings};
use crate::view::{self, PhotoSource, View};

/// Grows when older states can no longer be read.
const VERSION: u32 = 1;
/// The entry in eframe's storage.
const KEY: &str = "attnscope";

/// Everything that outlives the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    version: u32,
    /// Where the panes are.
    pub layout: Layout,
    /// Dark, light, or as the system.
    pub theme: ThemePreference,
    /// Sizes, thresholds, knobs.
    pub settings: Settings,
    /// What is pressed.
    pub selection: Selection,
    /// What is asked, by id of the mechanism.
    #[serde(default)]
    pub asking: BTreeMap<String, Asking>,
    /// How maps look, by pane.
    pub looks: BTreeMap<String, Look>,
    /// Pan and zoom.
    pub camera: Camera,
    /// The attention layer whose knobs are shown.
    pub layer: Option<usize>,
    /// The probe that would be attached next.
    #[serde(default)]
    pub probe: Probe,
    /// Whether height and width of a knob are set apart.
    pub separate_sides: bool,
    /// Files opened before.
    pub recent: Recent,
    /// The picture that was open.
    pub photo: PhotoSource,
    /// The model that was open; `None` is a bundled one.
    pub model: Option<PathBuf>,
    /// Name of the bundled model that was open; `None` is the first.
    #[serde(default)]
    pub bundled: Option<String>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            version: VERSION,
            layout: Layout::default(),
            theme: ThemePreference::default(),
            settings: Settings::default(),
            selection: Selection::default(),
            asking: BTreeMap::new(),
            looks: BTreeMap::new(),
            camera: Camera::default(),
            layer: None,
            probe: Probe::default(),
            separate_sides: false,
            recent: Recent::default(),
            photo: PhotoSource::default(),
            model: None,
            bundled: None,
        }
    }
}

impl Kept {
    /// Reads the state that was kept; the default, with a note, if it cannot be read.
    pub fn load(storage: Option<&dyn eframe::Storage>) -> (Self, Option<String>) {
        let Some(text) = storage.and_then(|s| s.get_string(KEY)) else {
            return (Self::default(), None);
        };
        match Self::parse(&text) {
            Ok(kept) => (kept, None),
            Err(why) => {
                let note = format!(
                    "The kept layout and settings could not be read ({why}). The window starts afresh."
                );
                (Self::default(), Some(note))
            }
        }
    }

    /// Whether nothing was kept yet.
    pub fn is_none(storage: &dyn eframe::Storage) -> bool {
        storage.get_string(KEY).is_none()
    }

    /// What is seen in a pane.
    pub fn view(&self, pane: &str) -> View {
        View {
            pane: pane.to_owned(),
            settings: self.settings.clone(),
            selection: self.selection.clone(),
            asking: self.asking.clone(),
            looks: self.looks.clone(),
            camera: self.camera,
            shared: None,
        }
    }

    /// Puts a view in place.
    pub fn set_view(&mut self, view: View) {
        self.settings = view.settings;
        self.selection = view.selection;
        self.asking = view.asking;
        self.looks.extend(view.looks);
        self.camera = view.camera;
    }

    /// The model that was open.
    pub fn model_origin(&self) -> Option<Origin> {
        let bundled = || Some(Origin::Bundled(Bundled::named(self.bundled.as_ref()?)?));
        let path = self.model.clone().map(Origin::Folder);
        path.or_else(bundled)
    }

    /// Whether this model is the one that was open.
    pub fn is_of(&self, model: &Model) -> bool {
        let (path, bundled) = place_of(model);
        path == self.model && bundled == self.bundled
    }

    /// Remembers where a model is found again.
    pub fn note_model(&mut self, model: &Model) {
        (self.model, self.bundled) = place_of(model);
        if let Some(path) = &self.model {
            self.recent.push(path);
        }
    }

    /// Writes the state.
    pub fn save(&self, storage: &mut dyn eframe::Storage) {
        match serde_json::to_string(self) {
            Ok(text) => storage.set_string(KEY, text),
            Err(error) => tracing::warn!("the state of the window was not kept: {error}"),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut kept: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if kept.version != VERSION {
            let found = kept.version;
            return Err(format!("it has version {found}; expected {VERSION}"));
        }
        kept.layout.repair();
        if !kept.camera.is_sound() {
            kept.camera = Camera::default();
        }
        Ok(kept)
    }
}

/// Path or bundled name of a model; neither for the first bundled one.
fn place_of(model: &Model) -> (Option<PathBuf>, Option<String>) {
    match &model.origin {
        Origin::Bundled(b) if **b == BUNDLED[0] => (None, None),
        Origin::Bundled(b) => (None, Some(b.id.to_owned())),
        Origin::Folder(path) => (view::lasting(path), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::KnobValue;

    fn changed() -> Kept {
        let mut kept = Kept {
            theme: ThemePreference::Light,
            layer: Some(8),
            separate_sides: true,
            photo: PhotoSource::File("/a/b.png".into()),
            model: Some("/m".into()),
            ..Kept::default()
        };
        let knobs = [
            ("topk".to_owned(), KnobValue::Int(9)),
            ("stoken_size".to_owned(), KnobValue::Pair([4, 6])),
        ];
        kept.settings.knobs.insert(8, knobs.into());
        kept.settings.size = Some(416);
        kept.selection.units.insert(8, 12);
        let asking = Asking {
            head: Some(2),
            ..Asking::default()
        };
        kept.asking.insert("routing".into(), asking);
        kept.selection.point = Some([1.5, 2.25]);
        kept.looks.insert(
            "polarized".into(),
            Look {
                opacity: 0.3,
                ..Look::default()
            },
        );
        kept.recent.push(std::path::Path::new("/a/b.png"));
        kept.layout.toggle("detections");
        kept
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        for kept in [Kept::default(), changed()] {
            let text = serde_json::to_string(&kept).unwrap();
            assert_eq!(Kept::parse(&text).unwrap(), kept);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_reason() {
        let text = serde_json::to_string(&changed()).unwrap();
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        for (bad, part) in [
            ("", "EOF"),
            ("[]", ""),
            ("{}", "missing field"),
            (&newer, "version 2"),
        ] {
            let why = Kept::parse(bad).unwrap_err();
            assert!(why.contains(part), "{bad}: {why}");
        }
        // Cut off anywhere: never a panic.
        for end in (0..text.len()).step_by(7) {
            assert!(Kept::parse(&text[..end]).is_err());
        }
    }
}
