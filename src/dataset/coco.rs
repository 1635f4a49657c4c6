//! COCO annotations: one JSON file with `images`, `annotations` and `categories`. Areas marked
//! `iscrowd` are ignored regions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Annotation, DataSet, Format, Labelled, MAX_BOXES, MAX_CLASSES, MAX_COORDINATE, MAX_PICTURES,
    Problem, Source, Unit, files,
};
use crate::{Error, Result};

/// Largest file, in bytes: twice that of COCO's training pictures.
const MAX_FILE: u64 = 1 << 30;

const WHOLE: &str = "COCO annotations: images, annotations and categories";

/// A file of annotations.
#[derive(Debug, PartialEq)]
pub struct Annotations {
    /// Names of the categories, in the order of their numbers.
    pub names: Vec<String>,
    /// In the order of their numbers.
    pub pictures: Vec<Picture>,
}

/// A picture of such a file.
#[derive(Debug, PartialEq)]
pub struct Picture {
    /// Its number there.
    pub id: i64,
    /// The picture, below the folder of pictures.
    pub file: PathBuf,
    /// Width and height in pixels, if they are stated.
    pub size: Option<[usize; 2]>,
    /// The boxes, in pixels; a class is a place among the names.
    pub annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Raw {
    images: Vec<RawImage>,
    annotations: Vec<RawAnnotation>,
    categories: Vec<RawCategory>,
}

#[derive(Deserialize)]
struct RawImage {
    id: i64,
    file_name: String,
    width: Option<usize>,
    height: Option<usize>,
}

#[derive(Deserialize)]
struct RawAnnotation {
    image_id: i64,
    category_id: i64,
    bbox: Option<[f64; 4]>,
    #[serde(default)]
    iscrowd: Flag,
}

/// COCO writes 0 and 1, others false and true.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Number(u8),
    Bool(bool),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Bool(false)
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Bool(true) | Self::Number(1..))
    }
}

#[derive(Deserialize)]
struct RawCategory {
    id: i64,
    name: String,
}

/// Reads a file of annotations.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn parse(text: &str) -> Result<Annotations, Problem> {
    let raw: Raw = serde_json::from_str(text)
        .map_err(|e| Problem::new("", format!("it cannot be read ({e})"), WHOLE))?;
    let many = |n: usize, what: &str, most: usize| match n > most {
        true => Err(Problem::new(
            "",
            format!("{n} {what}"),
            format!("at most {most}"),
        )),
        false => Ok(()),
    };
    many(raw.images.len(), "images", MAX_PICTURES)?;
    many(raw.categories.len(), "categories", MAX_CLASSES)?;

    let mut names = BTreeMap::new();
    for c in raw.categories {
        if names.insert(c.id, c.name).is_some() {
            let found = format!("two categories have the id {}", c.id);
            return Err(Problem::new("", found, "different ids"));
        }
    }
    let places = names.keys().enumerate().map(|(place, id)| (*id, place));
    let places: BTreeMap<i64, usize> = places.collect();
    let mut pictures = BTreeMap::new();
    for image in raw.images {
        let id = image.id;
        let picture = Picture {
            id,
            file: files::below(&image.file_name, &format!("image {id}"))?,
            size: image.width.zip(image.height).map(|(w, h)| [w, h]),
            annotations: Vec::new(),
        };
        if pictures.insert(id, picture).is_some() {
            let found = format!("two images have the id {id}");
            return Err(Problem::new("", found, "different ids"));
        }
    }
    for (number, raw) in raw.annotations.into_iter().enumerate() {
        let problem = |found: String, expected: &str| {
            Problem::new(format!("annotations[{number}]"), found, expected)
        };
        let Some(picture) = pictures.get_mut(&raw.image_id) else {
            let found = format!("image_id {} is none of the images", raw.image_id);
            return Err(problem(found, "the id of an image"));
        };
        let Some(&class) = places.get(&raw.category_id) else {
            let found = format!("category_id {} is none of the categories", raw.category_id);
            return Err(problem(found, "the id of a category"));
        };
        let rect = rect(raw.bbox)
            .map_err(|found| problem(found, "bbox: [x, y, width, height] in pixels"))?;
        picture.annotations.push(Annotation {
            class,
            rect,
            crowd: raw.iscrowd.is_set(),
        });
        if picture.annotations.len() > MAX_BOXES {
            let found = format!("image {} has too many boxes", raw.image_id);
            return Err(problem(found, &format!("at most {MAX_BOXES}")));
        }
    }
    Ok(Annotations {
        names: names.into_values().collect(),
        pictures: pictures.into_values().collect(),
    })
}

