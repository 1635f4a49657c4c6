//! What a person can name to be opened: typed and pasted paths, and the files opened before.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::view::lasting;

/// Files that are remembered.
const MOST: usize = 10;

/// Files opened before, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recent {
    paths: Vec<PathBuf>,
}

impl Recent {
    /// Puts a file to the front. Names that are not text cannot be kept and are passed over.
    pub fn push(&mut self, path: &Path) {
        let Some(path) = lasting(path) else {
            return;
        };
        self.paths.retain(|p| *p != path);
        self.paths.insert(0, path);
        self.paths.truncate(MOST);
    }

    /// The files, newest first.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.paths.clear();
    }
}

/// Whether a path names a part of a model rather than a picture.
pub fn is_model(path: &Path) -> bool {
    const OF_MODELS: [&str; 6] = ["yaml", "yml", "safetensors", "json", "pt", "pth"];
    let extension = path.extension().and_then(|e| e.to_str());
    let named = extension.is_some_and(|e| OF_MODELS.iter().any(|m| e.eq_ignore_ascii_case(m)));
    named || path.is_dir()
}

/// The path that typed or pasted text means: quotes, `file://` addresses and `~` are understood;
/// of several lines the first counts.
///
/// # Errors
/// One sentence if the text is no path.
pub fn path_from_text(text: &str) -> Result<PathBuf, String> {
    let line = text.trim().lines().next().unwrap_or_default().trim();
    let line = unquoted(line);
    if line.is_empty() {
        return Err("No path was given; expected the path of a picture or a model folder".into());
    }
    if let Some(rest) = strip_prefix_ignore_case(line, "file:") {
        return from_file_address(rest)
            .ok_or_else(|| format!("{line}: not the address of a file on this machine"));
    }
    if line.contains("://") {
        return Err(format!(
            "{line}: a web address; expected the path of a file on this machine"
        ));
    }
    if let Some(rest) = line.strip_prefix("~/")
        && let Some(home) = std::env::home_dir()
    {
        return Ok(home.join(rest));
    }
    Ok(PathBuf::from(line))
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// The path of a `file:` address, given what follows the colon.
fn from_file_address(rest: &str) -> Option<PathBuf> {
    let path = match rest.strip_prefix("//") {
        // Between the slashes stands the name of the machine.
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/')?);
            (host.is_empty() || host.eq_ignore_ascii_case("localhost")).then_some(path)?
        }
        None => rest,
    };
    let text = String::from_utf8(percent_decoded(path)?).ok()?;
    // `/C:/x` on Windows.
    let drive = cfg!(windows) && text.as_bytes().get(2) == Some(&b':');
    Some(PathBuf::from(if drive { &text[1..] } else { &text }))
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_as_people_write_them() {
        let home = std::env::home_dir().unwrap_or_default();
        let cases = [
            ("/a/b.png", PathBuf::from("/a/b.png")),
            ("  /a/b c.png\n/a/second.png", "/a/b c.png".into()),
            ("\"/a/b.png\"", "/a/b.png".into()),
            ("'/a/b.png'", "/a/b.png".into()),
            ("file:///a/b%20%C3%A4.png", "/a/b ä.png".into()),
            ("FILE://localhost/a.png", "/a.png".into()),
            ("file:/a.png", "/a.png".into()),
            ("~/a.png", home.join("a.png")),
        ];
        for (text, path) in cases {
            assert_eq!(path_from_text(text), Ok(path), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_a_reason() {
        for (text, part) in [
            ("", "No path"),
            ("\"\"", "No path"),
            ("https://example.org/a.png", "a web address"),
            ("file://elsewhere/a.png", "not the address"),
            ("file:///a%2", "not the address"),
            ("file:///a%zz", "not the address"),
            ("file:///%ff", "not the address"),
        ] {
            let message = path_from_text(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn ten_files_are_remembered_newest_first_and_once() {
        let mut recent = Recent::default();
        for i in 0..12 {
            recent.push(Path::new(&format!("/p/{i}.png")));
        }
        recent.push(Path::new("/p/5.png"));
        assert_eq!(recent.paths().len(), 10);
        assert_eq!(recent.paths()[0], Path::new("/p/5.png"));
        assert_eq!(recent.paths()[1], Path::new("/p/11.png"));
    }
}
