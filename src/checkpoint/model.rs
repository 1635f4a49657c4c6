//! A model: a folder with `model.yaml`, `weights.safetensors` and, if there is one, `card.json`.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::{Card, LoadReport, WeightSource};
use crate::yolo::{Config, Head, Network};
use crate::{Error, Result};

/// Files of a model folder.
const YAML: &str = "model.yaml";
const WEIGHTS: &str = "weights.safetensors";
const CARD: &str = "card.json";
/// Larger weights files, in bytes, are not detectors of this family.
const MAX_WEIGHTS: u64 = 4 << 30;
/// Larger definitions and cards are not written by people.
const MAX_TEXT: u64 = 16 << 20;

/// Input sides that are offered when the card names none.
const DEFAULT_SIZE: usize = 640;

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the program itself.
    Bundled,
    /// A folder on disk, or a file in it.
    Folder(PathBuf),
}

/// A model ready to run. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// Name from the card, or of the folder.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// The network as its YAML describes it.
    pub config: Config,
    /// Class names, one per class.
    pub classes: Vec<String>,
    /// What the card says.
    pub card: Card,
    /// The network with its weights.
    pub network: Network,
    /// The weights file as it is called in messages.
    pub weights_file: String,
    /// How the weights fitted.
    pub report: LoadReport,
    /// Differs between models: a hash of YAML and weights.
    pub digest: u64,
    /// Where the weights lie.
    pub device: Device,
}

/// The files of a model: what each is called in messages, and what it holds.
struct Files<'a> {
    yaml: (String, &'a str),
    weights: (String, &'a [u8]),
    card: Option<(String, &'a str)>,
}

impl Model {
    /// The model that the program carries.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn bundled(device: &Device) -> Result<Self> {
        let at = |name: &str| format!("the bundled {name}");
        let yaml = include_str!("../../models/yolo26n-attn-v0/model.yaml");
        let weights = include_bytes!("../../models/yolo26n-attn-v0/weights.safetensors");
        let card = include_str!("../../models/yolo26n-attn-v0/card.json");
        let files = Files {
            yaml: (at(YAML), yaml),
            weights: (at(WEIGHTS), weights),
            card: Some((at(CARD), card)),
        };
        Self::from_files(&files, parse(&at(YAML), yaml)?, Origin::Bundled, device)
    }

    /// Opens a model folder; or a YAML file with the weights beside it; or a safetensors file with
    /// the model.yaml beside it.
    ///
    /// # Errors
    /// [`Error::File`] that names the file, what is wrong with it and what was expected; for
    /// weights, every tensor that does not fit.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let folder = match path.is_dir() {
            true => path.to_owned(),
            false if path.exists() => path.parent().map(Path::to_owned).unwrap_or_default(),
            false => return Err(Error::path(path, "there is no such folder", MODEL_FOLDER)),
        };
        // A file that was named stands for its part, whatever it is called.
        let part = |kinds: &[&str], name: &str| {
            let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            let named = !path.is_dir() && kinds.iter().any(|k| kind.eq_ignore_ascii_case(k));
            if named {
                path.to_owned()
            } else {
                folder.join(name)
            }
        };
        let yaml_path = part(&["yaml", "yml"], YAML);
        let weights_path = part(&["safetensors"], WEIGHTS);
        let card_path = folder.join(CARD);
        let show = |path: &Path| path.display().to_string();
        // The definition first: it is small, and says what the weights should be.
        let yaml = read_text(&yaml_path)?;
        let config = parse(&show(&yaml_path), &yaml)?;
        let weights = read(&weights_path, MAX_WEIGHTS)?;
        let card = match card_path.exists() {
            true => Some(read_text(&card_path)?),
            false => None,
        };
        let files = Files {
            yaml: (show(&yaml_path), &yaml),
            weights: (show(&weights_path), &weights),
            card: card.as_deref().map(|text| (show(&card_path), text)),
        };
        let whole_folder = yaml_path == folder.join(YAML) && weights_path == folder.join(WEIGHTS);
        let origin = if whole_folder { &folder } else { path };
        Self::from_files(&files, config, Origin::Folder(origin.to_owned()), device)
    }

    fn from_files(
        files: &Files<'_>,
        config: Config,
        origin: Origin,
        device: &Device,
    ) -> Result<Self> {
        let (yaml, weights) = (&files.yaml.0, &files.weights.0);
        let card = match &files.card {
            Some((place, text)) => {
                Card::parse(text).map_err(|e| fault(place, e, "a JSON object, or no such file"))?
            }
            None => Card::default(),
        };
        let source = WeightSource::parse(files.weights.1)
            .map_err(|e| fault(weights, e, "a whole safetensors file"))?;
        let (builder, recorder) = source.into_builder(device);
        let network = Network::build(&config, &builder)
            .map_err(|e| fault(yaml, e, "a detector that can be built"))?;
        if let Some(stop) = network.stopped() {
            let problem = format!(
                "row {} ({}): the module is not known",
                stop.row, stop.module
            );
            return Err(Error::file(yaml, problem, "a detector that can be built"));
        }
        drop(builder);
        let report = recorder.report();
        if !report.is_whole() {
            let expected = format!("the tensors that {yaml} asks for");
            return Err(Error::file(weights, &report, expected));
        }
        let name = card.name.clone().unwrap_or_else(|| match &origin {
            Origin::Folder(p) => {
                let last = if p.is_dir() {
                    p.file_name()
                } else {
                    p.file_stem()
                };
                last.map_or("model".into(), |n| n.to_string_lossy().into_owned())
            }
            Origin::Bundled => "bundled".into(),
        });
        Ok(Self {
            name,
            classes: class_names(&config, &card),
            digest: digest(&[files.yaml.1.as_bytes(), files.weights.1]),
            device: device.clone(),
            weights_file: weights.clone(),
            origin,
            config,
            card,
            network,
            report,
        })
    }

    /// The same model with another network of the same weights, such as one with a probe.
    pub fn with_network(&self, network: Network) -> Self {
        Self {
            network,
            ..self.clone()
        }
    }

    /// The input side to start with: the card's best, or 640, as a multiple of the stride.
    pub fn best_size(&self) -> usize {
        let stride = self.network.stride().max(1);
        let size = self.card.best_size.unwrap_or(DEFAULT_SIZE);
        (size.div_ceil(stride) * stride).max(stride)
    }

    /// The head to start with: the card's best, or one-to-one where the model has it.
    pub fn best_head(&self) -> Head {
        let heads = self.network.heads();
        let best = self.card.best_head.filter(|h| heads.contains(h));
        best.or(heads.first().copied()).unwrap_or(Head::OneToMany)
    }

    /// A sentence on tensors in the file that nothing asked for, if there are any.
    pub fn warning(&self) -> Option<String> {
        (!self.report.unused.is_empty()).then(|| {
            let expected = "only the tensors that its YAML asks for";
            Error::file(&self.weights_file, &self.report, expected).to_string()
        })
    }
}

