//! Settings on the command line: what they do, and what is said when they cannot be used.

use serde_json::json;

use crate::program::{CAT, Out, TINY, attnscope, cat, detections};

#[test]
fn knobs_are_applied() {
    let out = Out::new();
    let args =
        "--imgsz 320 --set 5.stoken_size=6x4 --set 5.n_iter=3 --set 8.n_win=5 --set 8.topk=2";
    out.analyze(&format!("{CAT} {args}")).quietly_well();
    let settings = &out.report("chelsea")["settings"];
    let knobs = json!({
        "5": {"n_iter": 3, "stoken_size": [6, 4]},
        "8": {"n_win": 5, "topk": 2},
        "12": {},
        "19": {},
        "25": {},
        "26": {"n_win": 5, "topk": 4},
    });
    assert_eq!(settings["knobs"], knobs);
    assert_eq!(settings["clamped"], json!({}));

    let traces = out.traces("chelsea");
    let shape = |name: &str| traces[name].dims().to_vec();
    // 40 rows in cells of 6 are padded to 42: 7 × 10 super tokens.
    for i in 0..3 {
        assert_eq!(shape(&format!("L5.sta.affinity_it{i}")), [9, 42, 40]);
    }
    assert!(!traces.contains_key("L5.sta.affinity_it3"));
    assert_eq!(shape("L5.sta.mhsa"), [8, 70, 70]);
    // 20 × 20 in 5 × 5 regions of 16 tokens, each reading from two.
    assert_eq!(shape("L8.bra.affinity_r"), [25, 25]);
    assert_eq!(shape("L8.bra.r_idx"), [25, 2]);
    assert_eq!(shape("L8.bra.attn_region24"), [4, 16, 32]);
    assert_ne!(
        detections(&out.report("chelsea")),
        detections(&cat().report("chelsea")),
        "knobs change what is found"
    );
}

#[test]
fn the_last_of_equal_settings_counts() {
    let out = Out::new();
    let args = format!("{CAT} --imgsz 64 --set 8.n_win=2 --set 8.n_win=3");
    out.analyze(&args).quietly_well();
    assert_eq!(out.report("chelsea")["settings"]["knobs"]["8"]["n_win"], 3);
}

#[test]
fn illegal_values_are_moved_and_the_reason_is_told() {
    let out = Out::new();
    let args =
        "--imgsz 100 --set 8.n_win=2 --set 8.topk=999 --set 5.stoken_size=0 --set 5.n_iter=3x2";
    let ran = out.analyze(&format!("{CAT} {args}"));
    assert_eq!(ran.code, 0);
    let errors = ran.errors();
    for said in [
        "attnscope: input size 100 was moved to 96: it must be a multiple of 32 from 32 to 1280",
        "attnscope: layer 5: stoken_size 0x0 was moved to 1x1: a cell has at least one pixel",
        "attnscope: layer 5: n_iter 3x2 was moved to 1: it takes one count",
    ] {
        assert!(errors.contains(&said), "{said} is not in {errors:?}");
    }
    let topk = errors.iter().find(|e| e.contains("topk")).unwrap();
    assert!(
        topk.starts_with("attnscope: layer 8: topk 999 was moved to 4: "),
        "{topk}"
    );
    assert_eq!(errors.len(), 4, "{errors:?}");

    let settings = &out.report("chelsea")["settings"];
    assert_eq!(settings["imgsz"], json!([96, 96]));
    let clamped = &settings["clamped"];
    assert_eq!(clamped["input"][0]["asked"], 100);
    assert_eq!(clamped["5"][0]["used"], json!([1, 1]));
    let moved = &clamped["8"][0];
    assert_eq!(
        (&moved["knob"], &moved["asked"], &moved["used"]),
        (&json!("topk"), &json!(999), &json!(4))
    );
    assert!(topk.ends_with(moved["reason"].as_str().unwrap()));
    assert_eq!(settings["knobs"]["8"], json!({"n_win": 2, "topk": 4}));
    assert_eq!(out.traces("chelsea")["L8.bra.r_idx"].dims(), [4, 4]);
}

#[test]
fn values_that_the_weights_were_not_trained_with_are_named() {
    let out = Out::new();
    out.analyze(&format!("{CAT} --set 8.topk=40"))
        .quietly_well();
    let settings = &out.report("chelsea")["settings"];
    let untrained = json!({"8": ["topk 40 is outside the trained range 1 to 16"]});
    assert_eq!(settings["untrained"], untrained);
}

