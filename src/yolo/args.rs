//! The arguments of a row, read with checks.

use crate::attention::Arg;

/// Arguments in the order in which they are written.
pub(super) struct Args<'a>(pub &'a [Arg]);

impl Args<'_> {
    pub(super) fn count(
        &self,
        i: usize,
        name: &str,
        default: Option<usize>,
        max: usize,
    ) -> std::result::Result<usize, String> {
        match (self.0.get(i), default) {
            (None | Some(Arg::None), Some(d)) => Ok(d),
            (Some(Arg::Int(v)), _) if *v >= 1 && *v as u64 <= max as u64 => Ok(*v as usize),
            (other, _) => {
                let shown = other.map_or("missing".into(), Arg::show);
                Err(format!(
                    "{name} is {shown}; expected a count from 1 to {max}"
                ))
            }
        }
    }

    /// A count whose window has a middle: others would not keep the map's size.
    pub(super) fn odd(
        &self,
        i: usize,
        name: &str,
        default: Option<usize>,
        max: usize,
    ) -> std::result::Result<usize, String> {
        match self.count(i, name, default, max)? {
            k if k.is_multiple_of(2) => Err(format!("{name} is {k}; expected an odd count")),
            k => Ok(k),
        }
    }

    pub(super) fn float(
        &self,
        i: usize,
        name: &str,
        default: f64,
    ) -> std::result::Result<f64, String> {
        match self.0.get(i) {
            None | Some(Arg::None) => Ok(default),
            Some(Arg::Float(v)) if *v > 0.0 && *v <= 4.0 => Ok(*v),
            Some(Arg::Int(v)) if (1..=4).contains(v) => Ok(*v as f64),
            Some(other) => Err(format!(
                "{name} is {}; expected a factor up to 4",
                other.show()
            )),
        }
    }

    pub(super) fn switch(
        &self,
        i: usize,
        name: &str,
        default: bool,
    ) -> std::result::Result<bool, String> {
        match self.0.get(i) {
            None | Some(Arg::None) => Ok(default),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(other) => Err(format!(
                "{name} is {}; expected True or False",
                other.show()
            )),
        }
    }
}
