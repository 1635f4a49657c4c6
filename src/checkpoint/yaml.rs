//! A model definition as the text of a YAML file, laid out as people write them: one row a line.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

/// The text of a definition.
pub(super) fn write(definition: &Map<String, Json>) -> String {
    let mut text = String::new();
    let mut rows = 0;
    for (key, value) in definition {
        match (key.as_str(), value) {
            ("backbone" | "head", Json::Array(list)) => {
                let _ = writeln!(text, "\n{key}:");
                for row in list {
                    let _ = writeln!(text, "  - {} # {rows}", flow(row));
                    rows += 1;
                }
            }
            (_, Json::Object(map)) if !map.is_empty() => {
                let _ = writeln!(text, "{}:", name(key));
                for (key, value) in map {
                    let _ = writeln!(text, "  {}: {}", name(key), flow(value));
                }
            }
            _ => {
                let _ = writeln!(text, "{}: {}", name(key), flow(value));
            }
        }
    }
    text
}

/// A value on one line.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let items = map.iter().map(|(k, v)| format!("{}: {}", name(k), flow(v)));
            format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
        }
        // Numbers, switches and null are written as in JSON.
        other => other.to_string(),
    }
}

/// A key. Row numbers stay digits.
fn name(key: &str) -> String {
    match !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()) {
        true => key.to_owned(),
        false => scalar(key),
    }
}

/// A text, quoted unless it cannot be taken for anything else.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    let taken = [
        "null", "none", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    match word && !taken.contains(&text.to_ascii_lowercase().as_str()) {
        true => text.to_owned(),
        false => Json::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yolo::Config;

    #[test]
    fn what_is_written_reads_as_the_same() {
        let definition = json!({
            "nc": 2, "reg_max": 1, "end2end": true, "scale": "n",
            "scales": {"n": [0.33, 0.25, 1024], "s": [0.5, 1e-7, 1024.5]},
            "names": ["a: b # c", "yes"],
            "backbone": [[-1, 1, "Conv", [64, 3, 2]], [-1, 3, "C3k2", [128, false, 0.25]]],
            "head": [
                [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
                [[-1, 0], 1, "Concat", [1]],
                [[1, 3], 1, "Detect", ["nc"]],
            ],
            "attributes": {
                "1": {"n": 3, "cv1.act": "Identity", "add": true, "e": 0.1, "s": [8, 8], "w": null},
                "3": {"odd": "None", "digits": "12", "text": "it's \"x\"\n", "tiny": 1e-300},
            },
        });
        let map = definition.as_object().unwrap();
        let text = write(map);
        assert!(
            text.contains("  - [-1, 3, C3k2, [128, false, 0.25]] # 1\n"),
            "{text}"
        );
        let expected = Config::from_value(definition.clone()).unwrap();
        assert_eq!(Config::parse(&text).unwrap(), expected, "{text}");
    }
}
