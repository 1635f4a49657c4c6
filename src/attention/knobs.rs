//! Knobs: hyperparameters that carry no weights and can be turned live. Raw values from a slider
//! or the command line become legal values here and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The value of one knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KnobValue {
    /// A count, such as `topk`.
    Int(usize),
    /// Height and width, such as `stoken_size`.
    Pair([usize; 2]),
}

impl KnobValue {
    /// The count, or the height of a pair.
    pub fn int(self) -> usize {
        match self {
            Self::Int(v) => v,
            Self::Pair([h, _]) => h,
        }
    }

    /// The pair; a count stands for a square.
    pub fn pair(self) -> [usize; 2] {
        match self {
            Self::Int(v) => [v, v],
            Self::Pair(p) => p,
        }
    }

    /// This value in the same form (count or pair) as `like`; `None` if a true pair is asked to
    /// be a count.
    fn shaped_like(self, like: Self) -> Option<Self> {
        match (self, like) {
            (v, Self::Pair(_)) => Some(Self::Pair(v.pair())),
            (Self::Int(v), Self::Int(_)) => Some(Self::Int(v)),
            (Self::Pair([h, w]), Self::Int(_)) => (h == w).then_some(Self::Int(h)),
        }
    }
}

impl fmt::Display for KnobValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Pair([h, w]) => write!(f, "{h}x{w}"),
        }
    }
}

impl FromStr for KnobValue {
    type Err = String;

    /// Reads `4`, `6x4` or `6,4` (height first).
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| {
            t.trim().parse::<usize>().map_err(|_| {
                format!("'{text}' is not a knob value; expected a count such as 4, or height x width such as 6x4")
            })
        };
        match text.split_once(['x', ',', '×']) {
            Some((h, w)) => Ok(Self::Pair([number(h)?, number(w)?])),
            None => Ok(Self::Int(number(text)?)),
        }
    }
}

/// Chosen values by knob name. A knob that is not named stands at its default.
pub type Knobs = BTreeMap<String, KnobValue>;

/// One knob of one attention layer, with the range that is legal on the feature map at hand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Knob {
    /// The name users' files carry, e.g. `stoken_size`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// The value the model was built with.
    pub default: KnobValue,
    /// Smallest legal value.
    pub min: KnobValue,
    /// Largest legal value.
    pub max: KnobValue,
    /// Why not smaller.
    pub why_min: String,
    /// Why not larger.
    pub why_max: String,
}

/// A value that had to be moved into the legal range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clamp {
    /// Knob name.
    pub knob: String,
    /// What was asked for.
    pub asked: KnobValue,
    /// What is used.
    pub used: KnobValue,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Clamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} was moved to {}: {}",
            self.knob, self.asked, self.used, self.reason
        )
    }
}

impl Knob {
    /// The wanted value moved into the legal range, with the reason if it had to move.
    pub fn clamp(&self, wanted: Option<KnobValue>) -> (KnobValue, Option<Clamp>) {
        let asked = wanted.unwrap_or(self.default);
        let Some(shaped) = asked.shaped_like(self.default) else {
            // The model's own value may itself be too much for this map.
            let (value, _) = self.clamp(None);
            let clamp = self.moved(asked, value, "it takes one count".into());
            return (value, Some(clamp));
        };
        let (lo, hi) = (self.min.pair(), self.max.pair());
        let [h, w] = shaped.pair();
        let used = [
            h.clamp(lo[0], hi[0].max(lo[0])),
            w.clamp(lo[1], hi[1].max(lo[1])),
        ];
        let value = match shaped {
            KnobValue::Int(_) => KnobValue::Int(used[0]),
            KnobValue::Pair(_) => KnobValue::Pair(used),
        };
        if used == [h, w] {
            return (value, None);
        }
        let raised = used[0] > h || used[1] > w;
        let reason = if raised { &self.why_min } else { &self.why_max };
        (value, Some(self.moved(shaped, value, reason.clone())))
    }

    fn moved(&self, asked: KnobValue, used: KnobValue, reason: String) -> Clamp {
        Clamp {
            knob: self.name.to_owned(),
            asked,
            used,
            reason,
        }
    }
}

/// Every knob at a legal value, and what had to be moved for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Legal {
    /// All knobs of the layer, none missing.
    pub values: Knobs,
    /// The ranges at these values, in the order they are shown.
    pub knobs: Vec<Knob>,
    /// Values that were moved, with reasons.
    pub clamps: Vec<Clamp>,
}

impl Legal {
    /// Adds a knob: clamps what is wanted and returns the value in use.
    pub fn add(&mut self, knob: Knob, wanted: &Knobs) -> KnobValue {
        let (value, clamp) = knob.clamp(wanted.get(knob.name).copied());
        self.values.insert(knob.name.to_owned(), value);
        self.clamps.extend(clamp);
        self.knobs.push(knob);
        value
    }

    /// Moves a knob that was added on to another value of its range, which has gaps.
    pub fn settle(&mut self, name: &str, used: KnobValue, reason: String) {
        let before = self.values.insert(name.to_owned(), used);
        let place = self.clamps.iter().position(|c| c.knob == name);
        let asked = place.map(|i| self.clamps.remove(i).asked).or(before);
        self.clamps.push(Clamp {
            knob: name.to_owned(),
            asked: asked.unwrap_or(used),
            used,
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knob(default: KnobValue, min: usize, max: usize) -> Knob {
        Knob {
            name: "k",
            help: "",
            default,
            min: KnobValue::Int(min),
            max: KnobValue::Int(max),
            why_min: "low".into(),
            why_max: "high".into(),
        }
    }

    #[test]
    fn values_are_read_and_written_the_same() {
        for text in ["4", "6x4"] {
            assert_eq!(text.parse::<KnobValue>().unwrap().to_string(), text);
        }
        assert_eq!("6,4".parse::<KnobValue>(), Ok(KnobValue::Pair([6, 4])));
        for bad in ["", "x", "-1", "4x", "1e3", "99999999999999999999999"] {
            assert!(bad.parse::<KnobValue>().is_err(), "{bad}");
        }
    }

    #[test]
    fn clamping_gives_the_reason_of_the_side_that_was_hit() {
        let k = knob(KnobValue::Int(4), 1, 9);
        assert_eq!(k.clamp(None), (KnobValue::Int(4), None));
        let (v, c) = k.clamp(Some(KnobValue::Int(0)));
        assert_eq!((v, c.unwrap().reason.as_str()), (KnobValue::Int(1), "low"));
        let (v, c) = k.clamp(Some(KnobValue::Int(10)));
        assert_eq!((v, c.unwrap().reason.as_str()), (KnobValue::Int(9), "high"));
    }

    #[test]
    fn a_count_stands_for_a_square_but_a_rectangle_is_no_count() {
        let pair = knob(KnobValue::Pair([8, 8]), 2, 40);
        assert_eq!(
            pair.clamp(Some(KnobValue::Int(5))).0,
            KnobValue::Pair([5, 5])
        );
        let (v, c) = pair.clamp(Some(KnobValue::Pair([1, 50])));
        assert_eq!(v, KnobValue::Pair([2, 40]));
        assert!(c.is_some());
        let int = knob(KnobValue::Int(4), 1, 9);
        assert_eq!(
            int.clamp(Some(KnobValue::Pair([3, 2]))).0,
            KnobValue::Int(4)
        );
    }
}
