//! Pages as vectors: SVG 1.1 with the text as text, photographs and maps as embedded pictures.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, RgbaImage};

use super::draw::{Color, opaque};
use super::surface::{Anchor, Pictured, Surface, Text, png, resized};
use super::text::Face;
use super::{Coloring, Photo, Sampling};

/// The typefaces of the window first, then what systems have, then what covers other scripts.
const WORDS: &str = "Ubuntu, 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', 'Noto Sans CJK SC', \
                     'Noto Sans Arabic', sans-serif";
const NUMBERS: &str = "Hack, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
/// A photograph is embedded with at most so many pixels per point.
const PHOTO_DENSITY: f32 = 2.0;
/// Colours given of a colour bar.
const STOPS: usize = 32;

/// A page of vectors. The same page gives the same bytes.
pub(super) struct Svg {
    out: String,
    /// Clips and gradients so far, for their names.
    names: usize,
}

impl Svg {
    /// A page of so many points with a title and a description for readers and search.
    pub fn new([width, height]: [f32; 2], color: [u8; 3], title: &str, about: &str) -> Self {
        let (w, h) = (number(width), number(height));
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" \
             xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
             width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n"
        );
        for (tag, text) in [("title", title), ("desc", about)] {
            if !text.is_empty() {
                let _ = writeln!(out, "<{tag}>{}</{tag}>", escaped(text));
            }
        }
        let _ = writeln!(out, "<g font-family=\"{WORDS}\">");
        let mut page = Self { out, names: 0 };
        page.rect([0.0, 0.0, width, height], opaque(color));
        page
    }

    /// The finished file.
    pub fn finish(mut self) -> String {
        self.out.push_str("</g>\n</svg>\n");
        self.out
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    /// `<tag … fill="…"/>`, if all numbers are finite.
    fn filled(&mut self, tag: &str, numbers: &[(&str, f32)], color: Color) {
        if numbers.iter().any(|(_, v)| !v.is_finite()) {
            return;
        }
        let _ = write!(self.out, "<{tag}");
        for (name, value) in numbers {
            let _ = write!(self.out, " {name}=\"{}\"", number(*value));
        }
        let _ = writeln!(self.out, "{}/>", paint("fill", color));
    }

    fn path(&mut self, path: &str, stroke: Option<f32>, round: bool, color: Color) {
        if path.is_empty() {
            return;
        }
        let _ = write!(self.out, "<path d=\"{path}\"");
        match stroke {
            None => self.out.push_str(&paint("fill", color)),
            Some(width) => {
                let ends = if round {
                    " stroke-linecap=\"round\" stroke-linejoin=\"round\""
                } else {
                    ""
                };
                let (width, color) = (number(width), paint("stroke", color));
                let _ = write!(
                    self.out,
                    " fill=\"none\" stroke-width=\"{width}\"{ends}{color}"
                );
            }
        }
        self.out.push_str("/>\n");
    }

    fn image(&mut self, [x1, y1, x2, y2]: [f32; 4], image: &DynamicImage, more: &str) {
        if ![x1, y1, x2, y2].iter().all(|v| v.is_finite()) {
            return;
        }
        // Only a lack of memory keeps a picture from being encoded.
        let Ok(bytes) = png(image) else { return };
        let [x, y, w, h] = [x1, y1, x2 - x1, y2 - y1].map(number);
        let _ = writeln!(
            self.out,
            "<image x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" \
             preserveAspectRatio=\"none\"{more} xlink:href=\"data:image/png;base64,{}\"/>",
            STANDARD.encode(bytes)
        );
    }
}

impl Surface for Svg {
    fn rect(&mut self, [x1, y1, x2, y2]: [f32; 4], color: Color) {
        let sides = [
            ("x", x1),
            ("y", y1),
            ("width", x2 - x1),
            ("height", y2 - y1),
        ];
        if x2 > x1 && y2 > y1 {
            self.filled("rect", &sides, color);
        }
    }

    fn rounded(&mut self, [x1, y1, x2, y2]: [f32; 4], radius: f32, color: Color) {
        let (width, height) = (x2 - x1, y2 - y1);
        let radius = radius.min(width / 2.0).min(height / 2.0).max(0.0);
        let sides = [
            ("x", x1),
            ("y", y1),
            ("width", width),
            ("height", height),
            ("rx", radius),
        ];
        self.filled("rect", &sides, color);
    }

    fn frame(&mut self, rect: [f32; 4], width: f32, color: Color) {
        if rect.iter().any(|v| !v.is_finite()) {
            return;
        }
        let [x1, y1, x2, y2] = rect.map(number);
        let path = format!("M{x1} {y1}H{x2}V{y2}H{x1}Z");
        self.path(&path, Some(width), false, color);
    }

    fn lines(&mut self, lines: &[[f32; 4]], width: f32, color: Color) {
        let mut path = String::new();
        for line in lines.iter().filter(|l| l.iter().all(|v| v.is_finite())) {
            let [x1, y1, x2, y2] = line.map(number);
            let _ = write!(path, "M{x1} {y1}L{x2} {y2}");
        }
        self.path(&path, Some(width), false, color);
    }

    fn polyline(&mut self, points: &[[f32; 2]], width: f32, color: Color) {
        self.path(&through(points), Some(width), true, color);
    }

    fn polygon(&mut self, points: &[[f32; 2]], color: Color) {
        let mut path = through(points);
        if !path.is_empty() {
            path.push('Z');
        }
        self.path(&path, None, false, color);
    }

