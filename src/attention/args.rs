//! What a mechanism or a block is built from: arguments of a row, hyperparameters that its
//! checkpoint states itself, and notes on what was decided between them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_nn::VarBuilder;

/// One argument of a YAML row.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// `None`, `null` or `~`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A word.
    Word(String),
    /// A list.
    List(Vec<Arg>),
}

impl Arg {
    /// The argument as a person would write it.
    pub fn show(&self) -> String {
        match self {
            Arg::None => "None".into(),
            Arg::Bool(true) => "True".into(),
            Arg::Bool(false) => "False".into(),
            Arg::Int(v) => v.to_string(),
            Arg::Float(v) => v.to_string(),
            Arg::Word(w) => w.clone(),
            Arg::List(items) => {
                let items: Vec<_> = items.iter().map(Arg::show).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

/// Hyperparameters that a pickled module carries itself, by dotted path below its row:
/// `n_win`, `stoken_refine.num_heads`, `cv1.act`. They win over the arguments of the row.
pub type Attributes = BTreeMap<String, Arg>;

/// Takes down what was decided where a definition leaves a choice.
#[derive(Debug, Default)]
pub struct Notes {
    row: String,
    taken: RefCell<Vec<String>>,
}

impl Notes {
    /// From here on the notes are about this row.
    pub fn start_row(&mut self, row: usize, module: &str) {
        self.row = format!("row {row} ({module})");
    }

    /// Takes down one sentence about the row.
    pub fn add(&self, sentence: impl std::fmt::Display) {
        let note = match self.row.as_str() {
            "" => sentence.to_string(),
            row => format!("{row}: {sentence}"),
        };
        self.taken.borrow_mut().push(note);
    }

    /// All sentences.
    pub fn finish(self) -> Vec<String> {
        self.taken.into_inner()
    }
}

/// What a mechanism is built from.
pub struct BuildArgs<'a> {
    /// Module name of the row.
    pub module: &'a str,
    /// Channels of the input feature map.
    pub channels: usize,
    /// Arguments of the row.
    pub args: &'a [Arg],
    /// Hyperparameters that the checkpoint states itself.
    pub attributes: &'a Attributes,
    /// Where decisions are taken down.
    pub notes: &'a Notes,
    /// Weights of the row.
    pub weights: VarBuilder<'a>,
}

impl<'a> BuildArgs<'a> {
    /// The attribute of this name, or else argument `i` of the row.
    pub fn arg(&self, i: usize, name: &'a str) -> Given<'a> {
        Given::new(self.attributes, name).or(self.args.get(i))
    }

    /// The attribute of this name; for what no argument of the row says.
    pub fn attribute(&self, name: &'a str) -> Given<'a> {
        Given::new(self.attributes, name)
    }

    /// The shape of a tensor of the row, if the weights have it.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        // A builder that makes its tensors up cannot say.
        let tensor = self
            .weights
            .contains_tensor(name)
            .then(|| self.weights.get_unchecked(name));
        Some(tensor?.ok()?.dims().to_vec())
    }
}

/// A hyperparameter as it was given, if it was.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// What was given; `None` counts as nothing.
    pub value: Option<&'a Arg>,
}

impl<'a> Given<'a> {
    /// What the attributes say under this name.
    pub fn new(attributes: &'a Attributes, name: &'a str) -> Self {
        let value = attributes.get(name);
        Self { name, value }.or(None)
    }

    /// The same, or `other` where nothing was given.
    pub fn or(self, other: Option<&'a Arg>) -> Self {
        let value = self.value.or(other).filter(|v| **v != Arg::None);
        Self { value, ..self }
    }

    /// The same, or what was given under another name.
    pub fn or_else(self, other: Self) -> Self {
        self.or(other.value)
    }

    fn wrong<T>(self, expected: impl std::fmt::Display) -> Result<T, String> {
        let shown = self.value.map_or("missing".into(), Arg::show);
        Err(format!("{} is {shown}; expected {expected}", self.name))
    }

    /// A count within `1..=max`, or the default.
    ///
    /// # Errors
    /// One sentence, as in all that follow; also where there is neither value nor default.
    pub fn count(self, default: Option<usize>, max: usize) -> Result<usize, String> {
        match (self.value, default) {
            (None, Some(default)) => Ok(default),
            (Some(Arg::Int(v)), _) if *v >= 1 && *v as u64 <= max as u64 => Ok(*v as usize),
            _ => self.wrong(format_args!("a count from 1 to {max}")),
        }
    }

    /// An odd count: the windows of others have no middle.
    pub fn odd(self, default: Option<usize>, max: usize) -> Result<usize, String> {
        match self.count(default, max)? {
            k if k.is_multiple_of(2) => self.wrong("an odd count"),
            k => Ok(k),
        }
    }

    /// A positive number, if one was given.
    pub fn number(self) -> Result<Option<f64>, String> {
        match self.value {
            None => Ok(None),
            Some(Arg::Float(v)) if *v > 0.0 && v.is_finite() => Ok(Some(*v)),
            Some(Arg::Int(v)) if *v > 0 => Ok(Some(*v as f64)),
            _ => self.wrong("a number above 0"),
        }
    }

    /// A factor up to `max`, or the default.
    pub fn factor(self, default: f64, max: f64) -> Result<f64, String> {
        match self.number() {
            Ok(None) => Ok(default),
            Ok(Some(v)) if v <= max => Ok(v),
            _ => self.wrong(format_args!("a factor up to {max}")),
        }
    }

    /// A switch, if one was given.
    pub fn choice(self) -> Result<Option<bool>, String> {
        match self.value {
            None => Ok(None),
            Some(Arg::Bool(b)) => Ok(Some(*b)),
            _ => self.wrong("True or False"),
        }
    }

    /// A switch, or the default.
    pub fn switch(self, default: bool) -> Result<bool, String> {
        Ok(self.choice()?.unwrap_or(default))
    }

    /// A word, or the default.
    pub fn word(self, default: &'a str) -> Result<&'a str, String> {
        match self.value {
            None => Ok(default),
            Some(Arg::Word(word)) => Ok(word),
            _ => self.wrong("a word"),
        }
    }

    /// Height and width of at most `max`; one count stands for a square.
    pub fn size(self, default: [usize; 2], max: usize) -> Result<[usize; 2], String> {
        let side = |v: i64| usize::try_from(v).ok().filter(|v| (1..=max).contains(v));
        let found = match self.value {
            None => Some(default),
            Some(Arg::Int(v)) => side(*v).map(|v| [v; 2]),
            Some(Arg::List(list)) => match list.as_slice() {
                [Arg::Int(h), Arg::Int(w)] => side(*h).zip(side(*w)).map(|(h, w)| [h, w]),
                _ => None,
            },
            _ => None,
        };
        found.map_or_else(
            || self.wrong(format_args!("[height, width], each from 1 to {max}")),
            Ok,
        )
    }
}
