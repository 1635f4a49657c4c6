//! `evaluate`: the same pictures labelled in every form, what is printed, and what is refused.

use std::path::{Path, PathBuf};

use attnscope::measure::{AveragePrecision, Truth};
use attnscope::picture::Photo;
use attnscope::yolo::Detection;
use serde_json::{Value, json};

use crate::program::{CAT, COFFEE, Out, Ran, TINY, attnscope, detections};

/// The cat of 451 × 300 pixels, by eye.
const BOX: [f64; 4] = [6.0, 4.0, 450.0, 300.0];

/// A data set made for one test: the cat as `a.png`, and a cup of coffee as `b.png`.
struct Data(Out);

impl Data {
    /// The pictures in a folder of it, without labels.
    fn pictures(folder: &str) -> Self {
        let data = Self(Out::new());
        for (from, to) in [(CAT, "a.png"), (COFFEE, "b.png")] {
            data.write(&format!("{folder}/{to}"), &std::fs::read(from).unwrap());
        }
        data
    }

    /// `labels.jsonl`, with the names of its two classes.
    fn jsonl() -> Self {
        let data = Self::pictures(".");
        data.write("labels.jsonl", labels().as_bytes());
        data.write("data.yaml", b"names: [dog, cat]\n");
        data
    }

    /// COCO annotations after `change`.
    fn coco(change: impl FnOnce(&mut Value)) -> Self {
        let data = Self::pictures("val2017");
        let [x1, y1, x2, y2] = BOX;
        let mut annotations = json!({
            "images": [
                {"id": 8, "file_name": "b.png"},
                {"id": 7, "file_name": "a.png", "width": 451, "height": 300},
            ],
            "annotations": [{"image_id": 7, "category_id": 17, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}],
            "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        });
        change(&mut annotations);
        let text = annotations.to_string();
        data.write("annotations/instances_val2017.json", text.as_bytes());
        data
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `evaluate` on it; `args` are separated by spaces.
    fn evaluate(&self, args: &str) -> Ran {
        evaluate(self.path(), args)
    }
}

fn evaluate(data: &Path, args: &str) -> Ran {
    let fixed = ["evaluate", "--device", "cpu", "--data"].map(PathBuf::from);
    let args = args.split_whitespace().map(PathBuf::from);
    attnscope(fixed.into_iter().chain([data.to_owned()]).chain(args))
}

fn labels() -> String {
    let [x1, y1, x2, y2] = BOX;
    let cup = Photo::open(Path::new(COFFEE)).unwrap();
    let cat = json!({"file": "a.png", "width": 451, "height": 300, "source": "x", "boxes": [[1, x1, y1, x2, y2]]});
    let cup = json!({"file": "b.png", "width": cup.width, "height": cup.height, "labelled": [1], "boxes": []});
    format!("{cat}\n{cup}\n")
}

fn report(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The class `cat` of the only head.
fn cat(report: &Value) -> Value {
    let classes = report["heads"][0]["classes"].as_array().unwrap();
    let cat = classes.iter().find(|c| c["class"] == "cat");
    cat.unwrap().clone()
}

#[test]
fn every_form_of_labels_gives_the_same_numbers() {
    let jsonl = Data::jsonl();
    let expected = report(&jsonl.evaluate("--json").quietly_well());
    let of_cat = cat(&expected);
    assert_eq!(
        (&of_cat["pictures"], &of_cat["boxes"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(of_cat["ap50"], json!(1.0));
    assert_eq!(expected["heads"][0]["map50"], json!(1.0));
    assert_eq!(expected["data"]["format"], "labels.jsonl");
    let dog = &expected["heads"][0]["classes"][5];
    assert_eq!((&dog["class"], &dog["ap50"]), (&json!("dog"), &json!(null)));
    // Where the cup is, dogs are not labelled; people nowhere.
    assert_eq!(dog["pictures"], json!(1));
    assert_eq!(expected["heads"][0]["classes"][0]["pictures"], json!(0));

    let yolo = |images: &str, labels: &str| {
        let data = Data::pictures(images);
        let [x1, y1, x2, y2] = BOX;
        let (x, y) = ((x1 + x2) / 2.0 / 451.0, (y1 + y2) / 2.0 / 300.0);
        let (w, h) = ((x2 - x1) / 451.0, (y2 - y1) / 300.0);
        let row = format!("1 {x} {y} {w} {h}\n");
        data.write(&format!("{labels}/a.txt"), row.as_bytes());
        data.write("data.yaml", b"nc: 2\nnames: {0: dog, 1: Cat}\n");
        data
    };
    let (flat, split) = (yolo("images", "labels"), yolo("images/val", "labels/val"));
    let exported = yolo("valid/images", "valid/labels");
    let coco = Data::coco(|_| {});
    let unpacked = Data::pictures("val");
    unpacked.write("val/labels.jsonl", labels().as_bytes());
    unpacked.write("val/data.yaml", b"names: [dog, cat]\n");
    let shard = Data::jsonl();
    pack(&shard, "val-00.tar");
    let named = |data: &Data, name: &str| data.path().join(name);
    for (data, format) in [
        (flat.path().to_owned(), "YOLO text"),
        (split.path().to_owned(), "YOLO text"),
        (named(&split, "images/val"), "YOLO text"),
        (exported.path().to_owned(), "YOLO text"),
        (named(&exported, "valid"), "YOLO text"),
        (coco.path().to_owned(), "COCO JSON"),
        (
            named(&coco, "annotations/instances_val2017.json"),
            "COCO JSON",
        ),
        (unpacked.path().to_owned(), "labels.jsonl"),
        (shard.path().to_owned(), "labels.jsonl"),
        (named(&shard, "val-00.tar"), "labels.jsonl"),
    ] {
        let found = report(&evaluate(&data, "--json").quietly_well());
        assert_eq!(found["data"]["format"], format, "{data:?}");
        for key in ["ap50", "ap50_95", "boxes", "pictures"] {
            assert_eq!(cat(&found)[key], of_cat[key], "{key} of {data:?}");
        }
    }
}

/// Moves pictures and labels into an archive in the same folder.
fn pack(data: &Data, name: &str) {
    let mut builder = tar::Builder::new(std::fs::File::create(data.path().join(name)).unwrap());
    for part in ["labels.jsonl", "a.png", "b.png"] {
        let path = data.path().join(part);
        builder.append_path_with_name(&path, part).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    builder.finish().unwrap();
}

#[test]
fn what_a_head_finds_is_right_with_that_head() {
    let out = Out::new();
    out.analyze(&format!(
        "{CAT} --model {TINY} --head one-to-one --conf 0.001"
    ));
    let found = detections(&out.report("chelsea"));
    assert!(found.len() > 20, "{}", found.len());
    let names = ["circle", "square", "star"];
    let found = found.iter().map(|(class, score, rect)| Detection {
        rect: rect.map(|v| v as f32),
        class: names.iter().position(|n| n == class).unwrap(),
        score: *score as f32,
        anchor: 0,
        scores: Vec::new(),
    });
    let found: Vec<Detection> = found.collect();
    // Some boxes lie beside the picture and have no area in it: these are its only mistakes.
    let there = found
        .iter()
        .filter(|d| d.rect[2] > d.rect[0] && d.rect[3] > d.rect[1]);
    let truths = there.map(|d| Truth {
        rect: d.rect.map(f64::from),
        class: d.class,
        crowd: false,
    });
    let truths: Vec<Truth> = truths.collect();
    let mut expected = AveragePrecision::new(3);
    expected.add(&truths, &[true; 3], &found);
    let expected = expected.scores().map50_95().unwrap();
    assert!((0.9..1.0).contains(&expected), "{expected}");
    let boxes = truths.iter().map(|t| (t.class, t.rect));
    let boxes: Vec<Value> = boxes
        .map(|(class, [x1, y1, x2, y2])| json!([class, x1, y1, x2, y2]))
        .collect();
    let data = Data::pictures(".");
    let line = json!({"file": "a.png", "width": 451, "height": 300, "boxes": boxes});
    data.write("labels.jsonl", format!("{line}\n").as_bytes());

    let ran = data.evaluate(&format!("--json --head both --model {TINY}"));
    let report = report(&ran);
    let [one, many] = report["heads"].as_array().unwrap().as_slice() else {
        panic!("{report}");
    };
    assert_eq!(
        (&one["head"], &many["head"]),
        (&json!("one-to-one"), &json!("one-to-many"))
    );
    let ours = one["map50_95"].as_f64().unwrap();
    assert!((ours - expected).abs() < 1e-9, "{ours}, not {expected}");
    assert!(many["map50_95"].as_f64().unwrap() < 0.9, "{many}");
    let note = "the data set has no class names: classes are matched by number";
    assert_eq!(report["notes"], json!([note]));
}

#[test]
fn the_table_says_how_it_was_measured() {
    let data = Data::jsonl();
    let args = "--head one-to-many --imgsz 330 --set 8.topk=999 --set 5.stoken_size=16 --limit 1";
    let ran = data.evaluate(args);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("input size 330 was moved to 320"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("layer 8: topk 999 was moved to"),
        "{}",
        ran.stderr
    );
    for words in [
        "at 320x320 on CPU",
        "(labels.jsonl), the first 1 of 2 pictures",
        "layer 5: n_iter 1, stoken_size 16x16",
        "note: layer 5: stoken_size 16x16 is outside the trained range",
        "note: not scored, because the data set does not have them: person, car",
        "one-to-many head, suppression above overlap 0.7; scores above 0.001, at most 300 boxes a picture",
        "pictures    boxes     AP50  AP50-95\n",
        "\nmAP ",
        "1 pictures in ",
    ] {
        assert!(ran.stdout.contains(words), "no '{words}' in {}", ran.stdout);
    }
    let knobs = report(&data.evaluate("--json --set 8.topk=2"));
    assert_eq!(knobs["settings"]["knobs"]["8"]["topk"], 2);
    assert_eq!(knobs["settings"]["conf"], json!(0.001));
    assert_eq!(
        knobs["time"]["ms_per_picture"].as_f64().map(|t| t > 0.0),
        Some(true)
    );
}

#[test]
fn classes_that_the_model_does_not_know_are_left_out_and_named() {
    let data = Data::coco(|coco| {
        coco["categories"][0]["name"] = json!("unicorn");
        let box_of_it = json!({"image_id": 8, "category_id": 18, "bbox": [1, 1, 5, 5]});
        coco["annotations"].as_array_mut().unwrap().push(box_of_it);
    });
    let found = report(&data.evaluate("--json"));
    let notes = found["notes"].to_string();
    assert!(
        notes.contains("does not know them: 1 of 2 classes (unicorn)"),
        "{notes}"
    );
    assert_eq!(cat(&found)["ap50"], json!(1.0));
}

#[test]
fn crowds_need_not_be_found() {
    let data = Data::coco(|coco| {
        let cup = json!({"image_id": 8, "category_id": 17, "bbox": [0, 0, 500, 400], "iscrowd": 1});
        coco["annotations"].as_array_mut().unwrap().push(cup);
    });
    let found = report(&data.evaluate("--json"));
    assert_eq!(
        (&cat(&found)["boxes"], &cat(&found)["ap50"]),
        (&json!(1), &json!(1.0))
    );
}

/// One line that begins with the file, exit 1, and nothing on stdout.
fn assert_refused(ran: &Ran, data: &Path, words: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_eq!(ran.errors().len(), 1, "{}", ran.stderr);
    let start = format!("attnscope: {}", data.display());
    assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
    assert!(ran.stderr.contains(words), "no '{words}' in {}", ran.stderr);
    assert!(ran.stderr.contains("; expected "), "{}", ran.stderr);
}

#[test]
fn labels_that_are_not_as_they_should_be() {
    let changed = |from: &str, to: &str| {
        let data = Data::jsonl();
        let text = labels();
        assert!(text.contains(from), "{from}");
        data.write("labels.jsonl", text.replace(from, to).as_bytes());
        data
    };
    for (from, to, words) in [
        (
            "[[1,",
            "[[7,",
            "labels.jsonl: line 1: class 7; expected a whole number from 0 to 1",
        ),
        (
            "\"labelled\":[1]",
            "\"labelled\":[4]",
            "labels.jsonl: line 2: class 4",
        ),
        (
            "a.png",
            "../a.png",
            "labels.jsonl: line 1: the picture '../a.png' is outside of the folder",
        ),
        (
            "a.png",
            "c.png",
            "c.png: there is no such file; expected the picture that",
        ),
        (
            "451",
            "300",
            "a.png: the picture has 451 × 300 pixels; expected 300 × 300, as in",
        ),
        ("{\"file\":\"b", "{\"file\"", "labels.jsonl: line 2: "),
        (
            "[[1,",
            "[[0,3,2,3,4],[1,",
            "labels.jsonl: line 1: a box from (3, 2) to (3, 4)",
        ),
    ] {
        let data = changed(from, to);
        let ran = data.evaluate("--json");
        assert_refused(&ran, data.path(), words);
    }

    let data = changed("[[1,", "[[1,");
    data.write("a.png", b"no picture");
    assert_refused(
        &data.evaluate(""),
        data.path(),
        "a.png: it is not a picture",
    );
    data.write("data.yaml", b"names: [unicorn, griffin]");
    let words = "none of its classes is one of yolo26n-attn's (unicorn, griffin)";
    assert_refused(&data.evaluate("--model yolo26n-attn"), data.path(), words);
    data.write("data.yaml", b"names: {0: dog, 2: cat}");
    assert_refused(
        &data.evaluate(""),
        data.path(),
        "data.yaml: names must be numbered",
    );
}

#[test]
fn folders_that_are_no_data_sets() {
    let empty = Out::new();
    assert_refused(
        &evaluate(empty.path(), ""),
        empty.path(),
        "no labels were found in it",
    );
    let nowhere = empty.path().join("nowhere");
    assert_refused(
        &evaluate(&nowhere, ""),
        &nowhere,
        "there is no such file or folder",
    );

    let data = Data::pictures("images");
    data.write("labels/other.txt", b"0 0.5 0.5 0.5 0.5");
    assert_refused(
        &data.evaluate(""),
        data.path(),
        "no labels fit the pictures",
    );
    data.write("labels/a.txt", b"6 0.5 0.5 0.5 0.5\n0 0.5 0.5 1.5 0.5\n");
    let words = "labels/a.txt: line 2: the value 1.5; expected class, x, y, width and height";
    assert_refused(&data.evaluate(""), data.path(), words);
    data.write("labels/a.txt", b"99 0.5 0.5 0.5 0.5\n");
    let words = "labels/a.txt: class 99; expected a class of tiny, 0 to 2";
    assert_refused(
        &data.evaluate(&format!("--model {TINY}")),
        data.path(),
        words,
    );

    let crowd = Data::coco(|coco| coco["annotations"][0]["iscrowd"] = json!(1));
    assert_refused(
        &crowd.evaluate(""),
        crowd.path(),
        "its 2 pictures have no box to find",
    );
    let lost = Data::coco(|coco| coco["annotations"][0]["image_id"] = json!(99));
    let words = "instances_val2017.json: annotations[0]: image_id 99 is none of the images";
    assert_refused(&lost.evaluate(""), lost.path(), words);
}

#[test]
fn settings_that_the_model_does_not_have() {
    let data = Data::jsonl();
    let v8 = "models/definitions/yolov8.yaml";
    for (args, words) in [
        ("--set 3.topk=2", "layer 3 is no attention layer"),
        ("--set 8.stoken_size=2", "layer 8 has no knob stoken_size"),
        (
            &format!("--head both --model {v8}"),
            "has no one-to-one head",
        ),
    ] {
        let ran = data.evaluate(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(words), "no '{words}' in {}", ran.stderr);
    }
    let ran = data.evaluate("--limit 0");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn stopped_in_the_middle_it_has_printed_nothing() {
    use std::process::{Command, Stdio};
    let data = Data::jsonl();
    let mut text = String::new();
    for number in 0..400 {
        let name = format!("{number}.png");
        std::fs::hard_link(data.path().join("a.png"), data.path().join(&name)).unwrap();
        text += &labels().lines().next().unwrap().replace("a.png", &name);
        text.push('\n');
    }
    data.write("labels.jsonl", text.as_bytes());
    let child = Command::new(env!("CARGO_BIN_EXE_attnscope"))
        .args(["evaluate", "--imgsz", "640", "--json", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    // Ends it as Ctrl-C does, and is never ignored from the start, as that is for a program that
    // runs in the background.
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), None, "it ended by itself");
    assert_eq!(output.stdout, b"");
}
