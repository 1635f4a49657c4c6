//! Ultralytics-style YAML: rows of `[from, repeats, module, args]` to a checked [`Config`].
//!
//! A YAML file is untrusted: every number is checked before anything is built from it, and each
//! message names the row.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::attention::{Arg, Attributes};

/// Limits far beyond any detector, that keep a hostile file from taking the machine.
const MAX_BYTES: usize = 1 << 20;
const MAX_ROWS: usize = 1000;
const MAX_REPEATS: i64 = 100;
const MAX_CLASSES: i64 = 10_000;

/// One row, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Rows that feed it, in order; `None` is the picture.
    pub from: Vec<Option<usize>>,
    /// Repeats after depth scaling.
    pub repeats: usize,
    /// Module name without `nn.`.
    pub module: String,
    /// Arguments as written, with `nc` replaced.
    pub args: Vec<Arg>,
    /// Hyperparameters that the checkpoint states itself; they win over the arguments.
    pub attributes: Attributes,
}

/// Depth, width and largest channel count of a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Factor on repeats.
    pub depth: f64,
    /// Factor on channels.
    pub width: f64,
    /// Largest channel count before `width` is applied.
    pub max_channels: f64,
}

/// A network as its YAML describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Number of classes.
    pub classes: usize,
    /// Class names, if the file has them.
    pub names: Option<Vec<String>>,
    /// Bins per box side; 1 means raw distances.
    pub reg_max: usize,
    /// Whether the head has a one-to-one copy.
    pub end_to_end: bool,
    /// Activation of every convolution as the file names it; SiLU where it names none.
    pub activation: Option<String>,
    /// Name of the scale in use.
    pub scale_name: String,
    /// The scale in use.
    pub scale: Scale,
    /// All rows, backbone then head.
    pub rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Raw {
    nc: Option<Value>,
    names: Option<Value>,
    reg_max: Option<Value>,
    end2end: Option<Value>,
    activation: Option<String>,
    scale: Option<String>,
    scales: Option<Value>,
    depth_multiple: Option<f64>,
    width_multiple: Option<f64>,
    backbone: Option<Value>,
    head: Option<Value>,
    /// By row number: hyperparameters by dotted path. Not Ultralytics' own; written by `convert`.
    attributes: Option<BTreeMap<String, BTreeMap<String, Value>>>,
}

