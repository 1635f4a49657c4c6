//! Written folders: every file whole or absent.

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
