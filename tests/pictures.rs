//! Picture files of every kind, made by `pictures/make_fixtures.py`.
//!
//! Unless said otherwise a file holds 48 × 32 pixels with red = 5x, green = 7y, blue = 128.

use std::path::{Path, PathBuf};

use attnscope::Error;
use attnscope::picture::{Letterbox, Photo};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pictures")
        .join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn open(name: &str) -> Photo {
    Photo::open(&fixture(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// The problem of a refused file; its message must name the file and say what was expected.
fn problem(result: attnscope::Result<Photo>, file: &Path) -> String {
    match result {
        Err(Error::File {
            file: named,
            problem,
            expected,
        }) => {
            assert_eq!(named, file.display().to_string());
            assert_eq!(expected, "a PNG, JPEG, BMP, GIF, WebP or TIFF picture");
            problem
        }
        other => panic!("expected a refused file, got {other:?}"),
    }
}

/// Largest difference between a picture and the formula, per channel.
fn worst(photo: &Photo, formula: impl Fn(usize, usize) -> [u8; 3]) -> u8 {
    let mut worst = 0;
    for y in 0..photo.height {
        for x in 0..photo.width {
            let (is, should) = (photo.pixel(x, y).unwrap(), formula(x, y));
            worst = is
                .iter()
                .zip(should)
                .map(|(a, b)| a.abs_diff(b))
                .fold(worst, u8::max);
        }
    }
    worst
}

fn formula(x: usize, y: usize) -> [u8; 3] {
    [(5 * x) as u8, (7 * y) as u8, 128]
}

#[test]
fn every_format_gives_the_same_pixels() {
    let exact = ["plain.png", "plain.bmp", "plain.tiff", "lossless.webp"];
    // WebP halves the resolution of colours.
    let lossy = [
        ("plain.jpg", 4),
        ("progressive.jpg", 4),
        ("jpeg_named.png", 4),
        ("lossy.webp", 8),
    ];
    for (name, tolerance) in exact.map(|n| (n, 0)).into_iter().chain(lossy) {
        let photo = open(name);
        assert_eq!((photo.width, photo.height), (48, 32), "{name}");
        assert!(
            worst(&photo, formula) <= tolerance,
            "{name}: {}",
            worst(&photo, formula)
        );
        assert_eq!(photo.notes, [""; 0], "{name}");
        assert_eq!(photo.name, name);
        assert_eq!(photo.path.as_deref(), Some(&*fixture(name)));
    }
    let digests = exact.map(|name| open(name).digest);
    assert!(
        digests.iter().all(|&d| d == digests[0]),
        "the digest is that of the pixels"
    );
}

#[test]
fn other_ways_to_store_values() {
    let sixteen = open("rgb16.png");
    assert_eq!(worst(&sixteen, formula), 0);
    assert_eq!(sixteen.notes, ["16-bit values were reduced to 8 bits"]);

    assert_eq!(worst(&open("grey.png"), |x, _| [(5 * x) as u8; 3]), 0);
    assert_eq!(
        worst(&open("grey_1bit.png"), |x, y| {
            [if y == 0 {
                255 * ((x + 1) % 2) as u8
            } else {
                255 * ((x / 4) % 2) as u8
            }; 3]
        }),
        0
    );
    assert_eq!(open("palette.png").rgb, open("palette_reference.png").rgb);
    let cmyk = open("cmyk.jpg");
    assert!(worst(&cmyk, formula) <= 4, "{}", worst(&cmyk, formula));
}

#[test]
fn transparency_is_blended_onto_white() {
    let note = "transparent parts were blended onto white";
    let half = open("half_transparent.png");
    // 128/255 of the colour and 127/255 of white.
    let blended = |c: u8| ((f64::from(c) * 128.0 + 255.0 * 127.0) / 255.0).round() as u8;
    assert_eq!(worst(&half, |x, y| formula(x, y).map(blended)), 0);
    assert_eq!(half.notes, [note]);

    // Alpha 51 is one fifth.
    let grey = open("grey_alpha.png");
    assert_eq!(worst(&grey, |x, _| [(x + 204) as u8; 3]), 0);
    assert_eq!(grey.notes, [note]);
}

#[test]
fn pictures_stand_upright_in_every_format() {
    let png = (1..=8).map(|tag| format!("orientation_{tag}.png"));
    let others = ["jpg", "webp", "tiff"].into_iter();
    let others = others.flat_map(|kind| [3, 6].map(|tag| format!("orientation_{tag}.{kind}")));
    for name in png.chain(others) {
        let photo = open(&name);
        let tolerance = if name.ends_with("jpg") { 4 } else { 0 };
        assert_eq!((photo.width, photo.height), (48, 32), "{name}");
        assert!(
            worst(&photo, formula) <= tolerance,
            "{name}: {}",
            worst(&photo, formula)
        );
        let turned = photo.notes == ["turned upright as the file says"];
        assert_eq!(
            turned,
            name != "orientation_1.png",
            "{name}: {:?}",
            photo.notes
        );
    }
}

#[test]
fn the_first_of_several_pictures_is_shown_and_noted() {
    for name in [
        "animated.gif",
        "animated.webp",
        "animated.png",
        "pages.tiff",
    ] {
        let photo = open(name);
        assert_eq!((photo.width, photo.height), (12, 8), "{name}");
        assert_eq!(worst(&photo, |_, _| [0, 0, 255]), 0, "{name}");
        let note = match name {
            "pages.tiff" => "first page of several",
            _ => "first frame of an animation",
        };
        assert_eq!(photo.notes, [note], "{name}");
    }
    assert_eq!(open("still.gif").notes, [""; 0]);
}

#[test]
fn odd_sizes_open() {
    let dot = open("1x1.png");
    assert_eq!((dot.width, dot.height, &*dot.rgb), (1, 1, &[1, 2, 3][..]));
    let line = open("1x8000.png");
    assert_eq!((line.width, line.height), (1, 8000));
    assert_eq!(worst(&line, |_, _| [9, 8, 7]), 0);
}

#[test]
fn sizes_beyond_the_limits_are_refused_from_the_header() {
    // 10.8 GB and 110 MB if their headers were believed; the limit is part of the message.
    for (name, limit) in [
        ("60000x60000.png", "32768"),
        ("11000x10000.png", "100 megapixels"),
    ] {
        let path = fixture(name);
        let problem = problem(Photo::open(&path), &path);
        assert!(problem.contains(limit), "{problem}");
    }
    let path = fixture("0x5.png");
    problem(Photo::open(&path), &path);
}

#[test]
fn what_is_not_a_picture_is_refused() {
    let name = Path::new("holiday.jpg");
    let refuse = |bytes: &[u8]| problem(Photo::decode("holiday.jpg", None, bytes), name);
    assert_eq!(refuse(b""), "the file is empty");
    assert_eq!(
        refuse(b"Dear diary,"),
        "it is not a picture of a known type"
    );
    assert_eq!(
        refuse(b"\0\0\0\x18ftypheic\0\0\0\0"),
        "it is a HEIC or AVIF picture or a film, which cannot be read"
    );
    assert_eq!(
        refuse(b"qoif\0\0\0\x01\0\0\0\x01\x03\0"),
        "its type (Qoi) cannot be read"
    );
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = fixture("");
    assert_eq!(problem(Photo::open(&folder), &folder), "it is a folder");
    let missing = fixture("missing.jpg");
    assert_eq!(
        problem(Photo::open(&missing), &missing),
        "there is no such file"
    );
    let below_a_file = fixture("plain.png/x.jpg");
    assert!(problem(Photo::open(&below_a_file), &below_a_file).starts_with("it cannot be read"));
}

#[cfg(unix)]
#[test]
fn devices_are_not_read() {
    let device = Path::new("/dev/zero");
    assert_eq!(
        problem(Photo::open(device), device),
        "it is not an ordinary file"
    );
}

#[cfg(unix)]
#[test]
fn unreadable_files_say_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.png");
    std::fs::write(&path, bytes("plain.png")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    // The system administrator may read everything.
    if std::fs::File::open(&path).is_err() {
        assert_eq!(
            problem(Photo::open(&path), &path),
            "you have no permission to read it"
        );
    }
}

#[test]
fn cut_jpegs_open_with_a_note_or_are_refused() {
    let whole = bytes("plain.jpg");
    let cut = Photo::decode("cut", None, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(
        cut.notes,
        ["the file ends early: a part of the picture is missing"]
    );
    for x in 0..48 {
        let (is, should) = (cut.pixel(x, 0).unwrap(), formula(x, 0));
        assert!(
            is.iter().zip(should).all(|(a, b)| a.abs_diff(b) <= 4),
            "the top is intact"
        );
    }
    // Within its header.
    problem(Photo::decode("cut", None, &whole[..200]), Path::new("cut"));
}

#[test]
fn cuts_and_flipped_bits_never_panic() {
    let names = [
        "plain.png",
        "plain.bmp",
        "plain.tiff",
        "lossless.webp",
        "lossy.webp",
        "plain.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "rgb16.png",
        "palette.png",
        "animated.gif",
        "animated.webp",
        "orientation_6.tiff",
    ];
    for name in names {
        let whole = bytes(name);
        for end in (0..whole.len()).step_by(1 + whole.len() / 100) {
            let _ = Photo::decode(name, None, &whole[..end]);
        }
        // Headers matter most: every bit of the first 64 bytes, then one bit here and there.
        let scattered = (64..whole.len()).step_by(1 + whole.len() / 100);
        for at in (0..whole.len().min(64)).chain(scattered) {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(photo) = Photo::decode(name, None, &damaged) {
                    assert_eq!(photo.rgb.len(), photo.width * photo.height * 3);
                }
            }
        }
    }
}

#[test]
fn letterbox_equals_opencv_bit_for_bit() {
    let noise = open("noise.png");
    for (width, height) in [(16, 12), (64, 48), (24, 40)] {
        let reference = open(&format!("noise_{width}x{height}.png"));
        let letterbox = Letterbox::new([37, 23], [width, height]);
        let input = letterbox.apply(&noise);
        let plane = width * height;
        assert_eq!(input.len(), 3 * plane);
        for (at, pixel) in reference.rgb.as_chunks::<3>().0.iter().enumerate() {
            let is = [input[at], input[plane + at], input[2 * plane + at]];
            assert_eq!(is, *pixel, "{width} × {height}, pixel {at}");
        }
    }
}