#[test]
fn both_heads_find_the_cat() {
    let out = Out::new();
    out.analyze(&format!("{CAT} --imgsz 320 --head one-to-one"))
        .quietly_well();
    assert_eq!(out.report("chelsea")["settings"]["head"], "one-to-one");
    let one = detections(&out.report("chelsea"));
    let many = detections(&cat().report("chelsea"));
    assert_eq!(one[0].0, "cat");
    assert_eq!(many[0].0, "cat");
    assert_ne!(one, many, "the heads have weights of their own");
    // The same cat: the boxes overlap by more than nine tenths.
    let ([a1, b1, a2, b2], [c1, d1, c2, d2]) = (one[0].2, many[0].2);
    let common = (a2.min(c2) - a1.max(c1)) * (b2.min(d2) - b1.max(d1));
    let both = (a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - common;
    assert!(common / both > 0.9, "{common} of {both}");
    // Which head is read changes no trace.
    let traces = |out: &Out| out.contents("chelsea")["traces.npz"].clone();
    assert!(traces(&out) == traces(cat()));
}

#[test]
fn thresholds_decide_what_is_listed() {
    let out = Out::new();
    out.analyze(&format!("{CAT} --conf 0.95")).quietly_well();
    assert!(detections(&out.report("chelsea")).is_empty());
    let low = Out::new();
    low.analyze(&format!("{CAT} --conf 0.001")).quietly_well();
    let found = detections(&low.report("chelsea"));
    assert!(found.len() > 1);
    assert!(found.windows(2).all(|w| w[0].1 >= w[1].1), "best first");
    assert!(found.iter().all(|d| d.1 > 0.001));
}

#[test]
fn a_large_and_an_odd_input_size() {
    let out = Out::new();
    out.analyze(&format!("{CAT} --imgsz 640")).quietly_well();
    let traces = out.traces("chelsea");
    assert_eq!(traces["L5.sta.affinity_it0"].dims(), [9, 80, 80]);
    assert_eq!(traces["L8.bra.attn_region63"].dims(), [4, 25, 100]);
    assert_eq!(traces["L19.psa.sw"].dims(), [80, 80]);

    let out = Out::new();
    let ran = out.analyze(&format!("{CAT} --imgsz 333"));
    assert_eq!(ran.code, 0);
    let said =
        "attnscope: input size 333 was moved to 320: it must be a multiple of 32 from 32 to 1280";
    assert_eq!(ran.errors(), [said]);
    let same = |out: &Out| out.contents("chelsea")["traces.npz"].clone();
    assert!(same(&out) == same(cat()), "333 is analysed as 320");
}

#[test]
fn a_model_folder_of_ones_own() {
    let by_folder = Out::new();
    by_folder
        .analyze(&format!("{CAT} --model {TINY}"))
        .quietly_well();
    let report = by_folder.report("chelsea");
    assert_eq!(report["model"]["name"], "tiny");
    assert_eq!(report["model"]["path"], TINY);
    assert_eq!(
        report["model"]["classes"],
        json!(["circle", "square", "star"])
    );
    assert_eq!(report["settings"]["imgsz"], json!([96, 96]));
    let traces = by_folder.traces("chelsea");
    let layers = [
        "L4.sta.", "L6.bra.", "L8.sta.", "L10.pos.", "L17.psa.", "L21.bra.", "L24.pos.",
    ];
    for layer in layers {
        assert!(traces.keys().any(|name| name.starts_with(layer)), "{layer}");
    }
    assert!(
        traces
            .keys()
            .all(|n| layers.iter().any(|l| n.starts_with(l)))
    );
    // Two iterations by its own default, of row 8 only.
    assert!(traces.contains_key("L8.sta.affinity_it1"));
    assert!(!traces.contains_key("L4.sta.affinity_it1"));

    // The path of a file in the folder means the folder.
    let by_file = Out::new();
    by_file
        .analyze(&format!("{CAT} --model {TINY}/model.yaml"))
        .quietly_well();
    assert!(by_file.contents("chelsea") == by_folder.contents("chelsea"));
}

#[test]
fn a_gpu_that_is_not_there_means_the_cpu_and_a_note() {
    for (device, name) in [("cuda", "CUDA"), ("metal", "Metal")] {
        let out = Out::new();
        let picture = [
            "analyze",
            "tests/pictures/1x1.png",
            "--imgsz",
            "32",
            "--device",
            device,
        ];
        let place = out.path().to_str().unwrap();
        let ran = attnscope(picture.into_iter().chain(["--out", place]));
        assert_eq!(ran.code, 0, "{ran:?}");
        let used = out.report("1x1")["settings"]["device"]
            .as_str()
            .unwrap()
            .to_owned();
        if used.starts_with("CPU") {
            let said = ran.errors();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains(name) && said[0].ends_with("the CPU is used"),
                "{said:?}"
            );
        }
    }
}

