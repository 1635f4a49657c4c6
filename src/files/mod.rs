//! Written folders: every file whole or absent. And the forms of numbers in files.

pub(crate) mod csv;
pub(crate) mod npz;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, Result};

/// A set of files that appear together. Until [`FileSet::publish`] they lie in a hidden folder
/// beside their place; dropping the set removes them.
pub struct FileSet {
    staging: TempDir,
    target: PathBuf,
    names: Vec<String>,
}

impl FileSet {
    /// Starts a set that will be published as the folder `target`.
    ///
    /// # Errors
    /// If the folder above cannot be written.
    pub fn new(target: PathBuf) -> Result<Self> {
        let parent = target
            .parent()
            .map_or_else(|| PathBuf::from("."), Path::to_owned);
        std::fs::create_dir_all(&parent).map_err(|e| unwritable(&parent, &e))?;
        let staging = tempfile::Builder::new()
            .prefix(".attnscope-")
            .tempdir_in(&parent)
            .map_err(|e| unwritable(&parent, &e))?;
        Ok(Self {
            staging,
            target,
            names: Vec::new(),
        })
    }

    /// Where to write the file `name` until the set is published.
    pub fn path(&mut self, name: &str) -> PathBuf {
        self.names.push(name.to_owned());
        self.staging.path().join(name)
    }

    /// Adds a file with these bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        std::fs::write(&path, bytes).map_err(|e| unwritable(&self.target.join(name), &e))
    }

    /// Moves all files to their place; files of the same name there are replaced.
    ///
    /// # Errors
    /// If the place cannot be written.
    pub fn publish(self) -> Result<PathBuf> {
        let existed = self.target.exists();
        std::fs::create_dir_all(&self.target).map_err(|e| unwritable(&self.target, &e))?;
        // A folder cannot be replaced by a file; seen before anything was moved.
        for to in self.names.iter().map(|name| self.target.join(name)) {
            if to.is_dir() {
                return Err(Error::path(&to, "it is a folder", "room for a file"));
            }
        }
        for name in &self.names {
            let to = self.target.join(name);
            if let Err(e) = std::fs::rename(self.staging.path().join(name), &to) {
                if !existed {
                    // Nothing of a set that could not be completed stays behind.
                    let _ = std::fs::remove_dir_all(&self.target);
                }
                return Err(unwritable(&to, &e));
            }
        }
        Ok(self.target)
    }
}

/// Writes one file, whole or not at all: what was there before stays until then.
///
/// # Errors
/// If the place cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    if path.is_dir() {
        return Err(Error::path(path, "it is a folder", "the name of a file"));
    }
    let mut file = tempfile::Builder::new()
        .prefix(".attnscope-")
        .tempfile_in(folder)
        .map_err(|e| unwritable(folder, &e))?;
    std::io::Write::write_all(&mut file, bytes).map_err(|e| unwritable(path, &e))?;
    file.persist(path)
        .map(drop)
        .map_err(|e| unwritable(path, &e.error))
}

/// Refuses a place that can never become a folder: a file, or a path through one.
///
/// # Errors
/// If the nearest thing that exists on the way to `path` is not a folder.
pub fn check_folder(path: &Path) -> Result<()> {
    let existing = path.ancestors().find(|p| p.exists());
    match existing {
        Some(place) if !place.is_dir() => Err(Error::path(
            place,
            "it is in the way of the output",
            "a folder, or nothing yet",
        )),
        _ => Ok(()),
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::path(
        path,
        format!("it cannot be written ({error})"),
        "a folder that may be written to",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_before_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        let mut set = FileSet::new(target.clone()).unwrap();
        set.write("x.txt", b"x").unwrap();
        assert!(!target.exists());
        drop(set);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut set = FileSet::new(target.clone()).unwrap();
        set.write("x.txt", b"y").unwrap();
        set.publish().unwrap();
        assert_eq!(std::fs::read(target.join("x.txt")).unwrap(), b"y");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_the_way_of_a_file_leaves_the_others_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        std::fs::create_dir_all(target.join("y.txt")).unwrap();
        std::fs::write(target.join("x.txt"), b"old").unwrap();
        let mut set = FileSet::new(target.clone()).unwrap();
        set.write("x.txt", b"new").unwrap();
        set.write("y.txt", b"new").unwrap();
        let message = set.publish().unwrap_err().to_string();
        assert!(message.contains("y.txt: it is a folder"), "{message}");
        assert_eq!(std::fs::read(target.join("x.txt")).unwrap(), b"old");
    }

    #[test]
    fn a_place_that_cannot_be_a_folder_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(check_folder(&dir.path().join("new/deep")).is_ok());
        for bad in [file.clone(), file.join("sub/deep")] {
            let message = check_folder(&bad).unwrap_err().to_string();
            assert!(
                message.starts_with(&file.display().to_string()),
                "{message}"
            );
        }
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let message = FileSet::new(file.join("a")).err().unwrap().to_string();
        assert!(
            message.contains("file") && message.contains("cannot be written"),
            "{message}"
        );
    }
}
