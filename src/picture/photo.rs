//! Photographs: any common file becomes upright 8-bit RGB, or one clear message.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::container;
use crate::{Error, Result};

/// Longest side that is opened, in pixels.
pub const MAX_SIDE: u32 = 32_768;
/// Most pixels that are opened.
pub const MAX_PIXELS: u64 = 100_000_000;
/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Most memory a decoder may ask for, in bytes: [`MAX_PIXELS`] at 16 bits with alpha, and some room.
const MAX_DECODER_BYTES: u64 = 1 << 30;

const EXPECTED: &str = "a PNG, JPEG, BMP, GIF, WebP or TIFF picture";

/// An opened picture. Cloning shares the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// File name, or where the picture came from.
    pub name: String,
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// Pixels, `height × width × 3`, red first, row by row from the top.
    pub rgb: Arc<[u8]>,
    /// Hash of size and pixels, the same on every run and machine: a key for caches.
    pub digest: u64,
    /// What was changed on the way in, in words for the person who opened it.
    pub notes: Vec<String>,
}

impl Photo {
    /// Opens a picture file. Its content decides the format, not its name.
    ///
    /// # Errors
    /// [`Error::File`] if there is no such file, it cannot be read, is not a picture of a known
    /// kind, is damaged, or exceeds [`MAX_SIDE`], [`MAX_PIXELS`] or [`MAX_FILE_BYTES`].
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = read_file(path).map_err(|problem| Error::path(path, problem, EXPECTED))?;
        let name = match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => path.display().to_string(),
        };
        Self::decode(&name, Some(path), &bytes)
    }

    /// Decodes the content of a picture file that is already in memory.
    ///
    /// # Errors
    /// As [`Photo::open`].
    pub fn decode(name: &str, path: Option<&Path>, bytes: &[u8]) -> Result<Self> {
        let (image, notes) = decode_upright(bytes).map_err(|problem| {
            let file = path.map_or_else(|| name.to_owned(), |p| p.display().to_string());
            Error::file(file, problem, EXPECTED)
        })?;
        let mut notes = notes;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let rgb = into_rgb(image, &mut notes);
        Ok(Self::assemble(name, path, [width, height], rgb, notes))
    }

    /// A picture from 8-bit RGBA pixels (`height × width × 4`), such as the clipboard's.
    ///
    /// # Errors
    /// [`Error::File`] if the sizes do not fit together or exceed the limits.
    pub fn from_rgba(name: &str, width: usize, height: usize, rgba: &[u8]) -> Result<Self> {
        let error = |problem: String| Error::file(name, problem, "pixels of a picture");
        check_size(width as u64, height as u64).map_err(error)?;
        if rgba.len() != width * height * 4 {
            let problem = format!("{} bytes for {width} × {height} pixels", rgba.len());
            return Err(error(problem));
        }
        let mut notes = Vec::new();
        let rgb = blend_onto_white(rgba, &mut notes);
        Ok(Self::assemble(name, None, [width, height], rgb, notes))
    }

    /// A picture from RGB pixels (`height × width × 3`) made of one that was opened.
    pub(crate) fn of_pixels(name: &str, size: [usize; 2], rgb: Vec<u8>) -> Self {
        Self::assemble(name, None, size, rgb, Vec::new())
    }

    fn assemble(
        name: &str,
        path: Option<&Path>,
        [width, height]: [usize; 2],
        rgb: Vec<u8>,
        notes: Vec<String>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            path: path.map(Path::to_owned),
            width,
            height,
            digest: digest(width, height, &rgb),
            rgb: rgb.into(),
            notes,
        }
    }

    /// Red, green and blue at a pixel, or `None` outside.
    pub fn pixel(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        if x >= self.width {
            return None;
        }
        let at = (y.checked_mul(self.width)? + x) * 3;
        self.rgb.get(at..at + 3)?.try_into().ok()
    }
}

