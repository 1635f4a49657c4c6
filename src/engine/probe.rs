//! Probes: a mechanism attached to a layer that has none of it. It computes beside the network,
//! so the detections stay what they are.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::attention::{MECHANISMS, Mechanism};
use crate::checkpoint::Model;

/// Most probes on one model: each one runs with every wish.
pub const MAX_PROBES: usize = 8;

/// A mechanism attached to a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Probe {
    /// The row whose output is looked at.
    pub on: usize,
    /// Id of the mechanism: `super_token`.
    pub mechanism: String,
}

impl Probe {
    /// The mechanisms that mean something without trained weights.
    pub fn mechanisms() -> impl Iterator<Item = &'static Mechanism> {
        MECHANISMS.iter().copied().filter(|m| m.probe.is_some())
    }

    fn find(name: &str) -> Option<&'static Mechanism> {
        Self::mechanisms().find(|m| m.id == name || m.short == name)
    }
}

impl FromStr for Probe {
    type Err = String;

    /// Reads `6=super_token` or `6=sta`.
    fn from_str(text: &str) -> Result<Self, String> {
        let known: Vec<_> = Self::mechanisms().map(|m| m.short).collect();
        let form = || {
            let known = known.join(" or ");
            format!("'{text}' is no probe; expected LAYER=MECHANISM with {known}, such as 6=sta")
        };
        let (on, name) = text.split_once('=').ok_or_else(form)?;
        let mechanism = Self::find(name.trim()).ok_or_else(form)?;
        Ok(Self {
            on: on.trim().parse().map_err(|_| form())?,
            mechanism: mechanism.id.to_owned(),
        })
    }
}

/// The model with the probes, which take the rows after its own in their order.
///
/// # Errors
/// One sentence, if a probe cannot be attached.
pub fn attach(model: &Arc<Model>, probes: &[Probe]) -> Result<Arc<Model>, String> {
    if probes.is_empty() {
        return Ok(model.clone());
    }
    if probes.len() > MAX_PROBES {
        let n = probes.len();
        return Err(format!(
            "{n} probes are asked for; expected at most {MAX_PROBES}"
        ));
    }
    let mut network = model.network.without_probes();
    for probe in probes {
        let mechanism = Probe::find(&probe.mechanism)
            .ok_or_else(|| format!("there is no probe '{}'", probe.mechanism))?;
        network = network.with_probe(probe.on, mechanism)?;
    }
    Ok(Arc::new(model.with_network(network)))
}

impl Settings {
    /// Takes the probe in place `i` away, its knobs and what is erased in it; later probes keep
    /// theirs. `rows` is the number of rows that the model has without probes.
    pub fn remove_probe(&mut self, i: usize, rows: usize) {
        if i >= self.probes.len() {
            return;
        }
        self.probes.remove(i);
        let gone = rows + i;
        close_up(&mut self.knobs, gone);
        close_up(&mut self.erased, gone);
    }
}

/// Takes a row away; later ones move up.
fn close_up<T>(rows: &mut BTreeMap<usize, T>, gone: usize) {
    *rows = std::mem::take(rows)
        .into_iter()
        .filter(|(row, _)| *row != gone)
        .map(|(row, of)| (if row > gone { row - 1 } else { row }, of))
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::KnobValue;

    #[test]
    fn a_removed_probe_takes_its_knobs_along() {
        let probe = |on| Probe {
            on,
            mechanism: "super_token".into(),
        };
        let mut settings = Settings {
            probes: vec![probe(2), probe(4), probe(6)],
            ..Settings::default()
        };
        for row in [8, 24, 25, 26] {
            let knobs = [("n_iter".to_owned(), KnobValue::Int(row))];
            settings.knobs.insert(row, knobs.into());
        }
        settings.remove_probe(1, 24);
        assert_eq!(settings.probes, [probe(2), probe(6)]);
        let left: Vec<_> = settings
            .knobs
            .iter()
            .map(|(r, k)| (*r, k["n_iter"]))
            .collect();
        let at = KnobValue::Int;
        assert_eq!(left, [(8, at(8)), (24, at(24)), (25, at(26))]);
    }

    #[test]
    fn a_probe_that_is_none_says_what_was_expected() {
        for bad in ["", "6", "x=sta", "6=", "6=polarized", "-1=sta"] {
            let why = bad.parse::<Probe>().unwrap_err();
            assert!(why.contains("expected LAYER=MECHANISM"), "{bad}: {why}");
        }
    }
}