#[test]
fn settings_that_fit_nothing_name_what_would() {
    let heads =
        "layer 3 is no attention layer of yolo26n-attn; expected one of 5, 8, 12, 19, 25, 26";
    for (args, code, words) in [
        ("--set 3.topk=2", 1, vec![heads]),
        (
            "--set 99.topk=2",
            1,
            vec!["layer 99 is no attention layer", "5, 8, 12, 19, 25, 26"],
        ),
        (
            "--set 8.n_iter=2",
            1,
            vec!["layer 8 has no knob n_iter; expected one of n_win, topk"],
        ),
        (
            "--set 19.topk=2",
            1,
            vec!["layer 19 has no knob topk; it has no knobs"],
        ),
        (
            "--set 8.topk",
            2,
            vec!["--set", "'8.topk' is no setting", "LAYER.KNOB=VALUE"],
        ),
        (
            "--set topk=4",
            2,
            vec!["--set", "'topk=4' is no setting", "LAYER.KNOB=VALUE"],
        ),
        (
            "--set 8.topk=many",
            2,
            vec!["--set", "'many' is not a knob value", "6x4"],
        ),
        ("--set 8.topk=-1", 2, vec!["'-1' is not a knob value"]),
        ("--set 8.topk=1.5", 2, vec!["'1.5' is not a knob value"]),
        (
            "--head both",
            2,
            vec!["--head", "both", "one-to-one, one-to-many"],
        ),
        (
            "--device gpu",
            2,
            vec!["--device", "'gpu' is no device", "auto, cpu, cuda or metal"],
        ),
        (
            "--imgsz big",
            2,
            vec!["--imgsz", "'big'", "a number of pixels"],
        ),
        ("--imgsz -1", 2, vec!["-1"]),
        ("--conf 1.5", 2, vec!["--conf", "1.5", "from 0 to 1"]),
        ("--conf nan", 2, vec!["--conf", "from 0 to 1"]),
        ("--iou high", 2, vec!["--iou", "from 0 to 1"]),
        ("--speed 3", 2, vec!["--speed"]),
    ] {
        let out = Out::new();
        let ran = out.analyze(&format!("{CAT} {args}"));
        assert_eq!(ran.code, code, "{args}: {ran:?}");
        for word in words {
            assert!(
                ran.stderr.contains(word),
                "{args}: no '{word}' in {}",
                ran.stderr
            );
        }
        assert_eq!(out.entries(), [""; 0], "{args}");
        assert_eq!(ran.stdout, "", "{args}");
    }
}

#[test]
fn a_head_that_the_model_lacks_is_refused() {
    // The sound one of the broken models has a single head.
    let out = Out::new();
    let place = format!("{TINY}/../bad/weights/intact");
    let ran = out.analyze(&format!("{CAT} --model {place} --head one-to-one"));
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("has no one-to-one head"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_missing_on_the_command_line_is_asked_for() {
    for args in [
        &["analyze"][..],
        &["analyze", CAT],
        &["analyze", "--out", "x"],
    ] {
        let ran = attnscope(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.stderr.contains("required"), "{}", ran.stderr);
    }
    let help = attnscope(["analyze", "--help"]).quietly_well();
    for option in [
        "--model", "--imgsz", "--set", "--head", "--conf", "--device", "--out",
    ] {
        assert!(help.stdout.contains(option), "{option}");
    }
    let version = attnscope(["--version"]).quietly_well();
    assert_eq!(
        version.stdout.trim(),
        concat!("attnscope ", env!("CARGO_PKG_VERSION"))
    );
}
