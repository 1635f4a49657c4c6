//! The model card: `card.json` beside the weights. Everything in it is optional.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attention::{KnobValue, Knobs};
use crate::yolo::Head;

/// What the card says that the program uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name of the model.
    pub name: Option<String>,
    /// Class names in order.
    pub classes: Option<Vec<String>>,
    /// Input side with the best results.
    pub best_size: Option<usize>,
    /// Head with the best results.
    pub best_head: Option<Head>,
    /// Range of each knob that the weights were trained with, by knob name.
    pub trained: BTreeMap<String, [KnobValue; 2]>,
    /// Whether the weights are random numbers: `weights` says so.
    pub random: bool,
}

impl Card {
    /// Reads a card. Keys that are absent or of another form are passed over: the card is for
    /// people first.
    ///
    /// # Errors
    /// If the text is not JSON.
    pub fn parse(text: &str) -> Result<Self, String> {
        let card: Value = serde_json::from_str(text).map_err(|e| format!("not JSON ({e})"))?;
        let classes = card.get("classes").and_then(Value::as_array).map(|list| {
            list.iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                .collect()
        });
        let best_size = card
            .pointer("/input/recommended/0")
            .and_then(Value::as_u64)
            .filter(|s| (32..=4096).contains(s))
            .map(|s| s as usize);
        let best_head = card
            .get("best_head")
            .and_then(|v| serde_json::from_value(v.clone()).ok());
        let trained = card
            .pointer("/training/knobs")
            .and_then(|v| serde_json::from_value(v.clone()).ok())
            .unwrap_or_default();
        Ok(Self {
            name: card.get("name").and_then(Value::as_str).map(str::to_owned),
            classes,
            best_size,
            best_head,
            trained,
            random: card
                .get("weights")
                .and_then(Value::as_str)
                .is_some_and(|w| w.contains("random")),
        })
    }

    /// The knobs that stand outside the range the weights were trained with, each as a sentence.
    /// A knob that the card does not name gives none.
    pub fn untrained(&self, knobs: &Knobs) -> Vec<String> {
        knobs
            .iter()
            .filter_map(|(name, value)| {
                let [low, high] = self.trained.get(name)?.map(KnobValue::pair);
                let inside = |i: usize| (low[i]..=high[i]).contains(&value.pair()[i]);
                (!(inside(0) && inside(1))).then(|| {
                    format!(
                        "{name} {value} is outside the trained range {} to {}",
                        low[0], high[0]
                    )
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_read() {
        let card = Card::parse(
            r#"{"name": "m", "classes": ["a", 2], "best_head": "one-to-many", "input": {"recommended": [320, 320]},
                "training": {"knobs": {"topk": [1, 16], "stoken_size": [2, 12]}}}"#,
        )
        .unwrap();
        assert_eq!(card.best_size, Some(320));
        assert_eq!(card.best_head, Some(Head::OneToMany));
        assert_eq!(card.classes, Some(vec!["a".to_owned(), "2".to_owned()]));
        assert_eq!(card.trained.len(), 2);
        assert_eq!(Card::parse("{}").unwrap(), Card::default());
        assert!(Card::parse("no").is_err());
    }

    #[test]
    fn knobs_outside_the_trained_range_are_named() {
        let card = Card::parse(r#"{"training": {"knobs": {"stoken_size": [2, 12]}}}"#).unwrap();
        let at = |v| {
            Knobs::from([
                ("stoken_size".to_owned(), v),
                ("topk".to_owned(), KnobValue::Int(99)),
            ])
        };
        assert!(card.untrained(&at(KnobValue::Pair([2, 12]))).is_empty());
        let said = card.untrained(&at(KnobValue::Pair([8, 13])));
        assert_eq!(
            said,
            ["stoken_size 8x13 is outside the trained range 2 to 12"]
        );
    }
}
