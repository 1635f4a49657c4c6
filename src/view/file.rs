//! View files: one view of one picture through one model, as JSON, to be opened again in the
//! window or drawn without one.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::{self, ModelSource, PhotoSource};
use super::{Asking, Camera, Selection};
use crate::checkpoint::Model;
use crate::engine::Settings;
use crate::picture::{Look, Photo, Range};
use crate::{Error, Result, files};

/// Grows when older files can no longer be read.
const VERSION: u32 = 1;
/// A view is a few kilobytes; what is larger is something else.
const MOST_BYTES: u64 = 1 << 20;
const EXPECTED: &str = "a view file written by attnscope";

/// What is seen, without the picture and the model that it is seen on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// Id of the pane that a figure is made of.
    pub pane: String,
    /// Input size, head, thresholds, knobs, probes.
    pub settings: Settings,
    /// What is pressed.
    pub selection: Selection,
    /// What is asked, by id of the mechanism.
    pub asking: BTreeMap<String, Asking>,
    /// How maps look, by pane.
    pub looks: BTreeMap<String, Look>,
    /// Pan and zoom.
    pub camera: Camera,
    /// The range of the maps that share one.
    pub shared: Option<Range>,
}

/// Something with its digest, so that it is noticed when it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known<T> {
    /// Where it is found.
    pub place: T,
    /// Digest of what was there, 16 hexadecimal digits.
    pub digest: String,
}

/// A view with the picture and the model that it was seen on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewFile {
    attnscope_view: u32,
    /// The picture.
    pub picture: Known<PhotoSource>,
    /// The model.
    pub model: Known<ModelSource>,
    /// What was seen.
    pub view: View,
}

impl ViewFile {
    /// A view of what is open.
    ///
    /// # Errors
    /// One sentence if picture or model cannot be found again.
    pub fn new(
        view: View,
        photo: (&Photo, Option<&PhotoSource>),
        model: &Model,
    ) -> std::result::Result<Self, String> {
        let (photo, source) = photo;
        let source = source.cloned().and_then(PhotoSource::lasting);
        let source = source.ok_or(
            "the picture came from the clipboard or has a name that is no text; save it as a file \
             and open that",
        )?;
        let place = ModelSource::of(model).ok_or("the path of the model is no text")?;
        Ok(Self {
            attnscope_view: VERSION,
            picture: Known {
                place: source,
                digest: hex(photo.digest),
            },
            model: Known {
                place,
                digest: hex(model.digest),
            },
            view,
        })
    }

    /// Whether a file seems to be one of these: a JSON file that says so near its start.
    pub fn is_one(path: &Path) -> bool {
        let json = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let mut start = Vec::new();
        let read = |file: std::fs::File| file.take(512).read_to_end(&mut start);
        json && std::fs::File::open(path).and_then(read).is_ok()
            && String::from_utf8_lossy(&start).contains("\"attnscope_view\"")
    }

    /// Reads a view file; relative places in it count from its folder.
    ///
    /// # Errors
    /// If it cannot be read or is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|e| Error::path(path, e, EXPECTED))?;
        let mut text = String::new();
        let mut limited = file.take(MOST_BYTES + 1);
        limited
            .read_to_string(&mut text)
            .map_err(|e| Error::path(path, e, EXPECTED))?;
        if text.len() as u64 > MOST_BYTES {
            let problem = format!("it is larger than {MOST_BYTES} bytes");
            return Err(Error::path(path, problem, EXPECTED));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|why| Error::path(path, why, EXPECTED))
    }

    /// Understands the text of a view file whose relative places count from `folder`.
    ///
    /// # Errors
    /// One sentence on what is wrong.
    pub fn parse(text: &str, folder: &Path) -> std::result::Result<Self, String> {
        let mut file: Self = serde_json::from_str(text).map_err(|e| match e.is_data() {
            true => e.to_string(),
            false => format!("not JSON ({e})"),
        })?;
        if file.attnscope_view != VERSION {
            return Err(format!(
                "it has version {}, this program reads {VERSION}",
                file.attnscope_view
            ));
        }
        for digest in [&file.picture.digest, &file.model.digest] {
            if digest.len() != 16 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("“{digest}” is no digest of 16 hexadecimal digits"));
            }
        }
        if !file.view.camera.is_sound() {
            file.view.camera = Camera::default();
        }
        match &mut file.picture.place {
            PhotoSource::File(path) => *path = folder.join(&*path),
            PhotoSource::Sample(name) if !source::is_sample(name) => {
                return Err(format!("no bundled picture is called {name}"));
            }
            PhotoSource::Sample(_) => {}
        }
        match &mut file.model.place {
            ModelSource::File(path) => *path = folder.join(&*path),
            bundled => drop(bundled.origin()?),
        }
        Ok(file)
    }

    /// The text to be written to `path`: files in its folder or below are named from there, so
    /// that the folder can be moved.
    pub fn text_for(&self, path: &Path) -> String {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        let below = |place: &PathBuf| place.strip_prefix(folder).unwrap_or(place).to_owned();
        let mut moved = self.clone();
        if let PhotoSource::File(place) = &mut moved.picture.place {
            *place = below(place);
        }
        if let ModelSource::File(place) = &mut moved.model.place {
            *place = below(place);
        }
        // Numbers, names and lists only: nothing that JSON cannot say.
        serde_json::to_string_pretty(&moved).unwrap_or_default() + "\n"
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If the place cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write(path, self.text_for(path).as_bytes())
    }

    /// What is not as it was when the view was made, in a sentence each.
    pub fn changes(&self, photo: &Photo, model: &Model) -> Vec<String> {
        let mut list = Vec::new();
        if self.picture.digest != hex(photo.digest) {
            list.push("the picture is not the one that the view was made on".to_owned());
        }
        if self.model.digest != hex(model.digest) {
            list.push("the weights are not those that the view was made on".to_owned());
        }
        list
    }
}

fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ViewFile {
        let mut view = View {
            pane: "routing".into(),
            ..View::default()
        };
        view.settings.size = Some(416);
        view.selection.units.insert(8, 27);
        view.selection.point = Some([1.5, 2.25]);
        view.looks.insert("routing".into(), Look::default());
        ViewFile {
            attnscope_view: VERSION,
            picture: Known {
                place: PhotoSource::File("/a/b/c.png".into()),
                digest: hex(7),
            },
            model: Known {
                place: ModelSource::Bundled(BUNDLED_NAME.into()),
                digest: hex(u64::MAX),
            },
            view,
        }
    }

    const BUNDLED_NAME: &str = crate::checkpoint::BUNDLED[0].id;

    #[test]
    fn what_is_written_is_read_the_same_and_can_be_moved() {
        let file = file();
        let text = file.text_for(Path::new("/a/view.json"));
        assert!(text.contains("\"b/c.png\""), "{text}");
        assert_eq!(ViewFile::parse(&text, Path::new("/a")).unwrap(), file);
        let moved = ViewFile::parse(&text, Path::new("/elsewhere")).unwrap();
        let there = PhotoSource::File("/elsewhere/b/c.png".into());
        assert_eq!(moved.picture.place, there);
        let far = file.text_for(Path::new("/other/view.json"));
        assert!(far.contains("/a/b/c.png"), "{far}");
    }

    #[test]
    fn what_is_no_view_is_refused_with_a_reason() {
        let text = file().text_for(Path::new("/a/view.json"));
        let newer = text.replace("\"attnscope_view\": 1", "\"attnscope_view\": 2");
        let unknown = text.replace(BUNDLED_NAME, "no-such-model");
        let short = text.replace("0000000000000007", "07");
        for (bad, part) in [
            ("", "EOF"),
            ("[1, 2]", ""),
            ("{}", "missing field"),
            (&newer, "version 2"),
            (&unknown, "no bundled model is called no-such-model"),
            (&short, "“07” is no digest"),
        ] {
            let why = ViewFile::parse(bad, Path::new("/")).unwrap_err();
            assert!(why.contains(part), "{bad}: {why}");
        }
        // Cut off anywhere: never a panic.
        for end in (0..text.len() - 2).step_by(5) {
            assert!(ViewFile::parse(&text[..end], Path::new("/")).is_err());
        }
    }

    #[test]
    fn a_file_is_known_by_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("view.json");
        file().write(&path).unwrap();
        assert!(ViewFile::is_one(&path));
        assert_eq!(ViewFile::read(&path).unwrap(), file());
        let card = folder.path().join("card.json");
        std::fs::write(&card, "{\"name\": \"a model\"}").unwrap();
        assert!(!ViewFile::is_one(&card));
        assert!(!ViewFile::is_one(&folder.path().join("gone.json")));
        let message = ViewFile::read(&card).unwrap_err().to_string();
        assert!(
            message.contains("card.json") && message.contains(EXPECTED),
            "{message}"
        );
    }
}
