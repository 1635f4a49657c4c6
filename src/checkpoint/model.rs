//! A model: a network with its weights, from a checkpoint, a folder, or a definition alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;

use super::parts::{Parts, fault};
use super::report::{LoadReport, RandomRow, row_of};
use super::{BUNDLED, Bundled, Card, WeightSource};
use crate::attention::Arg;
use crate::yolo::{Config, Head, Network};
use crate::{Error, Result};

/// Input sides that are offered when the card names none.
const DEFAULT_SIZE: usize = 640;

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the program itself.
    Bundled(&'static Bundled),
    /// A folder on disk, or a file in it.
    Folder(PathBuf),
}

impl Origin {
    /// What a name or path stands for: a file or folder that is there, or else a bundled model.
    pub fn named(path: &Path) -> Self {
        let bundled = path.to_str().and_then(Bundled::named);
        match bundled {
            Some(bundled) if !path.exists() => Self::Bundled(bundled),
            _ => Self::Folder(path.to_owned()),
        }
    }

    /// Opens what lies there.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open(&self, device: &Device) -> Result<Model> {
        match self {
            Self::Bundled(bundled) => Model::from_parts(Parts::bundled(bundled)?, device),
            Self::Folder(path) => Model::open(path, device),
        }
    }
}

/// A model ready to run. Cloning shares the weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// Name from the card, or of the file or folder.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// The network as its definition describes it.
    pub config: Config,
    /// Class names, one per class.
    pub classes: Vec<String>,
    /// What the card says.
    pub card: Card,
    /// The network with its weights.
    pub network: Network,
    /// The weights file as it is called in messages; the definition where there is none.
    pub weights_file: String,
    /// How the weights fitted.
    pub report: LoadReport,
    /// Differs between models: a hash of the definition and the numbers of all tensors in use. The
    /// same model in another file format has the same.
    pub digest: u64,
    /// Where the weights lie.
    pub device: Device,
}

impl Model {
    /// The first of the models that the program carries.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn bundled(device: &Device) -> Result<Self> {
        Origin::Bundled(&BUNDLED[0]).open(device)
    }

    /// Opens a checkpoint of PyTorch (`.pt`, `.pth`); or a folder with `model.yaml`,
    /// `weights.safetensors` and, if there is one, `card.json`; or one of these files with what
    /// lies beside it. A definition without weights opens with random ones.
    ///
    /// # Errors
    /// [`Error::File`] that names the file, what is wrong with it and what was expected; for
    /// weights, every tensor that does not fit.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        Self::from_parts(Parts::open(path)?, device)
    }

    fn from_parts(parts: Parts, device: &Device) -> Result<Self> {
        let Parts { config, .. } = parts;
        let place = parts.definition.place();
        let has_weights = parts.tensors.is_some();
        let source = match parts.tensors {
            Some(tensors) => WeightSource::new(tensors),
            None => WeightSource::random(),
        };
        let (builder, recorder) = source.into_builder(device);
        let network = Network::build(&config, &builder)
            .map_err(|e| fault(place, &e, "a detector that can be built"))?;
        drop(builder);
        if let (false, Some(stop)) = (has_weights, network.stopped()) {
            // Without weights there is nothing to see in the rows before it.
            let problem = format!(
                "row {} ({}): the module is not known",
                stop.row, stop.module
            );
            return Err(fault(place, &problem, "a detector that can be built"));
        }
        let (mut report, mut digest) = recorder.finish();
        digest.add(format!("{config:?}").as_bytes());
        describe(&mut report, &network, &config);
        report.assumed.splice(0..0, parts.notes);
        report.skipped = parts.skipped;
        let enough = !has_weights || report.found * 2 >= report.expected;
        if !report.fits() || !enough {
            let problem = std::iter::once(report.summary()).chain(report.faults());
            let problem = problem.collect::<Vec<_>>().join("\n  ");
            let expected = format!("the tensors that {place} asks for");
            return Err(Error::file(&parts.weights_file, problem, expected));
        }
        Ok(Self {
            name: parts.card.name.clone().unwrap_or(parts.name),
            classes: class_names(&config, &parts.card),
            digest: digest.value(),
            device: device.clone(),
            weights_file: parts.weights_file,
            origin: parts.origin,
            card: parts.card,
            config,
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

    /// The rows that run on random numbers, in part or whole, because the file lacks their tensors.
    pub fn random_rows(&self) -> &[RandomRow] {
        &self.report.random
    }

    /// What a person should know before trusting this model: rows with random weights, a network
    /// that ends early, tensors that nothing asked for, functions that were not called.
    pub fn warning(&self) -> Option<String> {
        let report = &self.report;
        let random = || {
            if report.found == 0 {
                return "all weights are random: there is no weights file".to_owned();
            }
            let rows = report.random.iter();
            let rows: Vec<_> = rows.map(|r| format!("{} ({})", r.row, r.module)).collect();
            format!("random weights in row {}", rows.join(", "))
        };
        let skipped = || format!("not called: {}", report.skipped.join(", "));
        let headline = [
            (!report.random.is_empty()).then(random),
            report.stopped.clone(),
            Some(report.summary()).filter(|s| !s.is_empty() && report.found > 0),
            (!report.skipped.is_empty()).then(skipped),
        ];
        let headline: Vec<String> = headline.into_iter().flatten().collect();
        if headline.is_empty() {
            return None;
        }
        let mut lines = vec![format!("{}: {}", self.weights_file, headline.join("; "))];
        if report.found > 0 {
            lines.extend(report.faults());
        }
        Some(lines.join("\n  "))
    }
}

/// What the network knows beyond the tensors.
fn describe(report: &mut LoadReport, network: &Network, config: &Config) {
    let mut missing: BTreeMap<usize, usize> = BTreeMap::new();
    for row in report.missing.iter().filter_map(|t| row_of(&t.name)) {
        *missing.entry(row).or_default() += 1;
    }
    let module = |row: usize| config.rows.get(row).map_or("", |r| r.module.as_str());
    let random = missing.into_iter().map(|(row, tensors)| RandomRow {
        row,
        module: module(row).to_owned(),
        tensors,
    });
    report.random = random.collect();
    report.heads = network.heads().iter().map(|h| h.name()).collect();
    report.assumed = network.notes().to_vec();
    if let Some(stop) = network.stopped() {
        // What lies beyond it is said once, and not tensor by tensor.
        let unreached = |name: &str| row_of(name).is_some_and(|row| row >= stop.row);
        report.unused.retain(|t| !unreached(&t.name));
        report.stopped = Some(format!(
            "row {} ({}): the module is not known, and the network ends before it",
            stop.row, stop.module
        ));
    }
    let unknown = config.unknown();
    report.unknown = unknown.map(|(row, m)| format!("row {row} ({m})")).collect();
    let rows = network.attention().filter_map(|(row, _)| {
        let attributes = &config.rows.get(row)?.attributes;
        let show = |(name, value): (&String, &Arg)| format!("{name} {}", value.show());
        let list: Vec<String> = attributes.iter().map(show).collect();
        (!list.is_empty()).then(|| format!("row {row} ({}): {}", module(row), list.join(", ")))
    });
    report.attributes = rows.collect();
}

fn class_names(config: &Config, card: &Card) -> Vec<String> {
    let fits = |names: &&Vec<String>| names.len() == config.classes;
    let names = config.names.as_ref().or(card.classes.as_ref().filter(fits));
    names
        .cloned()
        .unwrap_or_else(|| (0..config.classes).map(|i| i.to_string()).collect())
}
