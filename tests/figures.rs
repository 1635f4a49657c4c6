//! Figures as files: every kind of body as SVG and PNG, and the answers of a real run.

mod common;

use std::path::Path;
use std::sync::Arc;

use attnscope::attention::view::{self, Answer, View};
use attnscope::engine::{Engine, Outcome, answer_figure, detections_figure};
use attnscope::picture::{
    Bars, Body, Colormap, Contour, Figure, Gallery, Heat, LabelledBox, Link, Look, Mark, Matrix,
    Overlay, Panel, Photo, RangeRule, Sampling,
};
use base64::Engine as _;
use common::scene;
use roxmltree::{Document, Node};

/// A hill in the middle of `rows × cols` cells.
fn hill(rows: usize, cols: usize) -> Vec<f32> {
    let at = |i: usize| {
        let (y, x) = ((i / cols) as f32 + 0.5, (i % cols) as f32 + 0.5);
        let (dy, dx) = (y / rows as f32 - 0.5, x / cols as f32 - 0.5);
        (-(dx * dx + dy * dy) * 8.0).exp()
    };
    (0..rows * cols).map(at).collect()
}

fn photo() -> Arc<Photo> {
    Arc::new(Photo::open(Path::new("tests/pictures/coffee.png")).unwrap())
}

fn overlay(look: &Look) -> Overlay {
    let photo = photo();
    let (w, h) = (photo.width as f32, photo.height as f32);
    let values: Arc<[f32]> = hill(9, 12).into();
    let mut heat = Heat::new(values.clone(), 9, 12, [0.0, 0.0, w, h]);
    heat.coloring = look.coloring(&values, None);
    heat.label = "affinity".into();
    Overlay {
        heat: Some(heat),
        borders: vec![[w / 2.0, 0.0, w / 2.0, h], [0.0, h / 3.0, w, h / 3.0]],
        outline: vec![[w / 4.0, h / 4.0, w / 2.0, h / 4.0]],
        links: vec![Link {
            from: [w * 0.2, h * 0.8],
            to: [w * 0.7, h * 0.5],
            weight: 0.4,
        }],
        boxes: vec![LabelledBox {
            rect: [w * 0.1, h * 0.2, w * 0.6, h * 0.9],
            label: "cup & <saucer> 0.91".into(),
            color: [230, 159, 0],
            selected: true,
        }],
        marks: vec![Mark {
            rect: [w * 0.7, h * 0.1, w * 0.8, h * 0.2],
            label: "7".into(),
            color: [0, 214, 214],
        }],
        ..Overlay::new(photo)
    }
}

fn glyph() -> Body {
    let values: Arc<[f32]> = vec![0.02, 0.1, 0.03, 0.2, 0.4, f32::NAN, 0.05, 0.15, 0.05].into();
    let of = view::Matrix {
        quantity: "affinity",
        values: values.clone(),
        rows: 3,
        cols: 3,
        row_label: "",
        col_label: "",
        labels: (10..19).map(|i| i.to_string()).collect(),
        row: None,
        step: 1,
    };
    Body::Matrix(Matrix::new(of, Look::default().coloring(&values, None)))
}

fn square() -> Body {
    let values: Arc<[f32]> = hill(64, 64).into();
    let of = view::Matrix {
        quantity: "token attention",
        values: values.clone(),
        rows: 64,
        cols: 64,
        row_label: "reads",
        col_label: "is read",
        labels: Vec::new(),
        row: Some(20),
        step: 2,
    };
    Body::Matrix(Matrix::new(of, Look::default().coloring(&values, None)))
}

fn curves() -> Body {
    let curve = |f: fn(f32) -> f32| {
        (0..40)
            .map(|i| [i as f32 / 4.0, f(i as f32 / 4.0)])
            .collect()
    };
    Body::Curves(view::Curves {
        x_label: "iteration",
        y_label: "mean entropy",
        series: vec![
            ("deletion".into(), curve(|x| (-x / 3.0).exp())),
            ("insertion".into(), curve(|x| 1.0 - (-x / 2.0).exp())),
            ("at topk 4".into(), vec![[4.0, 0.5]]),
        ],
    })
}

fn table() -> Body {
    let row = |i: usize| {
        vec![
            format!("region {i}"),
            format!("{:.3}", 0.9 / (i + 1) as f32),
        ]
    };
    Body::Table(view::Table {
        columns: vec!["region".into(), "weight".into()],
        rows: (0..60).map(row).collect(),
        units: Vec::new(),
        note: "Largest first.".into(),
    })
}

fn gallery() -> Body {
    let map = |i: usize| {
        let values: Vec<f32> = hill(10, 14).iter().map(|v| v * (i + 1) as f32).collect();
        let heat = view::Heat {
            quantity: "activation",
            values: values.into(),
            rows: 10,
            cols: 14,
            extent: [14.0, 10.0],
        };
        (format!("channel {i}"), heat)
    };
    Body::Gallery(Gallery::new((0..20).map(map).collect(), &Look::default()))
}

