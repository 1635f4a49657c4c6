//! YOLO text files: for `images/a.jpg` a file `labels/a.txt` with a row for each object,
//! `class x-centre y-centre width height` as shares of the picture; or `class x y x y …`, an
//! outline, whose box is taken.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{
    Annotation, DataSet, Format, Labelled, MAX_BOXES, MAX_CLASSES, Problem, Source, Unit, class,
    files, names,
};
use crate::{Error, Result};

/// Largest label file, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Kinds of files that are pictures.
const PICTURES: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"];
/// How far a coordinate may lie outside of the picture, as a share of it: rounding.
const MARGIN: f64 = 0.01;

const ROW: &str = "class, x, y, width and height, each from 0 to 1";

/// Reads the label file of one picture; boxes are in shares of its sides.
///
/// # Errors
/// The first row that is not as it should be.
pub fn parse(text: &str, classes: usize) -> Result<Vec<Annotation>, Problem> {
    let mut annotations = Vec::new();
    let written = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty());
    for (number, line) in written.map(|(i, l)| (i + 1, l)) {
        let values = line.split_whitespace().map(str::parse::<f64>);
        let values: Result<Vec<f64>, _> = values.collect();
        let values = values.map_err(|_| Problem::line(number, "it is no row of numbers", ROW))?;
        let annotation = read(&values, classes)
            .map_err(|(found, expected)| Problem::line(number, found, expected))?;
        annotations.push(annotation);
        if annotations.len() > MAX_BOXES {
            let expected = format!("at most {MAX_BOXES}");
            return Err(Problem::line(number, "too many boxes", expected));
        }
    }
    Ok(annotations)
}

fn read(values: &[f64], classes: usize) -> Result<Annotation, (String, String)> {
    let inside = |v: &f64| (-MARGIN..=1.0 + MARGIN).contains(v);
    let (number, places) = values
        .split_first()
        .ok_or((String::new(), ROW.to_owned()))?;
    let class = class(*number, classes)?;
    if let Some(outside) = places.iter().find(|v| !inside(v)) {
        return Err((format!("the value {outside}"), ROW.into()));
    }
    let rect = match places {
        [x, y, w, h] => [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0],
        points if points.len() >= 6 && points.len() % 2 == 0 => {
            let axis = |axis: usize| points.iter().skip(axis).step_by(2).copied();
            let least = |i| axis(i).fold(f64::INFINITY, f64::min);
            let most = |i| axis(i).fold(f64::NEG_INFINITY, f64::max);
            [least(0), least(1), most(0), most(1)]
        }
        _ => {
            let found = format!("{} numbers", values.len());
            return Err((found, ROW.into()));
        }
    };
    if rect[2] <= rect[0] || rect[3] <= rect[1] {
        return Err(("a box without area".into(), ROW.into()));
    }
    Ok(Annotation {
        class,
        rect,
        crowd: false,
    })
}

/// The folders of a data set.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    images: PathBuf,
    labels: PathBuf,
    /// What may hold `data.yaml`, the nearest first.
    roots: Vec<PathBuf>,
    /// Whether the validation split was chosen from several.
    chosen: bool,
}

impl Layout {
    /// The folders that `place` stands for: one that holds `images` and `labels`, or one of their
    /// splits (`images/test`, `test`), or `images` itself.
    pub(super) fn find(place: &Path) -> Option<Self> {
        let pair = |root: &Path| {
            let (images, labels) = (root.join("images"), root.join("labels"));
            (images.is_dir() && labels.is_dir()).then_some((images, labels))
        };
        let absolute = std::path::absolute(place).ok()?;
        let above = |folder: &Path| folder.parent().map(Path::to_owned);
        let layout = |(images, labels), roots: Vec<PathBuf>, chosen| Self {
            images,
            labels,
            roots,
            chosen,
        };
        if let Some((images, labels)) = pair(place) {
            let roots = [Some(place.to_owned()), above(&absolute)];
            let roots = roots.into_iter().flatten().collect();
            let split = files::validation(&images).and_then(|images| {
                let labels = labels.join(images.file_name()?);
                Some((images, labels))
            });
            let chosen = split.is_some();
            return Some(layout(split.unwrap_or((images, labels)), roots, chosen));
        }
        if let Some(split) = files::validation(place)
            && let Some(found) = pair(&split)
        {
            return Some(layout(found, vec![split, place.to_owned()], true));
        }
        // A folder of pictures: its labels lie where the last `images` on the way is `labels`.
        let mut parts: Vec<Component<'_>> = absolute.components().collect();
        let at = parts.iter().rposition(|p| p.as_os_str() == "images")?;
        let root: PathBuf = parts.iter().take(at).collect();
        *parts.get_mut(at)? = Component::Normal("labels".as_ref());
        let labels: PathBuf = parts.into_iter().collect();
        let found = (place.to_owned(), labels.clone());
        let roots = [Some(root.clone()), above(&root)].into_iter().flatten();
        labels
            .is_dir()
            .then(|| layout(found, roots.collect(), false))
    }
}

