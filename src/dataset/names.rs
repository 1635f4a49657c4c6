//! Class names of a data set: `names` in its `data.yaml`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{MAX_CLASSES, Problem, files};
use crate::Result;
use crate::yolo::class_names;

const MAX_FILE: u64 = 4 << 20;

#[derive(Deserialize)]
struct Raw {
    nc: Option<u64>,
    names: Option<Value>,
}

/// The names in a `data.yaml`, if it has them. Its other keys belong to other programs.
///
/// # Errors
/// If the text is no YAML mapping, or its names are not numbered from 0 without gaps.
pub fn parse(text: &str) -> Result<Option<Vec<String>>, Problem> {
    let expected = "names: a list of class names";
    let problem = |found: String| Problem::new("", found, expected);
    let raw: Raw = serde_saphyr::from_str(text).map_err(|e| {
        let text = e.to_string();
        let line = text.lines().next().unwrap_or("not readable").trim();
        let line = line.strip_prefix("error: ").unwrap_or(line);
        problem(format!("it cannot be read ({line})"))
    })?;
    let names = class_names(raw.names.as_ref()).map_err(problem)?;
    let Some(names) = names else {
        return Ok(None);
    };
    let counted = raw.nc.is_none_or(|nc| nc == names.len() as u64);
    match (counted, names.len()) {
        (false, n) => Err(problem(format!(
            "it names {n} classes, not as many as nc says"
        ))),
        (true, 1..=MAX_CLASSES) => Ok(Some(names)),
        (true, n) => Err(problem(format!("it names {n} classes"))),
    }
}

/// The names in the `data.yaml` of a folder, if there is one.
pub(super) fn beside(folder: &Path) -> Result<Option<Vec<String>>> {
    let files = ["data.yaml", "data.yml", "dataset.yaml"].map(|name| folder.join(name));
    match files.iter().find(|f| f.is_file()) {
        Some(file) => parse(&files::text(file, MAX_FILE)?).map_err(|p| p.of(file)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_list_or_numbered() {
        let cat_dog = Some(vec!["cat".to_owned(), "dog".to_owned()]);
        let list = "train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n";
        assert_eq!(parse(list).unwrap(), cat_dog);
        assert_eq!(parse("names:\n  0: cat\n  1: dog\n").unwrap(), cat_dog);
        assert_eq!(parse("path: x\n").unwrap(), None);
    }

    #[test]
    fn other_names_are_refused() {
        for (bad, found) in [
            ("names: {0: cat, 2: dog}", "without gaps"),
            ("names: cat", "names is \"cat\""),
            ("nc: 3\nnames: [cat]", "1 classes"),
            ("names: []", "0 classes"),
            ("names: [cat", "cannot be read"),
        ] {
            let problem = parse(bad).unwrap_err();
            assert!(problem.found.contains(found), "{bad}: {problem:?}");
        }
    }
}