fn bars() -> Body {
    let values: Vec<f32> = (0..64).map(|i| ((i * 37) % 64) as f32 / 64.0).collect();
    Body::Bars(Bars::sorted(&values, "channel", "channel weight"))
}

fn figure(title: &str, body: Body, beside: Vec<Body>) -> Figure {
    let panel = |(i, body)| Panel {
        title: format!("Beside, number {i}"),
        body,
    };
    let mut figure = Figure {
        title: title.into(),
        chosen: "super token 12 owns 61 cells".into(),
        caption: "Share of each pixel that goes to this super token. Row 5 of a model.".into(),
        badge: Some("random weights".into()),
        body,
        beside: beside.into_iter().enumerate().map(panel).collect(),
    };
    figure.select_channel(Some(5));
    figure
}

fn every() -> Vec<Figure> {
    let contoured = Look {
        contour: Contour::Levels(3),
        sampling: Sampling::Smooth,
        threshold: Some(0.3),
        rule: RangeRule::Locked(attnscope::picture::Range { min: 0.0, max: 0.8 }),
        colormap: Colormap::Magma,
        ..Look::default()
    };
    vec![
        figure(
            "overlay",
            Body::Overlay(overlay(&Look::default())),
            vec![glyph(), curves()],
        ),
        figure("contoured", Body::Overlay(overlay(&contoured)), Vec::new()),
        figure(
            "matrix",
            square(),
            vec![Body::Overlay(overlay(&Look::default())), table()],
        ),
        figure("bars", bars(), vec![gallery()]),
        figure("curves", curves(), vec![bars()]),
        figure("table", table(), vec![square()]),
        figure("gallery", gallery(), Vec::new()),
        figure("glyph", glyph(), Vec::new()),
    ]
}

/// The tiny model on a drawn picture.
fn run() -> Outcome {
    let model = scene::tiny();
    let photo = scene::photo(3, 90, 60);
    scene::run(
        &mut Engine::default(),
        &photo,
        &model,
        &scene::watched(&model),
    )
}

fn attribute(node: &Node<'_, '_>, name: &str) -> f32 {
    node.attribute(name).unwrap().parse().unwrap()
}

fn named<'a>(document: &'a Document<'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |n| n.has_tag_name(name))
}

#[test]
fn every_svg_is_xml_with_text_as_text_on_the_page_of_the_png() {
    for figure in every() {
        let svg = figure.svg();
        assert_eq!(svg, figure.svg(), "the same bytes");
        let document = Document::parse(&svg).unwrap_or_else(|e| panic!("{}: {e}", figure.title));
        let root = document.root_element();
        let size = ["width", "height"].map(|side| attribute(&root, side));
        let png = figure.render(1.0);
        assert_eq!(
            size,
            [png.width() as f32, png.height() as f32],
            "{}",
            figure.title
        );
        let texts: Vec<&str> = named(&document, "text").filter_map(|n| n.text()).collect();
        for said in [&figure.title, &figure.chosen, "random weights"] {
            assert!(texts.contains(&said), "{said}: {texts:?}");
        }
        for panel in &figure.beside {
            assert!(texts.contains(&panel.title.as_str()), "{texts:?}");
        }
        for text in named(&document, "text") {
            let (x, y) = (attribute(&text, "x"), attribute(&text, "y"));
            let length = attribute(&text, "textLength");
            let (left, right) = match text.attribute("text-anchor") {
                None => (x, x + length),
                Some("middle") => (x - length / 2.0, x + length / 2.0),
                _ => (x - length, x),
            };
            let within = left >= 0.0 && right <= size[0] && y > 0.0 && y < size[1];
            assert!(within, "{}: {:?} at {left}, {y}", figure.title, text.text());
        }
    }
}

/// Width and height of the embedded pictures.
fn pictures(svg: &str) -> Vec<[usize; 2]> {
    let document = Document::parse(svg).unwrap();
    let decode = |node: Node<'_, '_>| {
        let link = node
            .attribute(("http://www.w3.org/1999/xlink", "href"))
            .unwrap();
        let data = link.strip_prefix("data:image/png;base64,").unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap();
        let photo = Photo::decode("embedded", None, &bytes).unwrap();
        [photo.width, photo.height]
    };
    named(&document, "image").map(decode).collect()
}

#[test]
fn a_map_by_cells_is_embedded_with_one_pixel_per_cell() {
    let photo = photo();
    let size = [photo.width, photo.height];
    let nearest = figure("n", Body::Overlay(overlay(&Look::default())), Vec::new()).svg();
    assert_eq!(pictures(&nearest), [size, [12, 9]]);
    assert!(nearest.contains("image-rendering:pixelated"));
    let smooth = Look {
        sampling: Sampling::Smooth,
        ..Look::default()
    };
    let smooth = figure("s", Body::Overlay(overlay(&smooth)), Vec::new()).svg();
    assert_eq!(pictures(&smooth), [size, [96, 72]]);
    assert!(!smooth.contains("image-rendering"));
}