/// Reads a whole ordinary file of at most [`MAX_FILE_BYTES`]; the error is the problem in words.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let io_problem = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "you have no permission to read it".to_owned(),
        _ => format!("it cannot be read ({e})"),
    };
    // Before opening: a named pipe would wait for its writer for ever.
    let metadata = std::fs::metadata(path).map_err(io_problem)?;
    if metadata.is_dir() {
        return Err("it is a folder".to_owned());
    }
    if !metadata.is_file() {
        return Err("it is not an ordinary file".to_owned());
    }
    let too_large = || format!("it is larger than {} MB", MAX_FILE_BYTES >> 20);
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let file = File::open(path).map_err(io_problem)?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // The file may grow while it is read.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io_problem)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Decodes the first picture of a file and turns it upright, with notes on what was done.
fn decode_upright(bytes: &[u8]) -> Result<(DynamicImage, Vec<String>), String> {
    let format = detect_format(bytes)?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits.clone());
    let problem = |e: ImageError| decoder_problem(format, &e);
    let mut decoder = reader.into_decoder().map_err(problem)?;

    // From the header, before any pixel is stored. The decoder's own limits on the sides would
    // only say that something is too large.
    let (width, height) = decoder.dimensions();
    check_size(u64::from(width), u64::from(height))?;
    if decoder.total_bytes() > MAX_DECODER_BYTES {
        return Err(format!(
            "{width} × {height} pixels of this type need more than {} MB to decode",
            MAX_DECODER_BYTES >> 20
        ));
    }
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    decoder.set_limits(limits).map_err(problem)?;

    let mut notes = Vec::new();
    // A damaged orientation tag costs the rotation, not the picture.
    let told = (format != ImageFormat::WebP || container::webp_exif_fits(bytes))
        .then(|| decoder.orientation().ok());
    let orientation = told.flatten().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(problem)?;
    if orientation != Orientation::NoTransforms {
        image.apply_orientation(orientation);
        notes.push("turned upright as the file says".to_owned());
    }
    if container::has_more_pictures(format, bytes) {
        notes.push(match format {
            ImageFormat::Tiff => "first page of several".to_owned(),
            _ => "first frame of an animation".to_owned(),
        });
    }
    if format == ImageFormat::Jpeg && container::jpeg_ends_early(bytes) {
        notes.push("the file ends early: a part of the picture is missing".to_owned());
    }
    Ok((image, notes))
}

/// The format by content, if this program can decode it.
fn detect_format(bytes: &[u8]) -> Result<ImageFormat, String> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Err("it is a HEIC or AVIF picture or a film, which cannot be read".to_owned());
    }
    match image::guess_format(bytes) {
        Ok(format @ (Png | Jpeg | Bmp | Gif | WebP | Tiff)) => Ok(format),
        Ok(other) => Err(format!("its type ({other:?}) cannot be read")),
        Err(_) => Err("it is not a picture of a known type".to_owned()),
    }
}

/// Refuses pictures without pixels and those beyond the limits.
fn check_size(width: u64, height: u64) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("it has no pixels ({width} × {height})"));
    }
    let size = format!("{width} × {height} pixels are too many");
    if width.max(height) > u64::from(MAX_SIDE) {
        return Err(format!("{size} (the longest side may be {MAX_SIDE})"));
    }
    if width * height > MAX_PIXELS {
        let megapixels = MAX_PIXELS / 1_000_000;
        return Err(format!("{size} (at most {megapixels} megapixels)"));
    }
    Ok(())
}

/// A decoder's refusal in words for a person.
fn decoder_problem(format: ImageFormat, error: &ImageError) -> String {
    let format = format!("{format:?}").to_uppercase();
    // The outer error repeats the format; its source says what is wrong.
    let detail =
        std::error::Error::source(error).map_or_else(|| error.to_string(), |e| e.to_string());
    match error {
        ImageError::Limits(e) if matches!(e.kind(), LimitErrorKind::InsufficientMemory) => {
            let megabytes = MAX_DECODER_BYTES >> 20;
            format!("it needs more than {megabytes} MB to decode")
        }
        ImageError::Unsupported(_) => format!("this kind of {format} cannot be read ({error})"),
        _ => format!("the {format} data is damaged or cut off ({detail})"),
    }
}

/// 8-bit RGB pixels, `height × width × 3`.
fn into_rgb(image: DynamicImage, notes: &mut Vec<String>) -> Vec<u8> {
    match image.color() {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            notes.push("16-bit values were reduced to 8 bits".to_owned());
        }
        ColorType::Rgb32F | ColorType::Rgba32F => {
            notes.push("floating-point values were cut to 0 … 1 and stored in 8 bits".to_owned());
        }
        _ => {}
    }
    if image.color().has_alpha() {
        blend_onto_white(&image.into_rgba8().into_raw(), notes)
    } else {
        image.into_rgb8().into_raw()
    }
}

