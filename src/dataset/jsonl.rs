//! `labels.jsonl` beside the pictures: one line of JSON for each.
//!
//! ```text
//! {"file": "a.webp", "width": 384, "height": 279, "labelled": [0, 1], "boxes": [[class, x1, y1, x2, y2], …]}
//! ```
//!
//! Boxes are in pixels of the stored picture. `labelled` names the classes whose objects all have
//! boxes; without it, all classes. Other keys are for people. Class names, if there are any, stand
//! in `data.yaml` in the same folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Annotation, DataSet, Format, Labelled, MAX_BOXES, MAX_CLASSES, MAX_COORDINATE, MAX_PICTURES,
    Problem, Source, Unit, class, files, names,
};
use crate::Result;

/// The name of the file.
pub(super) const FILE: &str = "labels.jsonl";
/// Largest file, in bytes: about a million pictures with ten boxes.
pub(super) const MAX_FILE: u64 = 512 << 20;

/// A picture as its line describes it.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Number of the line, from 1.
    pub number: usize,
    /// The picture, below the folder of the labels.
    pub file: PathBuf,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Classes whose objects all have boxes.
    pub labelled: Option<Vec<usize>>,
    /// The boxes, in pixels.
    pub annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Raw {
    file: String,
    width: usize,
    height: usize,
    labelled: Option<Vec<f64>>,
    boxes: Vec<[f64; 5]>,
}

/// Reads the lines; classes are below `classes`.
///
/// # Errors
/// The first line that is not as it should be.
pub fn parse(text: &str, classes: usize) -> Result<Vec<Line>, Problem> {
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    let written = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty());
    for (number, line) in written.map(|(i, l)| (i + 1, l)) {
        let raw: Raw = serde_json::from_str(line).map_err(|e| json_problem(number, &e))?;
        let line = read(number, raw, classes)?;
        if !seen.insert(line.file.clone()) {
            let problem = format!("{} has a line already", line.file.display());
            return Err(Problem::line(number, problem, "one line for each picture"));
        }
        lines.push(line);
        if lines.len() > MAX_PICTURES {
            let expected = format!("at most {MAX_PICTURES}");
            return Err(Problem::line(number, "too many pictures", expected));
        }
    }
    Ok(lines)
}

fn read(number: usize, raw: Raw, classes: usize) -> Result<Line, Problem> {
    let problem = |(found, expected): (String, String)| Problem::line(number, found, expected);
    if raw.boxes.len() > MAX_BOXES {
        let found = format!("{} boxes", raw.boxes.len());
        return Err(problem((found, format!("at most {MAX_BOXES}"))));
    }
    let labelled = raw.labelled.map(|list| {
        let list = list.into_iter().map(|c| class(c, classes));
        list.collect::<Result<Vec<_>, _>>()
    });
    let mut annotations = Vec::with_capacity(raw.boxes.len());
    for [number, x1, y1, x2, y2] in raw.boxes {
        let inside = |v: f64| v.abs() <= MAX_COORDINATE;
        if ![x1, y1, x2, y2].into_iter().all(inside) || x2 <= x1 || y2 <= y1 {
            let found = format!("a box from ({x1}, {y1}) to ({x2}, {y2})");
            let expected = "[class, x1, y1, x2, y2] in pixels, x1 < x2, y1 < y2";
            return Err(problem((found, expected.into())));
        }
        annotations.push(Annotation {
            class: class(number, classes).map_err(problem)?,
            rect: [x1, y1, x2, y2],
            crowd: false,
        });
    }
    Ok(Line {
        number,
        file: files::below(&raw.file, &format!("line {number}"))?,
        size: [raw.width, raw.height],
        labelled: labelled.transpose().map_err(problem)?,
        annotations,
    })
}

fn json_problem(number: usize, error: &serde_json::Error) -> Problem {
    // It counts lines of its own, from this one on.
    let (column, text) = (error.column(), error.to_string());
    let text = text.split(" at line ").next().unwrap_or_default();
    let found = match column {
        0 => text.to_owned(),
        column => format!("{text} at column {column}"),
    };
    Problem::line(
        number,
        found,
        "an object with file, width, height and boxes",
    )
}

/// The data set of one label file; `place` is what was named.
pub(super) fn open(place: &Path, file: &Path) -> Result<DataSet> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let text = files::text(file, MAX_FILE)?;
    assemble(place, file, folder, &text, |line| {
        Ok(Source::File(folder.join(&line.file)))
    })
}

/// The data set of a text of labels: `file` is where it stands, `folder` where `data.yaml` may be.
pub(super) fn assemble(
    place: &Path,
    file: &Path,
    folder: &Path,
    text: &str,
    picture: impl Fn(&Line) -> Result<Source, Problem>,
) -> Result<DataSet> {
    let names = names::beside(folder)?;
    let classes = names.as_ref().map_or(MAX_CLASSES, Vec::len);
    let lines = parse(text, classes).map_err(|p| p.of(file))?;
    let labelled = |line: Line| {
        Ok(Labelled {
            picture: picture(&line).map_err(|p| p.of(file))?,
            stated: format!("{}: line {}", file.display(), line.number),
            size: Some(line.size),
            labelled: line.labelled,
            unit: Unit::Pixels,
            annotations: line.annotations,
        })
    };
    Ok(DataSet {
        place: place.to_owned(),
        format: Format::Jsonl,
        names,
        pictures: lines.into_iter().map(labelled).collect::<Result<_>>()?,
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"file": "a.webp", "width": 40, "height": 30, "licence": "x",
        "labelled": [0, 2], "boxes": [[2, 1, 2.5, 30, 20]]}"#;

    fn line() -> String {
        LINE.replace('\n', " ")
    }

    #[test]
    fn a_line_is_read() {
        let lines = parse(&format!("\n{}\n\n", line()), 3).unwrap();
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!((line.number, line.size), (2, [40, 30]));
        assert_eq!(line.labelled, Some(vec![0, 2]));
        assert_eq!(line.annotations[0].class, 2);
        assert_eq!(line.annotations[0].rect, [1.0, 2.5, 30.0, 20.0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (from, to, found) in [
            ("[2, 1", "[3, 1", "class 3"),
            ("[2, 1", "[1.5, 1", "class 1.5"),
            ("[2, 1", "[-1, 1", "class -1"),
            ("[0, 2]", "[0, 7]", "class 7"),
            ("30, 20", "1, 20", "a box from (1, 2.5) to (1, 20)"),
            ("30, 20", "3e9, 20", "a box from"),
            ("a.webp", "../a.webp", "outside of the folder"),
            ("\"height\": 30,", "", "missing field `height`"),
            (", 20]]", "]]", "invalid length 4"),
            ("\"width\": 40", "\"width\": -40", "invalid value"),
            ("{\"file\"", "\"file\"", "invalid type"),
            ("2.5", "NaN", "expected"),
        ] {
            let bad = line().replace(from, to);
            assert_ne!(bad, line(), "{from}");
            let problem = parse(&format!("{}\n{bad}", line().replace("a.", "b.")), 3);
            let problem = problem.unwrap_err();
            assert_eq!(problem.at, "line 2", "{to}");
            assert!(problem.found.contains(found), "{to}: {problem:?}");
            assert!(!problem.found.contains("line 1"), "{problem:?}");
        }
    }

    #[test]
    fn a_picture_has_one_line() {
        let twice = format!("{}\n{}", line(), line());
        let problem = parse(&twice, 3).unwrap_err();
        assert_eq!(problem.found, "a.webp has a line already");
    }
}
