//! The files of a model, read as far as needed to build it: the definition, the card, and the
//! directory of the weights.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::bytes::Bytes;
use super::locate::{self, CARD, Place, WEIGHTS, YAML};
use super::tensors::{Tensors, unwrap_names};
use super::torch::{self, Checkpoint};
use super::{Bundled, Card, Origin, flat};
use crate::yolo::Config;
use crate::{Error, Result};

/// What model.yaml should be, for messages.
const DEFINITION: &str = "a mapping with nc, backbone and head, as Ultralytics writes it";

/// The parts of a model.
pub(super) struct Parts {
    pub(super) origin: Origin,
    /// What the model is called if its card does not say.
    pub(super) name: String,
    pub(super) definition: Definition,
    pub(super) config: Config,
    pub(super) card: Card,
    /// The card as it is written, if there is one.
    pub(super) card_text: Option<String>,
    /// The weights file as it is called in messages; the definition where there is none.
    pub(super) weights_file: String,
    pub(super) tensors: Option<Tensors>,
    /// See [`super::LoadReport`].
    pub(super) skipped: Vec<String>,
    /// See [`super::LoadReport::assumed`].
    pub(super) notes: Vec<String>,
}

/// Where the definition comes from.
pub(super) enum Definition {
    /// A YAML file: what it is called in messages, and its text.
    File(String, String),
    /// The checkpoint that holds the weights, too.
    Inside(String, Map<String, Json>),
}

impl Definition {
    /// What it is called in messages.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::File(place, _) | Self::Inside(place, _) => place,
        }
    }
}