#[test]
fn the_colour_bar_is_a_gradient_with_its_ticks_as_text() {
    let figure = figure("n", Body::Overlay(overlay(&Look::default())), Vec::new());
    let svg = figure.svg();
    let document = Document::parse(&svg).unwrap();
    let stops: Vec<_> = named(&document, "stop").collect();
    let end =
        |stop: Option<&Node<'_, '_>>| stop.unwrap().attribute("stop-color").unwrap().to_owned();
    let hex = |[r, g, b]: [u8; 3]| format!("#{r:02x}{g:02x}{b:02x}");
    assert_eq!(end(stops.first()), hex(Colormap::Viridis.sample(0.0)));
    assert_eq!(end(stops.last()), hex(Colormap::Viridis.sample(1.0)));
    let Body::Overlay(Overlay {
        heat: Some(heat), ..
    }) = &figure.body
    else {
        panic!("a map");
    };
    for tick in attnscope::picture::numbers::tick_labels(heat.coloring.range) {
        assert!(
            named(&document, "text").any(|n| n.text() == Some(&tick)),
            "{tick}"
        );
    }
}

#[test]
fn foreign_letters_stay_text_in_svg() {
    let mut figure = figure("n", Body::Overlay(overlay(&Look::default())), Vec::new());
    figure.title = "猫 кот قطة <&>".into();
    let svg = figure.svg();
    let document = Document::parse(&svg).unwrap();
    assert!(named(&document, "text").any(|n| n.text() == Some("猫 кот قطة <&>")));
    figure.png(1.0).unwrap();
}

#[test]
fn answers_of_a_run_become_figures() {
    let outcome = run();
    for layer in outcome.traces.values() {
        for view in layer.trace.views() {
            let answer = Answer::from(view);
            let figure = answer_figure(&outcome.scene, layer.as_ref(), &answer, &Look::default());
            assert_eq!(figure.title, answer.view.title);
            Document::parse(&figure.svg()).unwrap();
        }
    }
}

/// Maps of one quantity side by side are coloured over one range; another quantity has its own.
#[test]
fn beside_maps_share_the_range_of_their_quantity() {
    let outcome = run();
    let layer = outcome.traces.values().next().unwrap();
    let map = |quantity, factor: f32| View {
        name: "v".into(),
        title: String::new(),
        caption: String::new(),
        body: view::Body::Overlay(view::Overlay {
            heat: Some(view::Heat {
                quantity,
                values: vec![0.0, factor].into(),
                rows: 1,
                cols: 2,
                extent: [2.0, 1.0],
            }),
            ..view::Overlay::default()
        }),
    };
    let answer = Answer {
        view: map("a", 1.0),
        beside: vec![map("a", 3.0), map("b", 9.0)],
        chosen: String::new(),
    };
    let look = Look {
        rule: RangeRule::Shared,
        threshold: Some(0.5),
        ..Look::default()
    };
    let figure = answer_figure(&outcome.scene, layer.as_ref(), &answer, &look);
    let bodies = std::iter::once(&figure.body).chain(figure.beside.iter().map(|p| &p.body));
    let seen: Vec<(f32, Option<f32>)> = bodies
        .map(|body| match body {
            Body::Overlay(o) => {
                let coloring = &o.heat.as_ref().unwrap().coloring;
                (coloring.range.max, coloring.below)
            }
            _ => panic!("an overlay"),
        })
        .collect();
    assert_eq!(seen, [(3.0, Some(0.5)), (3.0, Some(0.5)), (9.0, None)]);
}

#[test]
fn the_chosen_detection_is_told() {
    let outcome = run();
    let count = outcome.detected.list.len();
    assert!(count > 0, "the tiny model sees something in stripes");
    let none = detections_figure(&outcome.scene, &outcome.detected, None);
    let far = detections_figure(&outcome.scene, &outcome.detected, Some(count));
    assert!(none.chosen.is_empty() && far.chosen.is_empty());
    let first = detections_figure(&outcome.scene, &outcome.detected, Some(0));
    assert!(first.chosen.starts_with("Chosen: "), "{}", first.chosen);
    let Body::Overlay(overlay) = &first.body else {
        panic!("an overlay");
    };
    let strong: Vec<bool> = overlay.boxes.iter().map(|b| b.selected).collect();
    assert_eq!(strong, (0..count).map(|i| i == 0).collect::<Vec<_>>());
}

/// For a person to look at, in the folder that `ATTNSCOPE_SHOTS` names.
#[test]
fn shots() {
    let Some(folder) = std::env::var_os("ATTNSCOPE_SHOTS") else {
        return;
    };
    let mut all = every();
    let mut foreign = figure("猫と中文 · кот · قطة صغيرة 0.90", glyph(), Vec::new());
    foreign.caption = "文件名 图片.png, файл.jpg, صورة.jpg".into();
    all.push(foreign);
    for (i, figure) in all.iter().enumerate() {
        let path = Path::new(&folder).join(format!("{i}"));
        std::fs::write(path.with_extension("svg"), figure.svg()).unwrap();
        std::fs::write(path.with_extension("png"), figure.png(1.0).unwrap()).unwrap();
    }
}
