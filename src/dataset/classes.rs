//! Which class of a data set is which class of a model: the one of the same name.

use std::collections::BTreeMap;

use super::{DataSet, Labelled};
use crate::{Error, Result};

/// Names that a note lists before it counts the rest.
const LISTED: usize = 6;

/// The model's class of each class of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// By class of the data set.
    of_model: Vec<Option<usize>>,
    /// Classes of the model.
    classes: usize,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

impl Matching {
    /// Each number is the same class in both.
    pub fn by_number(classes: usize) -> Self {
        Self {
            of_model: (0..classes).map(Some).collect(),
            classes,
            notes: Vec::new(),
        }
    }

    /// Matches the classes of a data set with those of a model by name; by number, with a note, if
    /// one of them has no names. Classes that the model does not know are left out, with a note.
    ///
    /// # Errors
    /// If no class has a name in common, or a number is none of the model's.
    pub fn new(data: &DataSet, model: &[String], model_name: &str) -> Result<Self> {
        let numbered = model.iter().enumerate().all(|(i, n)| *n == i.to_string());
        let nameless = match (&data.names, numbered) {
            (None, _) => "the data set",
            (Some(_), true) => model_name,
            (Some(names), false) => return Self::by_name(data, names, model, model_name),
        };
        let known = |c: &usize| *c < model.len();
        let unknown = |p: &&Labelled| p.classes().any(|c| !known(&c));
        if let Some(picture) = data.pictures.iter().find(unknown) {
            let number = picture.classes().find(|c| !known(c)).unwrap_or_default();
            let last = model.len().saturating_sub(1);
            let expected = format!("a class of {model_name}, 0 to {last}");
            return Err(Error::file(
                &picture.stated,
                format!("class {number}"),
                expected,
            ));
        }
        let mut matching = Self::by_number(model.len());
        let note = format!("{nameless} has no class names: classes are matched by number");
        matching.notes.push(note);
        Ok(matching)
    }

    fn by_name(
        data: &DataSet,
        names: &[String],
        model: &[String],
        model_name: &str,
    ) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (class, name) in model.iter().enumerate() {
            places.entry(plain(name)).or_insert(class);
        }
        let of_model = names.iter().map(|n| places.get(&plain(n)).copied());
        let of_model: Vec<Option<usize>> = of_model.collect();
        let known: Vec<usize> = of_model.iter().flatten().copied().collect();
        if known.is_empty() {
            return Err(Error::path(
                &data.place,
                format!(
                    "none of its classes is one of {model_name}'s ({})",
                    list(names)
                ),
                format!("some of {}", list(model)),
            ));
        }
        let mut notes = Vec::new();
        let unknown = names.iter().zip(&of_model).filter(|(_, m)| m.is_none());
        let unknown: Vec<String> = unknown.map(|(n, _)| n.clone()).collect();
        if !unknown.is_empty() {
            let n = unknown.len();
            let list = list(&unknown);
            notes.push(format!(
                "left out, because {model_name} does not know them: {n} of {} classes ({list})",
                names.len()
            ));
        }
        let missing = model.iter().enumerate().filter(|(c, _)| !known.contains(c));
        let missing: Vec<String> = missing.map(|(_, n)| n.clone()).collect();
        if !missing.is_empty() {
            let list = list(&missing);
            notes.push(format!(
                "not scored, because the data set does not have them: {list}"
            ));
        }
        Ok(Self {
            of_model,
            classes: model.len(),
            notes,
        })
    }

    /// The model's class of a class of the data set.
    pub fn of_model(&self, class: usize) -> Option<usize> {
        self.of_model.get(class).copied().flatten()
    }

    /// Which classes of the model a picture labels, by class.
    pub fn labelled(&self, picture: &Labelled) -> Vec<bool> {
        let mut labelled = vec![false; self.classes];
        let mut mark = |class: Option<usize>| {
            if let Some(flag) = class.and_then(|c| labelled.get_mut(c)) {
                *flag = true;
            }
        };
        match &picture.labelled {
            Some(list) => list.iter().for_each(|c| mark(self.of_model(*c))),
            None => self.of_model.iter().for_each(|c| mark(*c)),
        }
        labelled
    }
}

impl Labelled {
    /// Every class that the labels speak of.
    fn classes(&self) -> impl Iterator<Item = usize> {
        let boxes = self.annotations.iter().map(|a| a.class);
        boxes.chain(self.labelled.iter().flatten().copied())
    }
}

/// A name as it is compared: letter case and separators do not count.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| c.is_whitespace() || c == '_' || c == '-');
    let words: Vec<String> = words
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join(" ")
}

/// The first names, and how many more there are.
fn list(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    let first = first.join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Annotation, Format, Source, Unit};

    fn data(names: Option<&[&str]>, class: usize, labelled: Option<Vec<usize>>) -> DataSet {
        DataSet {
            place: "set".into(),
            format: Format::Jsonl,
            names: names.map(strings),
            pictures: vec![Labelled {
                picture: Source::File("a.png".into()),
                stated: "labels.jsonl: line 1".into(),
                size: None,
                labelled,
                unit: Unit::Pixels,
                annotations: vec![Annotation {
                    class,
                    rect: [0.0, 0.0, 1.0, 1.0],
                    crowd: false,
                }],
            }],
            notes: Vec::new(),
        }
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn classes_are_matched_by_name() {
        let model = strings(&["person", "traffic light", "dog"]);
        let data = data(
            Some(&["Dog", "unicorn", "Traffic_Light"]),
            0,
            Some(vec![0, 1]),
        );
        let matching = Matching::new(&data, &model, "m").unwrap();
        let of_model: Vec<_> = (0..4).map(|c| matching.of_model(c)).collect();
        assert_eq!(of_model, [Some(2), None, Some(1), None]);
        assert_eq!(matching.labelled(&data.pictures[0]), [false, false, true]);
        assert!(matching.notes[0].contains("1 of 3 classes (unicorn)"));
        assert!(matching.notes[1].ends_with("does not have them: person"));
    }

    #[test]
    fn without_names_numbers_count() {
        let model = strings(&["person", "dog"]);
        let matching = Matching::new(&data(None, 1, None), &model, "m").unwrap();
        assert_eq!(matching.of_model(1), Some(1));
        assert!(matching.notes[0].starts_with("the data set has no class names"));
        let named = data(Some(&["x", "y"]), 1, None);
        let matching = Matching::new(&named, &strings(&["0", "1"]), "m").unwrap();
        assert!(matching.notes[0].starts_with("m has no class names"));
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let model = strings(&["person", "dog"]);
        let refused = |data: &DataSet| Matching::new(data, &model, "m").unwrap_err().to_string();
        assert_eq!(
            refused(&data(None, 2, None)),
            "labels.jsonl: line 1: class 2; expected a class of m, 0 to 1"
        );
        assert!(refused(&data(None, 0, Some(vec![5]))).contains("class 5"));
        assert_eq!(
            refused(&data(Some(&["a", "b"]), 0, None)),
            "set: none of its classes is one of m's (a, b); expected some of person, dog"
        );
    }
}