impl Parts {
    /// A model that the program carries.
    pub(super) fn bundled(model: &'static Bundled) -> Result<Self> {
        let at = |name: &str| format!("the bundled {}/{name}", model.id);
        let config = parse(&at(YAML), model.yaml)?;
        let tensors = match model.weights {
            Some(weights) => {
                let tensors = flat::read(Bytes::Memory(weights.into()));
                Some(tensors.map_err(|e| fault(&at(WEIGHTS), &e, WHOLE))?)
            }
            None => None,
        };
        let mut card = read_card(&at(CARD), model.card)?;
        card.random |= tensors.is_none();
        Ok(Self {
            origin: Origin::Bundled(model),
            name: model.id.into(),
            config,
            definition: Definition::File(at(YAML), model.yaml.into()),
            card,
            card_text: Some(model.card.into()),
            weights_file: at(if tensors.is_some() { WEIGHTS } else { YAML }),
            tensors,
            skipped: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// The parts that a path stands for.
    ///
    /// # Errors
    /// [`Error::File`] that names the file, what is wrong with it and what was expected.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let place = locate::locate(path)?;
        match &place.weights {
            Some(weights) if locate::is_torch(weights) => Self::torch(&place, weights),
            _ => Self::flat(&place),
        }
    }

    /// A definition beside a safetensors file, or alone.
    fn flat(place: &Place) -> Result<Self> {
        let yaml = place.yaml.as_deref().unwrap_or(Path::new(YAML));
        // The definition first: it is small, and says what the weights should be.
        let text = locate::text(yaml)?;
        let config = parse(&show(yaml), &text)?;
        let mut notes = Vec::new();
        let tensors = match &place.weights {
            Some(path) => {
                let directory = flat::read(locate::bytes(path)?);
                let mut tensors = directory.map_err(|e| fault(&show(path), &e, WHOLE))?;
                notes.extend(unwrap_names(&mut tensors.slots));
                Some(tensors)
            }
            None => None,
        };
        let (mut card, card_text) = card(place)?;
        card.random |= tensors.is_none();
        Ok(Self {
            origin: Origin::Folder(place.origin.clone()),
            name: place.name.clone(),
            weights_file: show(place.weights.as_deref().unwrap_or(yaml)),
            definition: Definition::File(show(yaml), text),
            config,
            card,
            card_text,
            tensors,
            skipped: Vec::new(),
            notes,
        })
    }

    /// A checkpoint of PyTorch, with its own definition or with a YAML file beside it.
    fn torch(place: &Place, weights: &Path) -> Result<Self> {
        let file = show(weights);
        let bytes = locate::bytes(weights)?;
        let checkpoint = torch::read(&bytes);
        let mut checkpoint = checkpoint.map_err(|e| fault(&file, &e, CHECKPOINT))?;
        // A YAML file that was named itself wins over the one in the checkpoint.
        let named = place.yaml.as_ref().filter(|_| place.origin != *weights);
        let own = checkpoint.definition.take();
        if let (Some(_), Some(yaml)) = (&own, named) {
            let note = format!("{} is used, not the definition in {file}", show(yaml));
            checkpoint.notes.push(note);
        }
        let own = own.filter(|_| named.is_none());
        let (definition, config, card, card_text) = match (own, &place.yaml) {
            (Some(own), _) => {
                let (definition, config) = inside(&file, own, &mut checkpoint)?;
                (definition, config, own_card(&checkpoint), None)
            }
            (None, Some(yaml)) => {
                let text = locate::text(yaml)?;
                let config = parse(&show(yaml), &text)?;
                let (mut card, card_text) = card(place)?;
                card.classes = card.classes.or(checkpoint.names.take());
                let definition = Definition::File(show(yaml), text);
                (definition, config, card, card_text)
            }
            (None, None) => {
                let problem = "it holds tensors, but no definition of the network";
                let name = weights.with_extension("yaml");
                let name = name.file_name().unwrap_or_default().to_string_lossy();
                let expected = format!("{name} or {YAML} beside it");
                return Err(Error::file(&file, problem, expected));
            }
        };
        Ok(Self {
            origin: Origin::Folder(place.origin.clone()),
            name: place.name.clone(),
            definition,
            config,
            card,
            card_text,
            weights_file: file,
            skipped: checkpoint.skipped,
            notes: checkpoint.notes,
            tensors: Some(Tensors {
                bytes,
                slots: checkpoint.slots,
            }),
        })
    }
}

/// What weights files should be, for messages.
const WHOLE: &str = "a whole safetensors file";
const CHECKPOINT: &str = "a checkpoint of a detector";

/// The definition in a checkpoint, with the names and attributes that lie beside it there.
fn inside(
    file: &str,
    mut own: Map<String, Json>,
    checkpoint: &mut Checkpoint,
) -> Result<(Definition, Config)> {
    let count = |key: &str| own.get(key).and_then(Json::as_array).map_or(0, Vec::len);
    let rows = count("backbone") + count("head");
    let attributes = std::mem::take(&mut checkpoint.attributes);
    let attributes = attributes.into_iter().filter(|(row, _)| *row < rows);
    let attributes = attributes.map(|(row, of_row)| (row.to_string(), Json::Object(of_row)));
    if let Some(names) = &checkpoint.names {
        let classes = own.get("nc").and_then(Json::as_u64);
        if classes == Some(names.len() as u64) {
            own.insert("names".into(), names.clone().into());
        } else {
            let n = names.len();
            let note = format!("it names {n} classes, not as many as nc says; they are numbered");
            checkpoint.notes.push(note);
        }
    }
    own.insert("attributes".into(), attributes.collect());
    let config = Config::from_value(Json::Object(own.clone()));
    let config = config.map_err(|e| fault(file, &e, DEFINITION))?;
    Ok((Definition::Inside(file.to_owned(), own), config))
}

/// The card that a checkpoint implies.
fn own_card(checkpoint: &Checkpoint) -> Card {
    let size = checkpoint.trained_size;
    Card {
        best_size: size.filter(|s| (32..=4096).contains(s)).map(|s| s as usize),
        ..Card::default()
    }
}

fn card(place: &Place) -> Result<(Card, Option<String>)> {
    let Some(path) = &place.card else {
        return Ok((Card::default(), None));
    };
    let text = locate::text(path)?;
    Ok((read_card(&show(path), &text)?, Some(text)))
}

fn read_card(place: &str, text: &str) -> Result<Card> {
    Card::parse(text).map_err(|e| fault(place, &e, "a JSON object, or no such file"))
}

/// The definition in a YAML text.
fn parse(place: &str, text: &str) -> Result<Config> {
    Config::parse(text).map_err(|e| fault(place, &e, DEFINITION))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// A problem with one file whose words may already end in what was expected.
pub(super) fn fault(file: &str, message: &str, expected: &str) -> Error {
    match message.rsplit_once("; expected ") {
        Some((problem, expected)) => Error::file(file, problem, expected),
        None => Error::file(file, message, expected),
    }
}