impl Config {
    /// Reads a YAML text.
    ///
    /// # Errors
    /// One sentence that names the row, or the key, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!(
                "the file has {} bytes; a model definition has at most {MAX_BYTES}",
                text.len()
            ));
        }
        if text.trim().is_empty() {
            return Err("the file is empty; expected the keys nc, backbone and head".into());
        }
        // Infinities arrive as words, so that a message can show them in their place.
        let options = serde_saphyr::options! {
            non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString
        };
        let raw: Raw = serde_saphyr::from_str_with_options(text, options)
            .map_err(|e| parser_problem(&e.to_string()))?;
        Self::from_raw(raw)
    }

    /// Reads the same mapping from a value that is no text, as it lies in a checkpoint.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn from_value(value: Value) -> Result<Self, String> {
        let raw: Raw =
            serde_json::from_value(value).map_err(|e| format!("not a model definition ({e})"))?;
        Self::from_raw(raw)
    }

    fn from_raw(raw: Raw) -> Result<Self, String> {
        let classes = whole(raw.nc.as_ref(), "nc", 1, MAX_CLASSES)?
            .ok_or("nc is missing; expected the number of classes")?;
        let reg_max = whole(raw.reg_max.as_ref(), "reg_max", 1, 64)?.unwrap_or(16);
        let (scale_name, scale) = scale_of(&raw)?;
        let mut config = Self {
            classes,
            names: names_of(raw.names.as_ref(), classes)?,
            reg_max,
            end_to_end: matches!(raw.end2end, Some(Value::Bool(true))),
            activation: raw.activation.clone(),
            scale_name,
            scale,
            rows: Vec::new(),
        };
        for (key, part) in [("backbone", &raw.backbone), ("head", &raw.head)] {
            let Some(Value::Array(rows)) = part else {
                return Err(format!(
                    "{key} is missing; expected a list of rows [from, repeats, module, args]"
                ));
            };
            for row in rows {
                let index = config.rows.len();
                if index >= MAX_ROWS {
                    return Err(format!("more than {MAX_ROWS} rows"));
                }
                let row = config
                    .row(row, index)
                    .map_err(|e| format!("row {index}: {e}"))?;
                config.rows.push(row);
            }
        }
        for (row, attributes) in raw.attributes.iter().flatten() {
            config
                .set_attributes(row, attributes)
                .map_err(|e| format!("attributes of row {row}: {e}"))?;
        }
        if config.rows.is_empty() {
            return Err("there are no rows".into());
        }
        Ok(config)
    }

    fn set_attributes(
        &mut self,
        row: &str,
        attributes: &BTreeMap<String, Value>,
    ) -> Result<(), String> {
        let index = row.parse::<usize>().ok().filter(|i| *i < self.rows.len());
        let Some(index) = index else {
            return Err(format!(
                "there is no such row; expected 0 to {}",
                self.rows.len().saturating_sub(1)
            ));
        };
        for (name, value) in attributes {
            let value = self.arg(value, 0).map_err(|e| format!("{name}: {e}"))?;
            self.rows[index].attributes.insert(name.clone(), value);
        }
        Ok(())
    }

    /// The rows whose modules this program does not know.
    pub fn unknown(&self) -> impl Iterator<Item = (usize, &str)> {
        let rows = self.rows.iter().enumerate();
        rows.map(|(i, row)| (i, row.module.as_str()))
            .filter(|(_, module)| !super::build::is_known(module))
    }

    /// `args[0]` scaled as channels: `8 · ceil(min(c, max_channels) · width / 8)`.
    pub fn channels(&self, c: usize) -> usize {
        let scaled = (c as f64).min(self.scale.max_channels) * self.scale.width;
        ((scaled / 8.0).ceil() * 8.0) as usize
    }

    fn row(&self, value: &Value, index: usize) -> Result<Row, String> {
        let parts = match value {
            Value::Array(parts) if parts.len() == 4 => parts,
            other => {
                return Err(format!(
                    "{other} is no row; expected [from, repeats, module, args]"
                ));
            }
        };
        let from = match &parts[0] {
            Value::Array(list) if (1..=64).contains(&list.len()) => list
                .iter()
                .map(|v| source(v, index))
                .collect::<Result<_, _>>()?,
            Value::Array(list) => {
                return Err(format!("from lists {} rows; expected 1 to 64", list.len()));
            }
            one => vec![source(one, index)?],
        };
        let repeats = whole(Some(&parts[1]), "repeats", 1, MAX_REPEATS)?.unwrap_or(1);
        let Value::String(module) = &parts[2] else {
            return Err(format!("the module is {}; expected a name", parts[2]));
        };
        let args = match &parts[3] {
            Value::Array(args) => args
                .iter()
                .map(|a| self.arg(a, 0))
                .collect::<Result<_, _>>()?,
            Value::Null => Vec::new(),
            other => return Err(format!("the arguments are {other}; expected a list")),
        };
        Ok(Row {
            from,
            repeats: scaled_repeats(repeats, self.scale.depth),
            module: module.trim_start_matches("nn.").to_owned(),
            args,
            attributes: Attributes::new(),
        })
    }

    fn arg(&self, value: &Value, depth: usize) -> Result<Arg, String> {
        Ok(match value {
            Value::Null => Arg::None,
            Value::Bool(b) => Arg::Bool(*b),
            Value::Number(n) => match n.as_i64() {
                Some(i) => Arg::Int(i),
                None => Arg::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(s) => match s.as_str() {
                "nc" => Arg::Int(self.classes as i64),
                "None" => Arg::None,
                "True" => Arg::Bool(true),
                "False" => Arg::Bool(false),
                word => Arg::Word(word.to_owned()),
            },
            Value::Array(list) if depth < 4 && list.len() <= 64 => Arg::List(
                list.iter()
                    .map(|v| self.arg(v, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            _ => return Err("an argument is neither a number, a word nor a short list".into()),
        })
    }
}

/// Repeats after depth scaling, rounded half to even as Python does.
fn scaled_repeats(n: usize, depth: f64) -> usize {
    if n > 1 {
        ((n as f64 * depth).round_ties_even() as usize).max(1)
    } else {
        n
    }
}

fn source(value: &Value, index: usize) -> Result<Option<usize>, String> {
    let Some(v) = value.as_i64() else {
        return Err(format!("from is {value}; expected a row number"));
    };
    let absolute = if v < 0 { index as i64 + v } else { v };
    match absolute {
        -1 if index == 0 => Ok(None),
        a if a >= 0 && a < index as i64 => Ok(Some(a as usize)),
        _ if index == 0 => Err(format!(
            "from is {v}, which is no earlier row; expected -1, the picture"
        )),
        _ => Err(format!(
            "from is {v}, which is no earlier row; expected -{index} to -1 or 0 to {}",
            index - 1
        )),
    }
}

fn whole(value: Option<&Value>, name: &str, min: i64, max: i64) -> Result<Option<usize>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(v) => match v.as_i64() {
            Some(n) if (min..=max).contains(&n) => Ok(Some(n as usize)),
            _ => Err(format!(
                "{name} is {v}; expected a whole number from {min} to {max}"
            )),
        },
    }
}

fn scale_of(raw: &Raw) -> Result<(String, Scale), String> {
    let Some(Value::Object(scales)) = &raw.scales else {
        let scale = Scale {
            depth: raw.depth_multiple.unwrap_or(1.0),
            width: raw.width_multiple.unwrap_or(1.0),
            max_channels: f64::INFINITY,
        };
        return checked(String::new(), scale);
    };
    let found = match &raw.scale {
        Some(name) => scales.get_key_value(name),
        None => scales.iter().next(),
    };
    let Some((name, values)) = found else {
        let known: Vec<_> = scales.keys().map(String::as_str).collect();
        return Err(format!(
            "scale is '{}'; expected one of {}",
            raw.scale.as_deref().unwrap_or(""),
            known.join(", ")
        ));
    };
    let number = |i: usize| values.get(i).and_then(Value::as_f64);
    match (number(0), number(1), number(2)) {
        (Some(depth), Some(width), Some(max_channels)) => checked(
            name.clone(),
            Scale {
                depth,
                width,
                max_channels,
            },
        ),
        _ => Err(format!(
            "scale {name} is {values}; expected [depth, width, max_channels]"
        )),
    }
}

fn checked(name: String, scale: Scale) -> Result<(String, Scale), String> {
    let fine = |v: f64, max: f64| v > 0.0 && v <= max;
    if fine(scale.depth, 10.0) && fine(scale.width, 10.0) && scale.max_channels >= 1.0 {
        Ok((name, scale))
    } else {
        Err(format!(
            "scale {name} is [{}, {}, {}]; expected positive factors up to 10",
            scale.depth, scale.width, scale.max_channels
        ))
    }
}

fn names_of(value: Option<&Value>, classes: usize) -> Result<Option<Vec<String>>, String> {
    match class_names(value)? {
        Some(names) if names.len() != classes => Err(format!(
            "names lists {} classes, but nc is {classes}",
            names.len()
        )),
        names => Ok(names),
    }
}

/// Class names as YAML files have them: a list, or a mapping from their numbers.
///
/// # Errors
/// If it is neither, or a number is left out.
pub fn class_names(value: Option<&Value>) -> Result<Option<Vec<String>>, String> {
    let text = |v: &Value| match v {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let names: Vec<String> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(Value::Object(map)) => (0..map.len())
            .map(|i| map.get(&i.to_string()).map(text))
            .collect::<Option<_>>()
            .ok_or("names must be numbered from 0 without gaps")?,
        Some(other) => return Err(format!("names is {other}; expected a list of class names")),
    };
    Ok(Some(names))
}

/// The parser's message without its drawing of the source.
fn parser_problem(message: &str) -> String {
    let line = message.lines().next().unwrap_or("not readable").trim();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    if line.contains("budget breached") {
        return "it is too large, or becomes so when its aliases are expanded".into();
    }
    format!("not a model definition ({line})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
nc: 2
scales: # [depth, width, max_channels]
  n: [0.50, 0.25, 1024]
  s: [0.50, 0.50, 1024]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 3, C3k2, [2048, False, 0.25]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 0], 1, Concat, [1]]
  - [[1, 2, 3], 1, Detect, [nc]]
";

    #[test]
    fn rows_are_read_with_the_first_scale() {
        let c = Config::parse(SMALL).unwrap();
        assert_eq!((c.classes, c.reg_max, c.scale_name.as_str()), (2, 16, "n"));
        assert_eq!(c.channels(64), 16);
        assert_eq!(c.channels(2048), 256);
        assert_eq!(c.rows[0].from, vec![None]);
        // 3 · 0.5 = 1.5 rounds to even: 2.
        assert_eq!(c.rows[1].repeats, 2);
        assert_eq!(c.rows[1].args[1], Arg::Bool(false));
        assert_eq!(c.rows[2].module, "Upsample");
        assert_eq!(c.rows[2].args[0], Arg::None);
        assert_eq!(c.rows[3].from, vec![Some(2), Some(0)]);
        assert_eq!(c.rows[4].args, vec![Arg::Int(2)]);
    }

    #[test]
    fn bankers_rounding_of_repeats() {
        assert_eq!(scaled_repeats(3, 0.5), 2);
        assert_eq!(scaled_repeats(5, 0.5), 2);
        assert_eq!(scaled_repeats(6, 0.33), 2);
        assert_eq!(scaled_repeats(1, 0.1), 1);
        assert_eq!(scaled_repeats(2, 0.1), 1);
    }

    #[test]
    fn bad_files_name_the_row_and_what_was_expected() {
        let with = |from: &str, to: &str| Config::parse(&SMALL.replace(from, to)).unwrap_err();
        for (from, to, says) in [
            ("nc: 2", "nc: 0", "nc is 0"),
            (
                "nc: 2",
                "nc: 1000000000000",
                "expected a whole number from 1",
            ),
            ("nc: 2", "names: [a]", "nc is missing"),
            (
                "[[-1, 0], 1, Concat",
                "[[-1, 7], 1, Concat",
                "row 3: from is 7",
            ),
            (
                "[[-1, 0], 1, Concat",
                "[[-1, 3], 1, Concat",
                "row 3: from is 3",
            ),
            (
                "[[-1, 0], 1, Concat",
                "[[-1, -9], 1, Concat",
                "row 3: from is -9",
            ),
            (
                "[-1, 3, C3k2",
                "[-1, 1000000000, C3k2",
                "row 1: repeats is 1000000000",
            ),
            ("[-1, 3, C3k2", "[-1, -3, C3k2", "row 1: repeats is -3"),
            ("n: [0.50, 0.25, 1024]", "n: [0.50, -1, 1024]", "scale n"),
            ("head:", "tail:", "head is missing"),
        ] {
            let message = with(from, to);
            assert!(message.contains(says), "{to}: {message}");
        }
        for text in ["", "   ", "just a word", "[1, 2]", "a: [", "\u{0}"] {
            assert!(Config::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            text += &format!("a{i}: &a{i} [{refs}]\n");
        }
        text += "nc: 2\nbackbone: *a11\nhead: []\n";
        assert!(Config::parse(&text).is_err());
    }
}