/// COCO itself has boxes without height: they are kept, and count as missed.
fn rect(bbox: Option<[f64; 4]>) -> Result<[f64; 4], String> {
    let [x, y, w, h] = bbox.ok_or("it has no bbox")?;
    let small = |v: f64| v.abs() <= MAX_COORDINATE;
    match [x, y, w, h].into_iter().all(small) && w >= 0.0 && h >= 0.0 {
        true => Ok([x, y, x + w, y + h]),
        false => Err(format!("the bbox [{x}, {y}, {w}, {h}]")),
    }
}

/// The file of annotations in a folder.
///
/// # Errors
/// If there are several, and none of them is the one for validation.
pub(super) fn find(place: &Path) -> Result<Option<(PathBuf, Option<String>)>> {
    let folders = [place.to_owned(), place.join("annotations")];
    files::one_of(&folders, "json", &["instances", "val"])
}

/// The data set of one file of annotations; `place` is what was named.
pub(super) fn open(place: &Path, file: &Path) -> Result<DataSet> {
    let read = parse(&files::text(file, MAX_FILE)?).map_err(|p| p.of(file))?;
    let folder = match read.pictures.first() {
        Some(first) => pictures_folder(file, first)?,
        None => PathBuf::new(),
    };
    let pictures = read.pictures.into_iter().map(|p| Labelled {
        picture: Source::File(folder.join(p.file)),
        stated: format!("{}: image {}", file.display(), p.id),
        size: p.size,
        labelled: None,
        unit: Unit::Pixels,
        annotations: p.annotations,
    });
    Ok(DataSet {
        place: place.to_owned(),
        format: Format::Coco,
        names: Some(read.names),
        pictures: pictures.collect(),
        notes: Vec::new(),
    })
}

