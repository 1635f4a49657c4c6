//! Text on a canvas, in the fonts the window uses too, and in those of the system for letters that
//! these lack: joined and from right to left where the script wants it. Not done: breaking lines by
//! the rules of a script (only at spaces, or anywhere in a word that is too long), vertical text,
//! and coloured pictures of fonts (emoji).

use std::sync::{Arc, OnceLock};

use ab_glyph::{Font as _, FontRef, GlyphId, ScaleFont as _};
use unicode_bidi::{BidiInfo, Level};

use super::draw::{Canvas, Color};
use super::fonts::{Finder, Found, system};

/// A typeface. Characters one of them lacks are taken from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Ubuntu Light, for words.
    Words,
    /// Hack, for numbers: all digits are equally wide.
    Numbers,
}

/// A typeface at a size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Type {
    /// Typeface.
    pub face: Face,
    /// Height from the lowest to the highest letter part, in pixels.
    pub size: f32,
}

impl Type {
    /// Distance of two lines in pixels.
    pub fn line_height(self) -> f32 {
        (self.size * 1.3).round()
    }

    /// Width of a text in pixels.
    pub fn width(self, text: &str) -> f32 {
        self.place(text, system(), |_, _| {})
    }

    /// Breaks a text into lines of at most `width` pixels, between words where possible.
    pub fn wrap(self, text: &str, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() {
                word.to_owned()
            } else {
                format!("{line} {word}")
            };
            if self.width(&longer) <= width {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for c in word.chars() {
                line.push(c);
                if self.width(&line) > width && line.chars().nth(1).is_some() {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// The text, its end replaced by `…` if it is wider than `width` pixels.
    pub fn shorten(self, text: &str, width: f32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut short: String = text.to_owned();
        while short.pop().is_some() && self.width(&format!("{}…", short.trim_end())) > width {}
        format!("{}…", short.trim_end())
    }

    /// The same typeface, `factor` times as large.
    pub fn scaled(self, factor: f32) -> Self {
        Self {
            size: self.size * factor,
            ..self
        }
    }

    /// The size as other programs count it: side of the letters' square.
    pub fn em(self) -> f32 {
        let own = fonts(self.face).next();
        own.map_or(self.size, |font| {
            let square = font.units_per_em().unwrap_or(font.height_unscaled());
            self.size * square / font.height_unscaled()
        })
    }

    /// From the upper edge of a line to its baseline, in pixels.
    pub fn baseline(self) -> f32 {
        let own = fonts(self.face).next();
        let ascent = own.map_or(0.0, |font| font.as_scaled(self.size).ascent());
        // The line is a little taller than the letters: centre them in it.
        (self.line_height() - self.size) / 2.0 + ascent
    }

    /// Whether there are fonts for all letters of a text.
    pub fn covers(self, text: &str) -> bool {
        text.chars().all(is_own) || system().covering(text).missing.is_empty()
    }

    /// Draws a text with its upper left corner at `at`.
    pub fn draw(self, canvas: &mut Canvas, at: [f32; 2], text: &str, color: Color) {
        // A whole baseline keeps feet of letters sharp.
        let baseline = (at[1] + self.baseline()).round();
        self.place(text, system(), |font, mut glyph| {
            glyph.position.x += at[0];
            glyph.position.y += baseline;
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|x, y, coverage| {
                    let x = corner.x as i64 + i64::from(x);
                    let y = corner.y as i64 + i64::from(y);
                    canvas.blend(x, y, color, darken(coverage));
                });
            }
        });
    }

    /// Walks the glyphs of a text from position 0, left to right; returns its width. Without fonts
    /// there are none.
    fn place(self, text: &str, finder: &Finder, mut each: impl Each) -> f32 {
        if text.chars().all(is_own) {
            return self.place_own(text, 0.0, &mut each);
        }
        // Line breaks would be paragraphs of their own.
        let text: String = text.chars().map(plain).collect();
        let text = finder.legible(&text);
        let mut x = 0.0;
        for (piece, rtl) in visual(&text) {
            let mut pieces = by_font(piece, finder);
            if rtl {
                pieces.reverse();
            }
            for (letters, font) in pieces {
                x = match font {
                    Some(font) => self.place_shaped(letters, &font, rtl, x, &mut each),
                    None => self.place_own(letters, x, &mut each),
                };
            }
        }
        x
    }

    /// Letters of our own typefaces, one after the other; returns where they end.
    fn place_own(self, text: &str, mut x: f32, each: &mut impl Each) -> f32 {
        for c in text.chars().map(plain).filter(|&c| !is_invisible(c)) {
            let has = |font: &&&FontRef<'static>| font.glyph_id(c).0 != 0;
            let Some(font) = fonts(self.face)
                .find(|f| has(&f))
                .or_else(|| fonts(self.face).next())
            else {
                return x;
            };
            let scaled = font.as_scaled(self.size);
            let glyph = font
                .glyph_id(c)
                .with_scale_and_position(self.size, ab_glyph::point(x, 0.0));
            x += scaled.h_advance(glyph.id);
            each(font, glyph);
        }
        x
    }

    /// Letters of another font, joined as their script wants it; returns where they end.
    fn place_shaped(
        self,
        text: &str,
        found: &Found,
        rtl: bool,
        start: f32,
        each: &mut impl Each,
    ) -> f32 {
        let font = &found.font;
        let square = font.units_per_em().unwrap_or(font.height_unscaled());
        // As large as our own letters: by their square, not by their highest and lowest part.
        let per_unit = self.em() / square;
        let size = per_unit * font.height_unscaled();
        let Ok(face) = harfrust::FontRef::from_index(found.data, found.index) else {
            return start;
        };
        let data = harfrust::ShaperData::new(&face);
        let mut buffer = harfrust::UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        buffer.set_direction(match rtl {
            true => harfrust::Direction::RightToLeft,
            false => harfrust::Direction::LeftToRight,
        });
        let shaper = data.shaper(&face).build();
        let shaped = shaper.shape(buffer, harfrust::ShapeOptions::new());
        let mut x = start;
        for (info, at) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
            let Ok(id) = u16::try_from(info.glyph_id) else {
                continue;
            };
            let offset = [at.x_offset, -at.y_offset].map(|v| v as f32 * per_unit);
            let place = ab_glyph::point(x + offset[0], offset[1]);
            each(font, GlyphId(id).with_scale_and_position(size, place));
            x += at.x_advance as f32 * per_unit;
        }
        x
    }
}

/// Is given each glyph with its font.
trait Each: FnMut(&FontRef<'static>, ab_glyph::Glyph) {}
impl<F: FnMut(&FontRef<'static>, ab_glyph::Glyph)> Each for F {}

/// White space and control characters become spaces.
fn plain(c: char) -> char {
    if c.is_whitespace() || c.is_control() {
        ' '
    } else {
        c
    }
}

/// Whether a character only says how its neighbours stand: nothing is drawn of it.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
}

/// Whether the program's own typefaces have a letter.
pub(super) fn is_own(c: char) -> bool {
    let c = plain(c);
    is_invisible(c) || fonts(Face::Words).any(|font| font.glyph_id(c).0 != 0)
}

/// The parts of a line as they stand from left to right, and whether each runs to the left. The
/// line as a whole runs to the right.
fn visual(text: &str) -> Vec<(&str, bool)> {
    let bidi = BidiInfo::new(text, Some(Level::ltr()));
    let mut parts = Vec::new();
    for paragraph in &bidi.paragraphs {
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for run in runs {
            let rtl = levels.get(run.start).is_some_and(Level::is_rtl);
            parts.extend(text.get(run).map(|part| (part, rtl)));
        }
    }
    parts
}

/// A text cut where its font changes; `None` are our own typefaces.
fn by_font<'t>(text: &'t str, finder: &Finder) -> Vec<(&'t str, Option<Arc<Found>>)> {
    let mut parts: Vec<(usize, Option<Arc<Found>>)> = Vec::new();
    for (at, c) in text.char_indices() {
        // Joiners belong to the letters that they join.
        if is_invisible(c) && !parts.is_empty() {
            continue;
        }
        let font = match is_own(c) {
            true => None,
            false => finder.font_of(c, text),
        };
        let same = match (parts.last(), &font) {
            (None, _) => false,
            (Some((_, Some(a))), Some(b)) => Arc::ptr_eq(a, b),
            (Some((_, a)), b) => a.is_none() == b.is_none(),
        };
        if !same {
            parts.push((at, font));
        }
    }
    let ends = parts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    let ends: Vec<usize> = ends.collect();
    let cut = |((from, font), to)| Some((text.get(from..to)?, font));
    parts.into_iter().zip(ends).filter_map(cut).collect()
}

/// The light typeface looks faint where its strokes cover half a pixel: strengthen those.
fn darken(coverage: f32) -> f32 {
    coverage.clamp(0.0, 1.0).powf(0.75)
}

/// The typeface asked for, then the other; without those that could not be read.
fn fonts(face: Face) -> impl Iterator<Item = &'static FontRef<'static>> {
    static FONTS: OnceLock<[Option<FontRef<'static>>; 2]> = OnceLock::new();
    let [words, numbers] = FONTS.get_or_init(|| {
        [
            epaint_default_fonts::UBUNTU_LIGHT,
            epaint_default_fonts::HACK_REGULAR,
        ]
        .map(|bytes| FontRef::try_from_slice(bytes).ok())
    });
    let order = match face {
        Face::Words => [words, numbers],
        Face::Numbers => [numbers, words],
    };
    order.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Type = Type {
        face: Face::Words,
        size: 16.0,
    };

    #[test]
    fn both_fonts_are_readable() {
        assert_eq!(fonts(Face::Words).count(), 2);
    }

    #[test]
    fn digits_are_equally_wide() {
        let numbers = Type {
            face: Face::Numbers,
            size: 12.0,
        };
        assert_eq!(numbers.width("1111"), numbers.width("0808"));
        assert_eq!(numbers.width(""), 0.0);
    }

    #[test]
    fn lines_keep_to_the_width_and_lose_no_word() {
        let text = "an affinity of super tokens, and averyveryverylongwordwithoutanyspace in it";
        let lines = WORDS.wrap(text, 90.0);
        assert!(
            lines.iter().all(|line| WORDS.width(line) <= 90.0),
            "{lines:?}"
        );
        let letters = |text: &str| {
            text.chars()
                .filter(|c| !c.is_whitespace())
                .collect::<String>()
        };
        assert_eq!(letters(&lines.concat()), letters(text));
        assert!(WORDS.wrap("  ", 90.0).is_empty());
        // Narrower than a letter: one letter a line, not for ever.
        assert_eq!(WORDS.wrap("abc", 1.0), ["a", "b", "c"]);
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(WORDS.shorten("dog", 100.0), "dog");
        let short = WORDS.shorten("a very long class name", 60.0);
        assert!(
            short.ends_with('…') && WORDS.width(&short) <= 60.0,
            "{short}"
        );
        assert_eq!(WORDS.shorten("dog", 0.0), "…");
    }

    fn finder() -> Finder {
        Finder::new(Some("tests/fonts".into()))
    }

    /// Glyph numbers and places of a text.
    fn placed(text: &str) -> Vec<(u16, f32)> {
        let mut all = Vec::new();
        let each = |_: &FontRef<'static>, g: ab_glyph::Glyph| all.push((g.id.0, g.position.x));
        WORDS.place(text, &finder(), each);
        all
    }

    #[test]
    fn chinese_letters_stand_in_a_row_as_large_as_ours() {
        let glyphs = placed("中文");
        assert_eq!(glyphs.len(), 2);
        assert_eq!(glyphs[1].1 - glyphs[0].1, WORDS.em(), "a whole square each");
        assert_ne!(glyphs[0].0, glyphs[1].0);
    }

    #[test]
    fn arabic_runs_to_the_left_and_is_joined() {
        let word = placed("قطة");
        let alone: Vec<u16> = ["ق", "ط", "ة"].map(|c| placed(c)[0].0).to_vec();
        let shaped: Vec<u16> = word.iter().map(|g| g.0).collect();
        // Dots may be glyphs of their own; the letters have other forms than alone.
        assert!(
            alone.iter().all(|g| !shaped.contains(g)),
            "{shaped:?} {alone:?}"
        );
        assert!(
            word.windows(2).all(|w| w[0].1 <= w[1].1),
            "from left to right on the page"
        );
        // Behind a mark of direction a score stays behind the name.
        let line = placed("قطة\u{200E} 0.90");
        let own = placed("0.90");
        assert_eq!(line.last().map(|g| g.0), own.last().map(|g| g.0));
    }

    #[test]
    fn without_a_font_a_letter_is_as_wide_as_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let none = Finder::new(Some(folder.path().to_owned()));
        let width = WORDS.place("中", &none, |_, _| {});
        assert_eq!(width, WORDS.width("\\u{4E2D}"));
    }

    #[test]
    fn the_size_is_that_of_the_square() {
        // Ubuntu Light: 932 up and 189 down of 1000.
        assert!((WORDS.em() - 16.0 / 1.121).abs() < 1e-3, "{}", WORDS.em());
    }

    #[test]
    fn letters_are_dark_and_within_their_box() {
        let mut canvas = Canvas::new(60, 24, [255; 3]);
        WORDS.draw(&mut canvas, [10.0, 0.0], "Hg\n路", [0, 0, 0, 255]);
        let image = canvas.into_image();
        let dark = |x: u32, y: u32| image.get_pixel(x, y).0[0] < 128;
        let count = (0..60)
            .flat_map(|x| (0..24).map(move |y| (x, y)))
            .filter(|&(x, y)| dark(x, y))
            .count();
        assert!(count > 30, "{count} dark pixels");
        assert!(
            (0..9).all(|x| (0..24).all(|y| !dark(x, y))),
            "nothing left of the start"
        );
        assert!(
            (0..60).all(|x| !dark(x, 0) && !dark(x, 23)),
            "nothing above or below the line"
        );
    }
}