    fn disc(&mut self, [x, y]: [f32; 2], radius: f32, color: Color) {
        self.filled("circle", &[("cx", x), ("cy", y), ("r", radius)], color);
    }

    fn text(&mut self, text: Text<'_>) {
        if text.words.trim().is_empty() || text.at.iter().any(|v| !v.is_finite()) {
            return;
        }
        let [x, y] = [text.at[0], text.at[1] + text.kind.baseline()].map(number);
        let anchor = match text.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let face = match text.kind.face {
            Face::Words => String::new(),
            Face::Numbers => format!(" font-family=\"{NUMBERS}\""),
        };
        // The place was measured with our typefaces: others are set to the same length.
        let length = match text.kind.covers(text.words) {
            true => format!(
                " textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"",
                number(text.kind.width(text.words))
            ),
            false => String::new(),
        };
        let _ = writeln!(
            self.out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"{face}{anchor}{length}{}>{}</text>",
            number(text.kind.em()),
            paint("fill", opaque(text.color)),
            escaped(text.words)
        );
    }

    fn photo(&mut self, target: [f32; 4], photo: &Photo) {
        let most = |points: f32| (points * PHOTO_DENSITY).round().max(1.0) as u32;
        let width = (photo.width as u32).min(most(target[2] - target[0]));
        let height = (photo.height as u32).min(most(target[3] - target[1]));
        if let Some(image) = resized(photo, width, height) {
            self.image(target, &DynamicImage::ImageRgb8(image), "");
        }
    }

    fn heat(&mut self, heat: &Pictured<'_>) {
        // Half a point of opacity would be lost in 8 bits: it is an attribute.
        let coloring = Coloring {
            opacity: 1.0,
            ..heat.coloring.clone()
        };
        let ([width, height], pixels) = heat.map.texels(&coloring);
        let Some(image) = RgbaImage::from_raw(width as u32, height as u32, pixels) else {
            return;
        };
        let crisp = match coloring.sampling {
            Sampling::Nearest => {
                " style=\"image-rendering:pixelated\" image-rendering=\"optimizeSpeed\""
            }
            Sampling::Smooth => "",
        };
        let opacity = number(heat.coloring.opacity);
        let more = format!(" opacity=\"{opacity}\"{crisp}");
        self.image(heat.target, &DynamicImage::ImageRgba8(image), &more);
    }

    fn gradient(&mut self, rect: [f32; 4], coloring: &Coloring) {
        if coloring.range.is_flat() {
            return self.rect(rect, opaque(coloring.sample(0.5)));
        }
        let name = self.name("bar");
        let _ = write!(
            self.out,
            "<linearGradient id=\"{name}\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">"
        );
        for i in 0..=STOPS {
            let t = i as f32 / STOPS as f32;
            let color = hex(coloring.sample(t));
            let offset = number(t * 100.0);
            let _ = write!(
                self.out,
                "<stop offset=\"{offset}%\" stop-color=\"{color}\"/>"
            );
        }
        let [x1, y1, x2, y2] = rect;
        let [x, y, w, h] = [x1, y1, x2 - x1, y2 - y1].map(number);
        let _ = writeln!(
            self.out,
            "</linearGradient>\n<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"url(#{name})\"/>"
        );
    }

    fn clipped(&mut self, [x1, y1, x2, y2]: [f32; 4], draw: &mut dyn FnMut(&mut dyn Surface)) {
        let name = self.name("clip");
        let [x, y, w, h] = [x1, y1, x2 - x1, y2 - y1].map(number);
        let _ = writeln!(
            self.out,
            "<clipPath id=\"{name}\"><rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/></clipPath>\n\
             <g clip-path=\"url(#{name})\">"
        );
        draw(self);
        self.out.push_str("</g>\n");
    }
}

/// `M… L…` through points; empty if one of them is not finite.
fn through(points: &[[f32; 2]]) -> String {
    let mut path = String::new();
    if points.iter().flatten().all(|v| v.is_finite()) {
        for (i, &point) in points.iter().enumerate() {
            let [x, y] = point.map(number);
            let _ = write!(path, "{}{x} {y}", if i == 0 { 'M' } else { 'L' });
        }
    }
    path
}

/// A number with two decimals, without zeros at its end. What no page reaches is brought near.
fn number(value: f32) -> String {
    let value = value.clamp(-1e6, 1e6);
    let mut text = format!("{value:.2}");
    while text.ends_with('0') {
        text.pop();
    }
    if text.ends_with('.') {
        text.pop();
    }
    if text == "-0" { "0".to_owned() } else { text }
}

/// ` fill="#rrggbb"`, with the opacity where there is one.
fn paint(what: &str, [r, g, b, alpha]: Color) -> String {
    let mut text = format!(" {what}=\"{}\"", hex([r, g, b]));
    if alpha < 255 {
        let opacity = number(f32::from(alpha) / 255.0);
        let _ = write!(text, " {what}-opacity=\"{opacity}\"");
    }
    text
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text as XML content; characters that XML cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_wild() {
        let cases = [
            (1.0, "1"),
            (0.126, "0.13"),
            (-0.001, "0"),
            (100.0, "100"),
            (-2.5, "-2.5"),
            (1e30, "1000000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(
            escaped("<a href=\"x\">&\u{0}\n猫</a>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd} 猫&lt;/a&gt;"
        );
    }
}