/// The data set in these folders; `place` is what was named.
pub(super) fn open(place: &Path, layout: Layout) -> Result<DataSet> {
    let mut class_names = None;
    for root in &layout.roots {
        class_names = class_names.or(names::beside(root)?);
    }
    let classes = class_names.as_ref().map_or(MAX_CLASSES, Vec::len);
    let labels: BTreeSet<PathBuf> = files::list(&layout.labels, &["txt"])?.into_iter().collect();
    let mut used = BTreeSet::new();
    let mut pictures = Vec::new();
    let mut bare = 0;
    for picture in files::list(&layout.images, &PICTURES)? {
        let stem = picture.file_stem().unwrap_or_default();
        let mut name = stem.to_owned();
        name.push(".txt");
        let file = layout.labels.join(name);
        // A picture without a file has nothing on it.
        let annotations = match labels.contains(&file) {
            true => {
                used.insert(file.clone());
                parse(&files::text(&file, MAX_FILE)?, classes).map_err(|p| p.of(&file))?
            }
            false => {
                bare += 1;
                Vec::new()
            }
        };
        pictures.push(Labelled {
            picture: Source::File(picture),
            stated: file.display().to_string(),
            size: None,
            labelled: None,
            unit: Unit::Shares,
            annotations,
        });
    }
    if pictures.is_empty() {
        let expected = "pictures, or the name of a split such as images/test";
        return Err(Error::path(
            &layout.images,
            "no pictures are in it",
            expected,
        ));
    }
    if bare == pictures.len() {
        let expected = "for each picture a text file of the same name";
        return Err(Error::path(
            &layout.labels,
            "no labels fit the pictures",
            expected,
        ));
    }
    let mut notes = Vec::new();
    if layout.chosen {
        notes.push(format!(
            "the validation split is taken, {}",
            layout.images.display()
        ));
    }
    if bare > 0 {
        notes.push(format!(
            "{bare} pictures have no label file: nothing is on them"
        ));
    }
    // `classes.txt` is a list of names that some programs leave there.
    let list = |l: &&PathBuf| l.file_name().is_some_and(|n| n == "classes.txt");
    let idle = labels.difference(&used).filter(|l| !list(l)).count();
    if idle > 0 {
        notes.push(format!("{idle} label files have no picture"));
    }
    Ok(DataSet {
        place: place.to_owned(),
        format: Format::Yolo,
        names: class_names,
        pictures,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_boxes_or_outlines() {
        let read = parse("1 0.5 0.25 0.5 0.5\n\n0 0.1 0.2 0.3 0.2 0.2 0.6\n", 2).unwrap();
        assert_eq!(read[0].rect, [0.25, 0.0, 0.75, 0.5]);
        assert_eq!(read[1].rect, [0.1, 0.2, 0.3, 0.6]);
        assert_eq!((read[0].class, read[1].class), (1, 0));
        assert_eq!(parse("", 2), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (bad, found) in [
            ("2 0.5 0.5 0.5 0.5", "class 2"),
            ("0.5 0.5 0.5 0.5 0.5", "class 0.5"),
            ("0 320 0.5 0.5 0.5", "the value 320"),
            ("0 NaN 0.5 0.5 0.5", "the value NaN"),
            ("0 0.5 0.5 0.5", "4 numbers"),
            ("0 0.5 0.5 0.5 0.5 0.9", "6 numbers"),
            ("0 0.5 0.5 0 0.5", "a box without area"),
            ("cat 0.5 0.5 0.5 0.5", "no row of numbers"),
        ] {
            let problem = parse(&format!("0 0.5 0.5 0.5 0.5\n{bad}"), 2).unwrap_err();
            assert_eq!(problem.at, "line 2", "{bad}");
            assert!(problem.found.contains(found), "{bad}: {problem:?}");
        }
    }

    #[test]
    fn a_split_is_found_or_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["images/val", "images/test", "labels/val", "labels/test"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let layout = Layout::find(root).unwrap();
        assert_eq!(layout.images, root.join("images/val"));
        assert_eq!(layout.labels, root.join("labels/val"));
        assert!(layout.chosen);
        let layout = Layout::find(&root.join("images/test")).unwrap();
        assert_eq!(layout.labels, root.join("labels/test"));
        assert_eq!(layout.roots[0], root);
        assert!(!layout.chosen);

        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["valid/images", "valid/labels", "test/images", "test/labels"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let layout = Layout::find(root).unwrap();
        assert_eq!(layout.images, root.join("valid/images"));
        assert_eq!(layout.roots, [root.join("valid"), root.to_owned()]);
        let layout = Layout::find(&root.join("test")).unwrap();
        assert_eq!(layout.labels, root.join("test/labels"));
        assert_eq!(Layout::find(&root.join("nothing")), None);
    }
}
