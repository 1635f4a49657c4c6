//! Files of a data set: read up to a limit, and named without leaving the folder.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::{MAX_PICTURES, Problem};
use crate::{Error, Result};

/// The text of an ordinary file of at most `most` bytes.
pub(super) fn text(path: &Path, most: u64) -> Result<String> {
    let expected = "a text file with labels";
    let unreadable = |e: std::io::Error| {
        let problem = match e.kind() {
            std::io::ErrorKind::NotFound => "it is missing".to_owned(),
            std::io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
            _ => format!("it cannot be read ({e})"),
        };
        Error::path(path, problem, expected)
    };
    // Before opening: a named pipe would wait for its writer for ever.
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Error::path(path, "it is not an ordinary file", expected));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // The file may grow while it is read.
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > most {
        let problem = format!("it has more than {most} bytes");
        return Err(Error::path(path, problem, "fewer"));
    }
    String::from_utf8(bytes).map_err(|_| Error::path(path, "it is not UTF-8 text", expected))
}

/// A name in a label file as a path below its folder.
pub(super) fn below(name: &str, at: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(name);
    let inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || name.contains('\0') || !path.components().all(inside) {
        let problem = format!(
            "the picture '{}' is outside of the folder",
            name.escape_debug()
        );
        return Err(Problem::new(at, problem, "the name of a file in it"));
    }
    Ok(path.to_owned())
}

/// The file with this extension in some folders, the first of which has any; and a note if it was
/// chosen from several. `telling` are parts of names that decide, the first before the others.
///
/// # Errors
/// If there are several, and their names do not tell.
pub(super) fn one_of(
    folders: &[PathBuf],
    extension: &str,
    telling: &[&str],
) -> Result<Option<(PathBuf, Option<String>)>> {
    let mut found = Vec::new();
    for folder in folders.iter().filter(|f| f.is_dir()) {
        if found.is_empty() {
            found = list(folder, &[extension])?;
        }
    }
    let several = found.len() > 1;
    for part in telling {
        let tells = |p: &&PathBuf| name(p).contains(part);
        let chosen: Vec<PathBuf> = found.iter().filter(tells).cloned().collect();
        if !chosen.is_empty() {
            found = chosen;
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => {
            let note = || format!("of several label files {} is taken", one.display());
            Ok(Some((one.clone(), several.then(note))))
        }
        [first, ..] => {
            let names: Vec<String> = found.iter().take(2).map(|p| name(p)).collect();
            let problem = format!(
                "it has {} label files ({} …)",
                found.len(),
                names.join(", ")
            );
            let folder = first.parent().unwrap_or(first);
            Err(Error::path(
                folder,
                problem,
                "one, or the path of one of them",
            ))
        }
    }
}

/// The file name.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The files of these kinds in a folder, by name.
pub(super) fn list(folder: &Path, kinds: &[&str]) -> Result<Vec<PathBuf>> {
    let unreadable = |e: std::io::Error| {
        let problem = format!("it cannot be read ({e})");
        Error::path(folder, problem, "a folder of pictures or labels")
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if kinds.contains(&kind.to_ascii_lowercase().as_str()) {
            found.push(path);
        }
        if found.len() > MAX_PICTURES {
            let expected = format!("at most {MAX_PICTURES}");
            return Err(Error::path(folder, "too many files", expected));
        }
    }
    found.sort();
    Ok(found)
}

/// Names that the split for validation goes by.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// The folder of the validation split below a folder, if there is one.
pub(super) fn validation(folder: &Path) -> Option<PathBuf> {
    let folders = VALIDATION.iter().map(|name| folder.join(name));
    folders.into_iter().find(|f| f.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        assert_eq!(below("a/b.png", "").unwrap(), Path::new("a/b.png"));
        for bad in ["", "../a.png", "a/../../b.png", "/etc/passwd", "a\0.png"] {
            let problem = below(bad, "line 3").unwrap_err();
            assert!(problem.found.contains("outside"), "{problem:?}");
        }
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(text(&path, 5).unwrap(), "12345");
        let message = text(&path, 4).unwrap_err().to_string();
        assert!(message.contains("more than 4 bytes"), "{message}");
        let message = text(dir.path(), 4).unwrap_err().to_string();
        assert!(message.contains("not an ordinary file"), "{message}");
    }
}
