//! Pictures of every kind go through the whole program.

use attnscope::attention::view::{Answer, View};
use attnscope::engine::{LayerTrace, Scene, answer_figure};
use attnscope::picture::{Body, Figure, Look, Photo};
use candle_core::Tensor;

use crate::program::{CAT, Out, TINY, in_process, numbers};

/// Name, size when upright, and a word of what the report notes.
const KINDS: &[(&str, [usize; 2], &str)] = &[
    ("1x1.png", [1, 1], ""),
    ("1x8000.png", [1, 8000], ""),
    ("grey.png", [48, 32], ""),
    ("grey_1bit.png", [16, 2], ""),
    ("grey_alpha.png", [48, 32], "white"),
    ("half_transparent.png", [48, 32], "white"),
    ("palette.png", [48, 32], ""),
    ("rgb16.png", [48, 32], "16-bit"),
    ("cmyk.jpg", [48, 32], ""),
    ("progressive.jpg", [48, 32], ""),
    ("jpeg_named.png", [48, 32], ""),
    ("orientation_3.tiff", [48, 32], "upright"),
    ("orientation_6.jpg", [48, 32], "upright"),
    ("orientation_8.png", [48, 32], "upright"),
    ("lossless.webp", [48, 32], ""),
    ("still.gif", [12, 8], ""),
    ("animated.webp", [12, 8], "first frame"),
    ("pages.tiff", [12, 8], "first page"),
    ("plain.png", [48, 32], ""),
];

fn assert_sound(out: &Out, picture: &str) {
    let traces = out.traces(picture);
    let finite = |t: &Tensor| numbers(t).iter().all(|v| v.is_finite());
    for (name, tensor) in &traces {
        assert!(finite(tensor), "{picture}: {name}");
    }
    for (name, bytes) in out.contents(picture) {
        if name.ends_with(".png") {
            let figure = Photo::decode(&name, None, &bytes).unwrap();
            let [short, long] = [
                figure.width.min(figure.height),
                figure.width.max(figure.height),
            ];
            assert!(
                short > 100 && long < 3000,
                "{picture}: {name} is {short} × {long}"
            );
        }
    }
}

#[test]
fn every_kind_of_picture_is_analysed() {
    let paths: Vec<String> = KINDS
        .iter()
        .map(|k| format!("tests/pictures/{}", k.0))
        .collect();
    let out = Out::new();
    let args = format!("{} --model {TINY} --imgsz 64", paths.join(" "));
    out.analyze(&args).quietly_well();
    assert_eq!(out.entries().len(), KINDS.len());
    for (name, size, note) in KINDS {
        let (stem, _) = name.rsplit_once('.').unwrap();
        let picture = &out.report(stem)["picture"];
        assert_eq!(picture["name"], *name);
        assert_eq!(
            [&picture["width"], &picture["height"]].map(|v| v.as_u64().unwrap() as usize),
            *size
        );
        let notes = picture["notes"].as_array().unwrap();
        assert_eq!(notes.is_empty(), note.is_empty(), "{name}: {notes:?}");
        assert!(
            notes.iter().all(|n| n.as_str().unwrap().contains(note)),
            "{name}: {notes:?}"
        );
        assert_sound(&out, stem);
    }
    // These files hold the same upright pixels without loss.
    let digest = |stem: &str| out.report(stem)["picture"]["digest"].clone();
    for same in ["rgb16", "orientation_3", "orientation_8", "lossless"] {
        assert_eq!(digest(same), digest("plain"), "{same}");
    }
}

#[test]
fn extreme_shapes_go_through_the_bundled_model() {
    let folder = Out::new();
    let panorama = folder.path().join("panorama.png");
    let stripes =
        image::RgbImage::from_fn(9000, 300, |x, y| image::Rgb([(x / 40) as u8, y as u8, 128]));
    stripes.save(&panorama).unwrap();
    let out = Out::new();
    let thin = "tests/pictures/1x8000.png tests/pictures/1x1.png";
    out.analyze(&format!("{thin} {}", panorama.display()))
        .quietly_well();
    for picture in ["1x8000", "1x1", "panorama"] {
        assert_eq!(out.contents(picture).len(), 38);
        assert_sound(&out, picture);
    }
}

fn figure(scene: &Scene, layer: &LayerTrace, view: &View) -> Figure {
    answer_figure(scene, layer, &Answer::from(view.clone()), &Look::default())
}

/// The photograph is one pixel wide and lies in the fourth of eight columns of regions; region 27
/// reads from the fifth. Labels drawn for those seemed to name places on the photograph.
#[test]
fn marks_beside_the_photograph_are_left_out_and_counted() {
    let outcome = in_process("tests/pictures/1x8000.png");
    let layer = &outcome.traces[&8];
    let views = layer.trace.views();
    let routes = views.iter().find(|v| v.name == "routes").unwrap();
    let routes = figure(&outcome.scene, layer, routes);
    let Body::Overlay(overlay) = &routes.body else {
        panic!("an overlay");
    };
    assert_eq!(overlay.marks.len(), 1, "region 27 itself");
    assert_eq!(overlay.links.len(), 4, "the arrows still lead there");
    let said = "4 marked places lie in the border around the photograph.";
    assert!(routes.caption.ends_with(said), "{}", routes.caption);

    // A square photograph has no border, wherever the routes lead.
    let square = in_process("assets/samples/astronaut.png");
    let layer = &square.traces[&8];
    let figure = figure(&square.scene, layer, &layer.trace.views()[0]);
    assert!(!figure.caption.contains("border"), "{}", figure.caption);
}

#[test]
fn a_jpeg_that_ends_early_is_shown_as_far_as_it_goes() {
    let folder = Out::new();
    let bytes = std::fs::read("tests/pictures/plain.jpg").unwrap();
    let cut = folder.path().join("cut.jpg");
    std::fs::write(&cut, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let out = Out::new();
    let ran = out.analyze(&format!("{} --model {TINY}", cut.display()));
    assert_eq!(ran.code, 0, "{ran:?}");
    let notes = &out.report("cut")["picture"]["notes"];
    assert!(notes[0].as_str().unwrap().contains("ends early"), "{notes}");
}

#[test]
fn names_with_spaces_and_other_letters() {
    let folder = Out::new();
    let name = "größe 北 a.b.png";
    std::fs::copy(CAT, folder.path().join(name)).unwrap();
    let out = Out::new();
    let args =
        ["analyze", "--imgsz", "32", "--device", "cpu", "--out"].map(std::path::PathBuf::from);
    let places = [out.path().to_owned(), folder.path().join(name)];
    crate::program::attnscope(args.into_iter().chain(places)).quietly_well();
    assert_eq!(out.entries(), ["größe 北 a.b"]);
    assert_eq!(out.report("größe 北 a.b")["picture"]["name"], name);
}
