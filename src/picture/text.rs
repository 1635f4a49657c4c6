//! Text on a canvas, in the fonts the window uses too.

use std::sync::OnceLock;

use ab_glyph::{Font as _, FontRef, ScaleFont as _};

use super::draw::{Canvas, Color};

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
        self.place(text, |_, _| {})
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

    /// Draws a text with its upper left corner at `at`.
    pub fn draw(self, canvas: &mut Canvas, at: [f32; 2], text: &str, color: Color) {
        let Some(ascent) = fonts(self.face)
            .next()
            .map(|font| font.as_scaled(self.size).ascent())
        else {
            return;
        };
        // The line is a little taller than the letters: centre them in it. A whole baseline keeps
        // feet of letters sharp.
        let baseline = (at[1] + (self.line_height() - self.size) / 2.0 + ascent).round();
        self.place(text, |font, mut glyph| {
            glyph.position.x += at[0];
            glyph.position.y = baseline;
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

    /// Walks the glyphs of a text from position 0; returns its width. Without fonts there are none.
    fn place(self, text: &str, mut each: impl FnMut(&FontRef<'static>, ab_glyph::Glyph)) -> f32 {
        let mut x = 0.0;
        for c in text.chars() {
            let c = if c.is_whitespace() || c.is_control() {
                ' '
            } else {
                c
            };
            let has = |font: &&&FontRef<'static>| font.glyph_id(c).0 != 0;
            let Some(font) = fonts(self.face)
                .find(|f| has(&f))
                .or_else(|| fonts(self.face).next())
            else {
                return 0.0;
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
