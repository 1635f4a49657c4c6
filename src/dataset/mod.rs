//! Labelled pictures in the forms that people keep them in: `labels.jsonl` (in a folder or a tar
//! archive), YOLO text files, COCO JSON.
//!
//! Label files are untrusted: every number is checked, names may not leave the folder, and a message
//! names the file and the line.

pub mod archive;
mod classes;
pub mod coco;
mod files;
pub mod jsonl;
pub mod names;
pub mod yolo;

use std::path::{Path, PathBuf};

pub use archive::Source;
pub use classes::Matching;

use crate::{Error, Result};

/// Most pictures in one data set.
pub const MAX_PICTURES: usize = 1_000_000;
/// Most boxes on one picture.
pub const MAX_BOXES: usize = 10_000;
/// Most classes, as many as a model may have.
pub const MAX_CLASSES: usize = 10_000;
/// Larger coordinates, in pixels, belong to no picture.
const MAX_COORDINATE: f64 = 1e6;

/// What `--data` should be, for messages.
const EXPECTED: &str =
    "a folder with labels.jsonl, with images and labels (YOLO), or with COCO annotations";

/// Pictures with what is on them.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// The folder or file, as it was named.
    pub place: PathBuf,
    /// How the labels are written.
    pub format: Format,
    /// Class names in order, if the data set has them.
    pub names: Option<Vec<String>>,
    /// In the order of the labels, or of their names.
    pub pictures: Vec<Labelled>,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
}

/// How labels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line of JSON for each picture.
    Jsonl,
    /// A text file for each picture.
    Yolo,
    /// One JSON file.
    Coco,
}

impl Format {
    /// The name for a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "labels.jsonl",
            Self::Yolo => "YOLO text",
            Self::Coco => "COCO JSON",
        }
    }
}

/// A picture and what is on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The picture.
    pub picture: Source,
    /// Where its labels stand: `labels.jsonl: line 3`.
    pub stated: String,
    /// Width and height in pixels as the labels state them.
    pub size: Option<[usize; 2]>,
    /// Classes of the data set whose objects all have boxes here; `None` is every class.
    pub labelled: Option<Vec<usize>>,
    /// What the boxes are counted in.
    pub unit: Unit,
    /// The boxes.
    pub annotations: Vec<Annotation>,
}

/// What boxes are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Pixels of the picture.
    Pixels,
    /// Shares of its width and height.
    Shares,
}

/// A box that is on a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annotation {
    /// Class of the data set.
    pub class: usize,
    /// `x1, y1, x2, y2`.
    pub rect: [f64; 4],
    /// An area of many objects, which need not be found one by one.
    pub crowd: bool,
}

/// What is wrong in a label file.
#[derive(Debug, PartialEq)]
pub struct Problem {
    /// Where: `line 3`; empty for the file as a whole.
    pub at: String,
    /// What was found.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

impl Problem {
    fn new(at: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    fn line(number: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(format!("line {number}"), found, expected)
    }

    fn of(self, path: &Path) -> Error {
        let place = match self.at.is_empty() {
            true => path.display().to_string(),
            false => format!("{}: {}", path.display(), self.at),
        };
        Error::file(place, self.found, self.expected)
    }
}

impl DataSet {
    /// Reads the labels of a data set. `place` is its folder; where that holds several splits, the
    /// one for validation is taken unless a split's own folder or annotation file is named.
    ///
    /// # Errors
    /// [`Error::File`] with the first thing that is wrong in a label file, or the first picture
    /// that is not there.
    pub fn open(place: &Path) -> Result<Self> {
        if !place.exists() {
            let problem = "there is no such file or folder";
            return Err(Error::path(place, problem, EXPECTED));
        }
        let set = if place.is_dir() {
            Self::folder(place)?
        } else {
            match place.extension().and_then(|e| e.to_str()) {
                Some("json") => coco::open(place, place)?,
                Some("jsonl") => jsonl::open(place, place)?,
                Some("tar") => archive::open(place, place)?,
                _ => return Err(Error::path(place, "it is not a label file", EXPECTED)),
            }
        };
        if set.pictures.is_empty() {
            return Err(Error::path(place, "it has no pictures", EXPECTED));
        }
        set.pictures
            .iter()
            .try_for_each(|p| p.picture.check(&p.stated))?;
        Ok(set)
    }

    fn folder(place: &Path) -> Result<Self> {
        let labels = place.join(jsonl::FILE);
        if labels.is_file() {
            return jsonl::open(place, &labels);
        }
        let split = files::validation(place).map(|split| split.join(jsonl::FILE));
        if let Some(labels) = split.filter(|labels| labels.is_file()) {
            let mut set = jsonl::open(place, &labels)?;
            let note = format!("the validation split is taken, {}", labels.display());
            set.notes.push(note);
            return Ok(set);
        }
        if let Some(layout) = yolo::Layout::find(place) {
            return yolo::open(place, layout);
        }
        for (find, open) in [
            (coco::find as Find, coco::open as Open),
            (archive::find, archive::open),
        ] {
            if let Some((file, note)) = find(place)? {
                let mut set = open(place, &file)?;
                set.notes.extend(note);
                return Ok(set);
            }
        }
        Err(Error::path(place, "no labels were found in it", EXPECTED))
    }
}

/// Finds a file of labels in a folder, with a note if it was chosen from several.
type Find = fn(&Path) -> Result<Option<(PathBuf, Option<String>)>>;
/// Reads a file of labels; the first path is what was named.
type Open = fn(&Path, &Path) -> Result<DataSet>;

impl Labelled {
    /// The boxes in pixels of the opened picture of `size` (width, height).
    ///
    /// # Errors
    /// If the picture has another size than the labels state.
    pub fn in_pixels(&self, size: [usize; 2]) -> Result<Vec<Annotation>> {
        if let Some(stated) = self.size.filter(|stated| *stated != size) {
            return Err(Error::file(
                self.picture.show(),
                format!("the picture has {} × {} pixels", size[0], size[1]),
                format!("{} × {}, as in {}", stated[0], stated[1], self.stated),
            ));
        }
        let [width, height] = match self.unit {
            Unit::Pixels => [1.0; 2],
            Unit::Shares => size.map(|side| side as f64),
        };
        let scaled = |a: &Annotation| {
            let [x1, y1, x2, y2] = a.rect;
            let rect = [x1 * width, y1 * height, x2 * width, y2 * height];
            Annotation { rect, ..*a }
        };
        Ok(self.annotations.iter().map(scaled).collect())
    }
}

/// A class number of a label file, below `classes`.
fn class(number: f64, classes: usize) -> Result<usize, (String, String)> {
    let whole = number.fract() == 0.0 && (0.0..classes as f64).contains(&number);
    match whole {
        true => Ok(number as usize),
        false => Err((
            format!("class {number}"),
            format!("a whole number from 0 to {}", classes.saturating_sub(1)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_pixels_of_the_picture() {
        let mut labelled = Labelled {
            picture: Source::File("a.png".into()),
            stated: "a.txt".into(),
            size: None,
            labelled: None,
            unit: Unit::Shares,
            annotations: vec![Annotation {
                class: 0,
                rect: [0.25, 0.5, 0.75, 1.0],
                crowd: false,
            }],
        };
        let boxes = labelled.in_pixels([400, 100]).unwrap();
        assert_eq!(boxes[0].rect, [100.0, 50.0, 300.0, 100.0]);
        labelled.size = Some([400, 200]);
        assert_eq!(
            labelled.in_pixels([400, 100]).unwrap_err().to_string(),
            "a.png: the picture has 400 × 100 pixels; expected 400 × 200, as in a.txt"
        );
    }
}