/// The definition in a YAML text.
fn parse(place: &str, text: &str) -> Result<Config> {
    Config::parse(text).map_err(|e| fault(place, e, DEFINITION))
}

/// What model.yaml should be, for messages.
const DEFINITION: &str = "a mapping with nc, backbone and head, as Ultralytics writes it";

/// A problem with one file whose words may already end in what was expected.
fn fault(file: &str, message: String, expected: &str) -> Error {
    // A message of candle may carry a backtrace behind its first line.
    let message = message.lines().next().unwrap_or_default();
    match message.rsplit_once("; expected ") {
        Some((problem, expected)) => Error::file(file, problem, expected),
        None => Error::file(file, message, expected),
    }
}

/// What a model path should be, for messages.
const MODEL_FOLDER: &str = "a folder with model.yaml and weights.safetensors";

/// A whole ordinary file of at most `most` bytes.
fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    // Before opening: a named pipe would wait for its writer for ever, a device has no end.
    let meta = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if meta.is_dir() {
        return Err(Error::path(path, "it is a folder", MODEL_FOLDER));
    }
    if !meta.is_file() {
        return Err(Error::path(
            path,
            "it is not an ordinary file",
            MODEL_FOLDER,
        ));
    }
    if meta.len() > most {
        let problem = format!("it has {} bytes", meta.len());
        return Err(Error::path(path, problem, format!("at most {most}")));
    }
    std::fs::read(path).map_err(|e| unreadable(path, &e))
}

fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path, MAX_TEXT)?)
        .map_err(|_| Error::path(path, "it is not text", "UTF-8 text"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let problem = match error.kind() {
        std::io::ErrorKind::NotFound => "it is missing".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        _ => format!("it cannot be read ({error})"),
    };
    Error::path(path, problem, MODEL_FOLDER)
}

fn class_names(config: &Config, card: &Card) -> Vec<String> {
    let fits = |names: &&Vec<String>| names.len() == config.classes;
    let names = config.names.as_ref().or(card.classes.as_ref().filter(fits));
    names
        .cloned()
        .unwrap_or_else(|| (0..config.classes).map(|i| i.to_string()).collect())
}

/// A 64-bit hash that is the same on every machine; it tells models apart, nothing more.
fn digest(parts: &[&[u8]]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            hash = (hash ^ u64::from_le_bytes(*word))
                .wrapping_mul(PRIME)
                .rotate_left(23);
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
    hash
}
