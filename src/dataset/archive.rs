//! Tar archives with `labels.jsonl` and its pictures, read where they lie: nothing is unpacked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DataSet, EXPECTED, MAX_PICTURES, Problem, files, jsonl};
use crate::{Error, Result};

/// Where a picture lies.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A part of an archive.
    Part {
        /// The archive.
        archive: Arc<Path>,
        /// Name in it.
        name: PathBuf,
        /// First byte.
        at: u64,
        /// Length in bytes.
        length: u64,
    },
}

impl Source {
    /// The name in messages.
    pub fn show(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Part { archive, name, .. } => {
                format!("{}: {}", archive.display(), name.display())
            }
        }
    }

    /// Refuses a picture that is not there; `stated` is where it is spoken of.
    pub(super) fn check(&self, stated: &str) -> Result<()> {
        match self {
            Self::File(path) if !path.is_file() => {
                let expected = format!("the picture that {stated} speaks of");
                Err(Error::path(path, "there is no such file", expected))
            }
            _ => Ok(()),
        }
    }
}

/// The bytes of a part of an archive.
///
/// # Errors
/// If the archive was changed or taken away since it was opened.
pub fn read(archive: &Path, at: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(archive)?;
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What lies in an archive.
#[derive(Debug, Default)]
pub struct Index {
    /// The text of `labels.jsonl`.
    pub labels: Option<String>,
    /// First byte and length of every other file.
    pub parts: HashMap<PathBuf, (u64, u64)>,
}

/// Reads the directory and the labels of an archive of `length` bytes.
///
/// # Errors
/// If it is no tar archive, or ends early.
pub fn index(archive: impl Read + Seek, length: u64) -> Result<Index, Problem> {
    let damaged = |e: std::io::Error| {
        let found = format!("it is damaged or cut off ({e})");
        Problem::new("", found, "a whole tar archive")
    };
    let mut index = Index::default();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(damaged)?.into_owned();
        let (at, size) = (entry.raw_file_position(), entry.size());
        if at.checked_add(size).is_none_or(|end| end > length) {
            return Err(damaged(std::io::ErrorKind::UnexpectedEof.into()));
        }
        if path == Path::new(jsonl::FILE) || path == Path::new(".").join(jsonl::FILE) {
            if size > jsonl::MAX_FILE {
                let expected = format!("at most {}", jsonl::MAX_FILE);
                return Err(Problem::new(jsonl::FILE, format!("{size} bytes"), expected));
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(damaged)?;
            index.labels = Some(text);
        } else {
            let plain = path.strip_prefix(".").unwrap_or(&path).to_owned();
            index.parts.insert(plain, (at, size));
        }
        if index.parts.len() > MAX_PICTURES {
            let expected = format!("at most {MAX_PICTURES}");
            return Err(Problem::new("", "too many files", expected));
        }
    }
    Ok(index)
}

/// The archive in a folder.
///
/// # Errors
/// If there are several, and none of them is the one for validation.
pub(super) fn find(place: &Path) -> Result<Option<(PathBuf, Option<String>)>> {
    files::one_of(&[place.to_owned()], "tar", &["val"])
}

/// The data set in an archive; `place` is what was named.
pub(super) fn open(place: &Path, path: &Path) -> Result<DataSet> {
    let unreadable =
        |e: std::io::Error| Error::path(path, format!("it cannot be read ({e})"), EXPECTED);
    // Before opening: a named pipe would wait for its writer for ever.
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Error::path(path, "it is not an ordinary file", EXPECTED));
    }
    let file = File::open(path).map_err(unreadable)?;
    let index = index(file, meta.len()).map_err(|p| p.of(path))?;
    let Some(labels) = index.labels else {
        return Err(Error::path(path, "it has no labels.jsonl", EXPECTED));
    };
    let inside = PathBuf::from(format!("{}: {}", path.display(), jsonl::FILE));
    let folder = path.parent().unwrap_or(Path::new(""));
    let archive: Arc<Path> = path.into();
    jsonl::assemble(place, &inside, folder, &labels, |line| {
        let plain = line.file.strip_prefix(".").unwrap_or(&line.file);
        match index.parts.get(plain) {
            Some(&(at, length)) => Ok(Source::Part {
                archive: archive.clone(),
                name: line.file.clone(),
                at,
                length,
            }),
            None => Err(Problem::line(
                line.number,
                format!("{} is not in the archive", line.file.display()),
                "a picture that is",
            )),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    const LABELS: &[u8] = br#"{"file": "a.png", "width": 1, "height": 1, "boxes": []}"#;

    #[test]
    fn pictures_are_found_where_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("val.tar");
        let bytes = archive(&[("labels.jsonl", LABELS), ("a.png", b"picture")]);
        std::fs::write(&path, bytes).unwrap();
        let set = open(&path, &path).unwrap();
        let Source::Part { at, length, .. } = set.pictures[0].picture else {
            panic!("{set:?}");
        };
        assert_eq!(read(&path, at, length).unwrap(), b"picture");
        assert!(read(&path, at, 1 << 40).is_err());
    }

    #[test]
    fn archives_that_lack_something_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("val.tar");
        let whole = archive(&[("labels.jsonl", LABELS), ("a.png", &[7; 4000])]);
        for (bytes, problem) in [
            (archive(&[("a.png", b"p")]), "no labels.jsonl"),
            (
                archive(&[("labels.jsonl", LABELS)]),
                "labels.jsonl: line 1: a.png is not in the archive",
            ),
            (whole[..2048].to_vec(), "damaged or cut off"),
            (vec![b'x'; 2000], "damaged or cut off"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let message = open(&path, &path).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
