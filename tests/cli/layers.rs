//! `attnscope layers`.

use serde_json::{Value, json};

use crate::program::{TINY, attnscope};

fn listing(args: &[&str]) -> Value {
    let ran = attnscope([&["layers", "--json"], args].concat()).quietly_well();
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The knob of a row.
fn knob<'a>(listing: &'a Value, row: usize, name: &str) -> &'a Value {
    let knobs = &listing["layers"][row]["attention"]["knobs"];
    let find = |k: &&Value| k["name"] == name;
    knobs.as_array().unwrap().iter().find(find).unwrap()
}

#[test]
fn the_listing_names_every_row_and_knob() {
    let l = listing(&["--imgsz", "320"]);
    assert_eq!(l["model"], "yolo26n-attn");
    assert_eq!(l["parameters"], 2_856_503);
    assert_eq!(l["heads"], json!(["one-to-one", "one-to-many"]));
    assert_eq!(l["imgsz"], 320);
    assert_eq!(listing(&[])["imgsz"], l["best_imgsz"]);
    let layers = l["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 28);
    let rows = |with: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        let rows = layers.iter().filter(|l| with(l));
        rows.map(|l| l["row"].as_u64().unwrap()).collect()
    };
    let attention = rows(&|l| l.get("attention").is_some());
    assert_eq!(attention, [5, 8, 12, 19, 25, 26]);
    assert_eq!(layers[0]["from"], json!([-1]));
    assert_eq!(layers[27]["from"], json!([19, 26, 25]));
    assert_eq!(layers[8]["attention"]["mechanism"], "routing");
    assert_eq!(layers[8]["attention"]["map"], json!([20, 20]));
    assert_eq!(layers[19]["attention"]["knobs"], json!([]));
    // What a row puts out, and what it takes: 16 filters of 3 × 3 over 3 colours, and a norm.
    assert_eq!(layers[0]["shape"], json!([16, 160, 160]));
    assert_eq!(layers[0]["bytes"], 4 * 16 * 160 * 160);
    assert_eq!(layers[0]["parameters"], 16 * 27 + 2 * 16);
    assert!(layers[27].get("shape").is_none() && layers[27].get("bytes").is_none());
    let parameters = layers.iter().map(|l| l["parameters"].as_u64().unwrap());
    assert_eq!(parameters.sum::<u64>(), 2_856_503);
}

#[test]
fn knobs_state_default_range_and_what_was_trained() {
    let l = listing(&["--imgsz", "320"]);
    for (row, name, default, min, max, trained) in [
        (
            5,
            "stoken_size",
            json!([8, 8]),
            json!([1, 1]),
            json!([40, 40]),
            json!([2, 12]),
        ),
        (5, "n_iter", json!(1), json!(1), json!(10), json!([1, 3])),
        (8, "n_win", json!(8), json!(1), json!(20), json!([4, 10])),
        (8, "topk", json!(4), json!(1), json!(64), json!([1, 16])),
    ] {
        let k = knob(&l, row, name);
        assert_eq!(
            (&k["default"], &k["min"], &k["max"]),
            (&default, &min, &max),
            "{name}"
        );
        assert_eq!(k["trained"], trained, "{name}");
        for text in ["help", "why_min", "why_max"] {
            assert!(k[text].as_str().unwrap().len() > 8, "{name} {text}");
        }
    }
}

#[test]
fn ranges_follow_the_input_size_and_the_model() {
    let large = listing(&["--imgsz", "640"]);
    assert_eq!(knob(&large, 5, "stoken_size")["max"], json!([80, 80]));
    assert_eq!(knob(&large, 8, "n_win")["max"], 40);
    // Cells of one pixel on an 80 × 80 map would need 8 · 6400² weights.
    assert_ne!(knob(&large, 5, "stoken_size")["min"], json!([1, 1]));

    let tiny = listing(&["--model", TINY]);
    assert_eq!(tiny["model"], "tiny");
    assert_eq!(tiny["classes"], json!(["circle", "square", "star"]));
    assert_eq!(knob(&tiny, 8, "n_iter")["default"], 2);
    assert_eq!(knob(&tiny, 8, "n_iter")["trained"], json!(null));
}

#[test]
fn the_list_for_people_says_the_same() {
    let text = attnscope(["layers", "--imgsz", "320"])
        .quietly_well()
        .stdout;
    for line in [
        "yolo26n-attn: 28 layers, 2856503 parameters, 10 classes, heads one-to-one and one-to-many",
        "8.topk = 4 (1 to 64, trained 1 to 16)",
        "5.stoken_size = 8x8 (1x1 to 40x40, trained 2 to 12)",
        "no knobs",
        "row  from         module                         output stride parameters     size",
        "  0  -1           Conv                       16×160×160      2        464   1.6 MB",
    ] {
        assert!(text.contains(line), "no '{line}' in\n{text}");
    }
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let ran = attnscope(["layers", "--model", "no/such/model"]);
    assert_eq!(ran.code, 1);
    let expected = "attnscope: no/such/model: there is no such file or folder; expected a checkpoint (.pt), or a folder with model.yaml";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
    assert_eq!((ran.errors().len(), ran.stdout.as_str()), (1, ""));
}