/// The folder that the names of pictures start from: beside the annotations, in `images`, in a
/// folder called like the annotations, or one up from `annotations`.
fn pictures_folder(file: &Path, first: &Picture) -> Result<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let split = stem.strip_prefix("instances_").unwrap_or(stem.as_ref());
    let mut roots = vec![beside.to_owned()];
    let absolute = std::path::absolute(beside).unwrap_or_else(|_| beside.to_owned());
    if absolute.ends_with("annotations") {
        let named = beside
            .parent()
            .filter(|p| beside.ends_with("annotations") && *p != Path::new(""));
        roots.extend(named.or(absolute.parent()).map(Path::to_owned));
    }
    let below = |root: &PathBuf| {
        let images = root.join("images");
        [
            root.clone(),
            images.clone(),
            root.join(split),
            images.join(split),
        ]
    };
    let mut folders = roots.iter().flat_map(below);
    folders
        .find(|folder| folder.join(&first.file).is_file())
        .ok_or_else(|| {
            let problem = format!(
                "the picture {} (image {}) is not found",
                first.file.display(),
                first.id
            );
            let expected = format!("the pictures beside it, in images, or in {split}");
            Error::path(file, problem, expected)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "info": {"year": 2026}, "licenses": [],
        "images": [{"id": 9, "file_name": "b.png", "width": 40, "height": 30},
                   {"id": 4, "file_name": "val/a.png", "width": 20, "height": 10}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 18, "bbox": [1, 2, 10, 20.5], "area": 205, "iscrowd": 0,
             "segmentation": [[1, 2, 3, 4, 5, 6]]},
            {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 40, 30], "iscrowd": 1,
             "segmentation": {"counts": [1], "size": [30, 40]}}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person", "supercategory": "person"}]}"#;

    #[test]
    fn a_file_is_read() {
        let read = parse(FILE).unwrap();
        assert_eq!(read.names, ["person", "dog"]);
        let [a, b] = read.pictures.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!((a.id, a.size), (4, Some([20, 10])));
        assert_eq!(a.file, Path::new("val/a.png"));
        assert!(a.annotations.is_empty());
        assert_eq!(b.annotations[0].class, 1);
        assert_eq!(b.annotations[0].rect, [1.0, 2.0, 11.0, 22.5]);
        assert!(!b.annotations[0].crowd && b.annotations[1].crowd);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (from, to, at, found) in [
            (
                "\"image_id\": 9, \"category_id\": 18",
                "\"image_id\": 5, \"category_id\": 18",
                "annotations[0]",
                "image_id 5",
            ),
            (
                "\"category_id\": 1,",
                "\"category_id\": 2,",
                "annotations[1]",
                "category_id 2",
            ),
            ("\"bbox\": [0, 0, 40, 30],", "", "annotations[1]", "no bbox"),
            (
                "[0, 0, 40, 30]",
                "[0, 0, -1, 30]",
                "annotations[1]",
                "the bbox [0, 0, -1, 30]",
            ),
            (
                "[0, 0, 40, 30]",
                "[0, 0, 1e300, 30]",
                "annotations[1]",
                "the bbox",
            ),
            ("val/a.png", "../a.png", "image 4", "outside of the folder"),
            ("\"id\": 4", "\"id\": 9", "", "two images have the id 9"),
            (
                "{\"id\": 1, \"name\"",
                "{\"id\": 18, \"name\"",
                "",
                "two categories",
            ),
            (
                "\"categories\"",
                "\"kinds\"",
                "",
                "missing field `categories`",
            ),
        ] {
            let bad = FILE.replace(from, to);
            assert_ne!(bad, FILE, "{from}");
            let problem = parse(&bad).unwrap_err();
            assert_eq!(problem.at, at, "{problem:?}");
            assert!(problem.found.contains(found), "{problem:?}");
        }
    }

    #[test]
    fn the_validation_instances_of_several_files_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("annotations");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(find(dir.path()).unwrap(), None);
        let write = |name: &str| std::fs::write(folder.join(name), "").unwrap();
        write("instances_train2017.json");
        let (file, note) = find(dir.path()).unwrap().unwrap();
        assert!(file.ends_with("annotations/instances_train2017.json") && note.is_none());
        write("instances_test.json");
        let message = find(dir.path()).unwrap_err().to_string();
        assert!(
            message
                .contains("it has 2 label files (instances_test.json, instances_train2017.json …)"),
            "{message}"
        );
        write("instances_val2017.json");
        write("captions_val2017.json");
        let (file, note) = find(dir.path()).unwrap().unwrap();
        assert!(file.ends_with("instances_val2017.json"), "{file:?}");
        assert!(note.is_some());
    }

    #[test]
    fn pictures_lie_in_one_of_the_usual_folders() {
        let first = Picture {
            id: 1,
            file: "a.png".into(),
            size: None,
            annotations: Vec::new(),
        };
        for (file, folder) in [
            ("annotations.json", "."),
            ("annotations.json", "images"),
            ("annotations/instances_val2017.json", "val2017"),
            ("annotations/instances_val2017.json", "images/val2017"),
            ("annotations/val.json", "images"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join(folder);
            let file = dir.path().join(file);
            assert!(pictures_folder(&file, &first).is_err());
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("a.png"), "").unwrap();
            let found = pictures_folder(&file, &first).unwrap();
            assert!(found.join("a.png").is_file(), "{found:?}");
        }
    }
}
