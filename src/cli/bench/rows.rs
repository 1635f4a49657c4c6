//! What was measured: rows of values with a name that does not change.

use serde::Serialize;

/// The unit of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Megabytes of 2²⁰ bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// A time divided by another of the same round.
    #[serde(rename = "ratio")]
    Ratio,
}

/// One thing that is measured.
#[derive(Debug, Clone)]
pub struct Row {
    /// Stable name, such as `knob.topk.back`.
    pub key: String,
    /// What is in the value, in words.
    pub what: String,
    /// Its unit.
    pub unit: Unit,
    /// What the bundled model should need at most on two threads, where that is stated.
    pub goal: Option<f64>,
    /// One value per round, in the order they were taken.
    pub values: Vec<f64>,
}

/// The time of one layer of the network.
#[derive(Debug, Clone)]
pub struct LayerTime {
    /// Row of the network.
    pub row: usize,
    /// Module name as in the file.
    pub module: String,
    /// One value per round in milliseconds.
    pub values: Vec<f64>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// In the order of measuring.
    pub rows: Vec<Row>,
    /// The layers of the network, if it was run alone.
    pub layers: Vec<LayerTime>,
}

impl Rows {
    /// The row of that name.
    pub fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.key == key)
    }

    /// Adds a value to the row of that name, which is made when it is new.
    pub(super) fn add(&mut self, key: &str, what: &str, unit: Unit, goal: Option<f64>, value: f64) {
        match self.rows.iter_mut().find(|r| r.key == key) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row {
                key: key.to_owned(),
                what: what.to_owned(),
                unit,
                goal,
                values: vec![value],
            }),
        }
    }

    /// Adds the time of one layer.
    pub(super) fn add_layer(&mut self, row: usize, module: &str, ms: f64) {
        match self.layers.iter_mut().find(|l| l.row == row) {
            Some(layer) => layer.values.push(ms),
            None => self.layers.push(LayerTime {
                row,
                module: module.to_owned(),
                values: vec![ms],
            }),
        }
    }
}

/// Median, smallest and largest of values; `None` of nothing.
pub fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let median = match sorted.len().is_multiple_of(2) {
        true => (upper + sorted[middle - 1]) / 2.0,
        false => upper,
    };
    Some([median, sorted[0], sorted[sorted.len() - 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(spread(&[4.0, 1.0, 3.0]), Some([3.0, 1.0, 4.0]));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some([3.0, 1.0, 9.0]));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn values_gather_under_their_name() {
        let mut rows = Rows::default();
        for v in [1.0, 2.0] {
            rows.add("a", "", Unit::Ratio, None, v);
            rows.add_layer(7, "Conv", v);
        }
        assert_eq!(rows.row("a").unwrap().values, [1.0, 2.0]);
        assert_eq!(rows.layers[0].values, [1.0, 2.0]);
        assert!(rows.row("b").is_none());
    }
}