/// Blends RGBA pixels onto white, rounding to nearest.
fn blend_onto_white(rgba: &[u8], notes: &mut Vec<String>) -> Vec<u8> {
    let (pixels, _) = rgba.as_chunks::<4>();
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    for &[r, g, b, alpha] in pixels {
        let alpha = u32::from(alpha);
        let blend = |c: u8| ((u32::from(c) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        rgb.extend([blend(r), blend(g), blend(b)]);
    }
    if pixels.iter().any(|p| p[3] != 255) {
        notes.push("transparent parts were blended onto white".to_owned());
    }
    rgb
}

/// FNV-1a over 64-bit little-endian words, with the high half folded back after each step: plain
/// FNV on words never lets a word's high bits reach the low ones.
fn digest(width: usize, height: usize, rgb: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, word: u64| {
        let hash = (hash ^ word).wrapping_mul(PRIME);
        hash ^ (hash >> 32)
    };
    let (words, tail) = rgb.as_chunks::<8>();
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    let mut hash = step(step(OFFSET, width as u64), height as u64);
    for word in words {
        hash = step(hash, u64::from_le_bytes(*word));
    }
    step(hash, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(result: Result<Photo>) -> String {
        match result {
            Err(Error::File { problem, .. }) => problem,
            other => panic!("expected a refused file, got {other:?}"),
        }
    }

    #[test]
    fn an_orientation_tag_that_claims_gigabytes_is_not_believed() {
        let mut webp = include_bytes!("../../tests/pictures/orientation_6.webp").to_vec();
        assert!(container::webp_exif_fits(&webp));
        let upright = Photo::decode("a", None, &webp).unwrap();
        let length = webp.windows(4).position(|w| w == b"EXIF").unwrap() + 4;
        webp[length + 3] = 0xff;
        assert!(!container::webp_exif_fits(&webp));
        let as_stored = Photo::decode("a", None, &webp).unwrap();
        assert_eq!(
            (as_stored.width, as_stored.height),
            (upright.height, upright.width)
        );
    }

    #[test]
    fn clipboard_pixels_are_blended_onto_white() {
        let rgba = [10, 20, 30, 255, 0, 0, 0, 0, 0, 100, 255, 128];
        let photo = Photo::from_rgba("clipboard", 3, 1, &rgba).unwrap();
        // 255 − 255·128/255 = 127; 100·128/255 + 127 = 177.2
        assert_eq!(*photo.rgb, [10, 20, 30, 255, 255, 255, 127, 177, 255]);
        assert_eq!(photo.notes, ["transparent parts were blended onto white"]);
        assert_eq!(photo.pixel(2, 0), Some([127, 177, 255]));
        assert_eq!(photo.pixel(3, 0), None);
        assert_eq!(photo.pixel(0, 1), None);
    }

    #[test]
    fn clipboard_sizes_are_checked() {
        assert!(problem(Photo::from_rgba("c", 2, 2, &[0; 15])).contains("15 bytes for 2 × 2"));
        assert!(problem(Photo::from_rgba("c", 0, 2, &[])).contains("no pixels"));
        assert!(problem(Photo::from_rgba("c", 40_000, 1, &[])).contains("32768"));
        assert!(problem(Photo::from_rgba("c", 20_000, 20_000, &[])).contains("100 megapixels"));
    }

    #[test]
    fn digest_depends_on_size_and_every_byte() {
        let base = digest(3, 2, &[7; 18]);
        assert_eq!(
            base, 2_318_603_823_480_008_470,
            "the digest changed its definition"
        );
        assert_ne!(base, digest(2, 3, &[7; 18]));
        for at in 0..18 {
            for bit in 0..8 {
                let mut rgb = [7; 18];
                rgb[at] ^= 1 << bit;
                assert_ne!(base, digest(3, 2, &rgb));
            }
        }
        // Changes in the top bits of two words must not cancel.
        let mut rgb = [7; 18];
        rgb[7] ^= 0x80;
        rgb[15] ^= 0x80;
        assert_ne!(base, digest(3, 2, &rgb));
    }
}
