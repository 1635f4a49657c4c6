//! Where a picture and a model are found again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::checkpoint::{BUNDLED, Model, Origin};
use crate::picture::samples::{SAMPLES, Sample};
use crate::picture::{Photo, samples};

/// A picture, by where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhotoSource {
    /// A bundled one, by its file name.
    Sample(String),
    /// A file.
    File(PathBuf),
}

impl Default for PhotoSource {
    fn default() -> Self {
        Self::Sample(SAMPLES[0].file.to_owned())
    }
}

impl PhotoSource {
    /// The source as it can be kept; see [`lasting`].
    pub fn lasting(self) -> Option<Self> {
        match self {
            Self::Sample(_) => Some(self),
            Self::File(path) => lasting(&path).map(Self::File),
        }
    }

    /// Opens the picture.
    ///
    /// # Errors
    /// As [`Photo::open`].
    pub fn open(&self) -> Result<Photo> {
        match self {
            Self::Sample(file) => Sample::named(file).open(),
            Self::File(path) => Photo::open(path),
        }
    }
}

/// A model, by where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelSource {
    /// A bundled one, by its name.
    Bundled(String),
    /// A folder or a file.
    File(PathBuf),
}

impl ModelSource {
    /// Where a model is found again; `None` if the name of its place is not text.
    pub fn of(model: &Model) -> Option<Self> {
        match &model.origin {
            Origin::Bundled(bundled) => Some(Self::Bundled(bundled.id.to_owned())),
            Origin::Folder(path) => lasting(path).map(Self::File),
        }
    }

    /// What it stands for.
    ///
    /// # Errors
    /// One sentence if the program carries no model of that name.
    pub fn origin(&self) -> std::result::Result<Origin, String> {
        match self {
            Self::File(path) => Ok(Origin::Folder(path.clone())),
            Self::Bundled(name) => {
                let found = BUNDLED.iter().find(|b| b.id == *name);
                found.map(Origin::Bundled).ok_or_else(|| {
                    let known: Vec<&str> = BUNDLED.iter().map(|b| b.id).collect();
                    let known = known.join(", ");
                    format!("no bundled model is called {name}; there are {known}")
                })
            }
        }
    }
}

/// The path as it can be kept: from the root, so that it holds in another folder too. `None` if
/// its name is not text.
pub fn lasting(path: &Path) -> Option<PathBuf> {
    path.to_str()?;
    Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// Whether a bundled photograph has this name.
pub(super) fn is_sample(file: &str) -> bool {
    samples::SAMPLES.iter().any(|s| s.file == file)
}
