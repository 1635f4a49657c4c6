//! Which files a path stands for: the definition, the weights, the card.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use crate::{Error, Result};

/// Files of a model folder.
pub(super) const YAML: &str = "model.yaml";
pub(super) const WEIGHTS: &str = "weights.safetensors";
pub(super) const CARD: &str = "card.json";
/// Larger weights files, in bytes, are not detectors of this family.
const MAX_WEIGHTS: u64 = 4 << 30;
/// Larger definitions and cards are not written by people.
const MAX_TEXT: u64 = 16 << 20;

/// What a model path should be, for messages.
const MODEL: &str = "a checkpoint (.pt), or a folder with model.yaml and weights.safetensors";

/// The files of a model.
#[derive(Debug)]
pub(super) struct Place {
    /// The definition. A checkpoint needs none if it has its own.
    pub(super) yaml: Option<PathBuf>,
    /// The weights; a definition may stand alone.
    pub(super) weights: Option<PathBuf>,
    /// The card, if there is one.
    pub(super) card: Option<PathBuf>,
    /// What was opened: a folder, or a file.
    pub(super) origin: PathBuf,
    /// What the model is called if nothing else says.
    pub(super) name: String,
}

/// What the extension of a file says it is.
#[derive(PartialEq)]
enum Kind {
    Definition,
    Flat,
    Torch,
    Other,
}

fn kind(path: &Path) -> Kind {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension.to_ascii_lowercase().as_str() {
        "yaml" | "yml" => Kind::Definition,
        "safetensors" => Kind::Flat,
        "pt" | "pth" => Kind::Torch,
        _ => Kind::Other,
    }
}

/// Whether a weights file is a checkpoint of PyTorch.
pub(super) fn is_torch(path: &Path) -> bool {
    kind(path) == Kind::Torch
}

/// Finds the files that a path stands for: a folder for its parts, a file for itself and what lies
/// beside it under the same or the usual name.
///
/// # Errors
/// If there is nothing at the path.
pub(super) fn locate(path: &Path) -> Result<Place> {
    if !path.exists() {
        return Err(Error::path(path, "there is no such file or folder", MODEL));
    }
    let folder = match path.is_dir() {
        true => path.to_owned(),
        false => path.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let beside = |names: &[PathBuf]| names.iter().find(|p| p.exists()).cloned();
    let stem = |extension: &str| path.with_extension(extension);
    let (yaml, weights) = (folder.join(YAML), folder.join(WEIGHTS));
    let kind = if path.is_dir() {
        Kind::Other
    } else {
        kind(path)
    };
    let definition = || beside(&[stem("yaml"), stem("yml"), yaml.clone()]);
    let (yaml, weights) = match kind {
        Kind::Definition => {
            let names = [
                stem("safetensors"),
                weights.clone(),
                stem("pt"),
                stem("pth"),
            ];
            (Some(path.to_owned()), beside(&names))
        }
        Kind::Flat => (definition().or(Some(yaml.clone())), Some(path.to_owned())),
        Kind::Torch => (definition(), Some(path.to_owned())),
        Kind::Other => (Some(yaml), Some(weights)),
    };
    let usual = |path: &Option<PathBuf>, name: &str| *path == Some(folder.join(name));
    let whole = usual(&yaml, YAML) && usual(&weights, WEIGHTS);
    let origin = if whole || kind == Kind::Other {
        folder.clone()
    } else {
        path.to_owned()
    };
    Ok(Place {
        card: Some(folder.join(CARD)).filter(|p| p.exists()),
        name: name(&origin),
        yaml,
        weights,
        origin,
    })
}

/// The name of a folder or file. Training calls all its files alike and puts them all in folders
/// called weights: then the first folder above that has a name of its own.
fn name(origin: &Path) -> String {
    let absolute = std::path::absolute(origin).unwrap_or_else(|_| origin.to_owned());
    let mut stems = absolute.ancestors();
    let first = stems.next().and_then(|p| match p.is_dir() {
        true => p.file_name(),
        false => p.file_stem(),
    });
    let folders = stems.map(Path::file_name);
    let common = ["best", "last", "weights", "model"];
    let names = std::iter::once(first).chain(folders).flatten();
    let mut names = names.map(|n| n.to_string_lossy().into_owned());
    let own = names.find(|n| !common.contains(&n.to_ascii_lowercase().as_str()));
    own.unwrap_or_else(|| "model".into())
}

/// An ordinary file of at most `most` bytes, and its length.
fn open(path: &Path, most: u64) -> Result<(File, u64)> {
    // Before opening: a named pipe would wait for its writer for ever, a device has no end.
    let meta = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if meta.is_dir() {
        return Err(Error::path(path, "it is a folder", MODEL));
    }
    if !meta.is_file() {
        return Err(Error::path(path, "it is not an ordinary file", MODEL));
    }
    if meta.len() > most {
        let problem = format!("it has {} bytes", meta.len());
        return Err(Error::path(path, problem, format!("at most {most}")));
    }
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    Ok((file, meta.len()))
}

/// The bytes of a weights file, to be read piece by piece.
pub(super) fn bytes(path: &Path) -> Result<Bytes> {
    let (file, length) = open(path, MAX_WEIGHTS)?;
    Ok(Bytes::file(file, length))
}

/// A definition or card.
pub(super) fn text(path: &Path) -> Result<String> {
    let (file, length) = open(path, MAX_TEXT)?;
    let bytes = Bytes::file(file, length).read(0, length);
    let bytes = bytes.map_err(|e| unreadable(path, &e))?;
    String::from_utf8(bytes).map_err(|_| Error::path(path, "it is not text", "UTF-8 text"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let problem = match error.kind() {
        std::io::ErrorKind::NotFound => "it is missing".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        _ => format!("it cannot be read ({error})"),
    };
    Error::path(path, problem, MODEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_training_gives_to_all_files_are_no_names() {
        for (path, expected) in [
            ("/runs/train7/weights/best.pt", "train7"),
            ("/runs/train7/weights/last.pt", "train7"),
            ("/models/yolo11n.pt", "yolo11n"),
            ("/models/mine/weights.safetensors", "mine"),
            ("/models/mine/model.yaml", "mine"),
            ("/best.pt", "model"),
        ] {
            assert_eq!(name(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_file_stands_for_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str| std::fs::write(at(name), b"").unwrap();
        for name in ["a.yaml", "a.pt", "b.pt", "c.yaml", "d.safetensors"] {
            write(name);
        }
        let parts = |name: &str| {
            let place = locate(&at(name)).unwrap();
            let short = |p: Option<PathBuf>| Some(p?.file_name()?.to_str()?.to_owned());
            let short = |p| short(p).unwrap_or_default();
            (short(place.yaml), short(place.weights))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(parts("a.yaml"), pair("a.yaml", "a.pt"));
        assert_eq!(parts("a.pt"), pair("a.yaml", "a.pt"));
        assert_eq!(parts("b.pt"), pair("", "b.pt"));
        assert_eq!(parts("c.yaml"), pair("c.yaml", ""));
        assert_eq!(parts("d.safetensors"), pair("model.yaml", "d.safetensors"));
        write("model.yaml");
        write("weights.safetensors");
        assert_eq!(parts("b.pt"), pair("model.yaml", "b.pt"));
        assert_eq!(parts("c.yaml"), pair("c.yaml", "weights.safetensors"));
        assert_eq!(locate(&at("model.yaml")).unwrap().origin, folder.path());
    }
}
