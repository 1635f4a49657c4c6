//! The layout of a page, in points: texts, the main picture, those beside it.

use super::draw::opaque;
use super::figure::{Figure, Panel};
use super::surface::{Surface, Text};
use super::text::{Face, Type};

/// The paper.
pub(super) const PAGE: [u8; 3] = [255, 255, 255];
/// Titles and numbers.
pub(super) const INK: [u8; 3] = [28, 30, 34];
/// Captions, labels, axes.
pub(super) const QUIET: [u8; 3] = [88, 92, 100];
/// Lines of grids and tables.
pub(super) const GRID: [u8; 3] = [226, 228, 232];
const BADGE_BACK: [u8; 3] = [255, 221, 150];
const BADGE_INK: [u8; 3] = [92, 52, 0];

const MARGIN: f32 = 24.0;
const GAP: f32 = 12.0;
/// Between the main picture and those beside it.
const WIDE_GAP: f32 = 28.0;
/// Between the edge of a badge and its text.
const BADGE_INSET: f32 = 9.0;
const TITLE: Type = words(22.0);
/// Titles of the pictures beside.
const SUBTITLE: Type = words(16.0);
const SMALL: Type = words(15.0);
/// Narrowest column of text, so that a slim photograph does not break its title into letters.
const MIN_TEXT: f32 = 420.0;

/// A size of the typeface for words.
pub(super) const fn words(size: f32) -> Type {
    Type {
        face: Face::Words,
        size,
    }
}

/// A size of the typeface for numbers.
pub(super) const fn numbers(size: f32) -> Type {
    Type {
        face: Face::Numbers,
        size,
    }
}

/// Where a picture stands on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the middle of things.
    Main,
    /// Beside another.
    Beside,
}

impl Place {
    /// One of two measures.
    pub fn pick<T>(self, main: T, beside: T) -> T {
        match self {
            Self::Main => main,
            Self::Beside => beside,
        }
    }
}

/// A body that knows its size in points and waits for its place.
pub(super) struct Laid<'a> {
    pub size: [f32; 2],
    pub draw: Draw<'a>,
}

/// Draws with the upper left corner at a place.
pub(super) type Draw<'a> = Box<dyn Fn(&mut dyn Surface, [f32; 2]) + 'a>;

/// A body in its place, with its title above.
struct Placed<'a> {
    corner: [f32; 2],
    title: Vec<String>,
    laid: Laid<'a>,
}

/// Lines of text from an upper edge on.
struct Lines {
    lines: Vec<String>,
    top: f32,
}

/// Where everything goes, in points.
pub(super) struct Page<'a> {
    pub size: [f32; 2],
    title: Lines,
    chosen: Lines,
    badge: Lines,
    caption: Lines,
    bodies: Vec<Placed<'a>>,
}

impl<'a> Page<'a> {
    pub fn new(figure: &'a Figure) -> Self {
        let (inner, mut bodies) = arrange(figure);
        let width = inner[0].max(MIN_TEXT);
        let mut y = MARGIN;
        let mut text = |kind: Type, text: &str, width: f32, more: f32| {
            let (lines, top) = (kind.wrap(text, width), y);
            if !lines.is_empty() {
                y += lines.len() as f32 * kind.line_height() + more + GAP / 2.0;
            }
            Lines { lines, top }
        };
        let title = text(TITLE, &figure.title, width, 0.0);
        let chosen = text(SMALL, &figure.chosen, width, 0.0);
        let badge = figure.badge.as_deref().unwrap_or_default();
        let badge = text(SMALL, badge, width - 2.0 * BADGE_INSET, 4.0);
        if y > MARGIN {
            y += GAP / 2.0;
        }
        let top = y.round();
        for placed in &mut bodies {
            placed.corner = [placed.corner[0] + MARGIN, placed.corner[1] + top];
        }
        y = top + inner[1];
        let lines = SMALL.wrap(&figure.full_caption(), width);
        if !lines.is_empty() {
            y += GAP;
        }
        let height = y + lines.len() as f32 * SMALL.line_height() + MARGIN;
        Self {
            size: [(width + 2.0 * MARGIN).ceil(), height.round()],
            title,
            chosen,
            badge,
            caption: Lines { lines, top: y },
            bodies,
        }
    }

    pub fn draw(&self, on: &mut dyn Surface) {
        lines(on, TITLE, [MARGIN, self.title.top], &self.title.lines, INK);
        lines(
            on,
            SMALL,
            [MARGIN, self.chosen.top],
            &self.chosen.lines,
            INK,
        );
        let badge = &self.badge;
        if !badge.lines.is_empty() {
            let widths = badge.lines.iter().map(|line| SMALL.width(line));
            let widest = widths.fold(0.0, f32::max);
            let height = badge.lines.len() as f32 * SMALL.line_height() + 4.0;
            let right = MARGIN + widest + 2.0 * BADGE_INSET;
            let back = [MARGIN, badge.top, right, badge.top + height];
            on.rounded(back, 5.0, opaque(BADGE_BACK));
            let at = [MARGIN + BADGE_INSET, badge.top + 2.0];
            lines(on, SMALL, at, &badge.lines, BADGE_INK);
        }
        for placed in &self.bodies {
            let [x, y] = placed.corner;
            lines(on, SUBTITLE, [x, y], &placed.title, INK);
            (placed.laid.draw)(on, [x, y + placed.title_height()]);
        }
        lines(
            on,
            SMALL,
            [MARGIN, self.caption.top],
            &self.caption.lines,
            QUIET,
        );
    }
}

impl Placed<'_> {
    fn title_height(&self) -> f32 {
        match self.title.len() {
            0 => 0.0,
            n => n as f32 * SUBTITLE.line_height() + 4.0,
        }
    }

    fn size(&self) -> [f32; 2] {
        let [width, height] = self.laid.size;
        [width.max(LEAST_PANEL), height + self.title_height()]
    }
}

/// Titles of pictures beside are broken at this width, if the picture is not wider.
const LEAST_PANEL: f32 = 220.0;

/// The bodies in their places, and the size of all of them: those beside in a column on the right,
/// or in rows below, whichever makes the smaller page.
fn arrange(figure: &Figure) -> ([f32; 2], Vec<Placed<'_>>) {
    let main = Placed {
        corner: [0.0; 2],
        title: Vec::new(),
        laid: figure.body.layout(Place::Main),
    };
    let size = main.laid.size;
    if figure.beside.is_empty() {
        return (size, vec![main]);
    }
    let panels: Vec<Placed<'_>> = figure.beside.iter().map(panel).collect();
    let sizes: Vec<[f32; 2]> = panels.iter().map(Placed::size).collect();
    let (right, below) = (column(size, &sizes), rows(size, &sizes));
    let area = |(size, _): &([f32; 2], Vec<[f32; 2]>)| size[0] * size[1];
    let (all, corners) = if area(&right) <= area(&below) {
        right
    } else {
        below
    };
    let mut bodies = vec![main];
    bodies.extend(
        panels
            .into_iter()
            .zip(corners)
            .map(|(panel, corner)| Placed { corner, ..panel }),
    );
    (all, bodies)
}

fn panel(panel: &Panel) -> Placed<'_> {
    let laid = panel.body.layout(Place::Beside);
    let width = laid.size[0].max(LEAST_PANEL);
    Placed {
        corner: [0.0; 2],
        title: SUBTITLE.wrap(&panel.title, width),
        laid,
    }
}

/// Corners in a column on the right, and the size of all.
fn column(main: [f32; 2], sizes: &[[f32; 2]]) -> ([f32; 2], Vec<[f32; 2]>) {
    let left = main[0] + WIDE_GAP;
    let (mut width, mut y) = (0.0f32, 0.0);
    let mut corners = Vec::new();
    for size in sizes {
        if y > 0.0 {
            y += WIDE_GAP;
        }
        corners.push([left, y]);
        width = width.max(size[0]);
        y = (y + size[1]).round();
    }
    ([left + width, main[1].max(y)], corners)
}

/// Corners in rows below, and the size of all.
fn rows(main: [f32; 2], sizes: &[[f32; 2]]) -> ([f32; 2], Vec<[f32; 2]>) {
    let room = main[0].max(MIN_TEXT);
    let (mut widest, mut x, mut y) = (main[0], 0.0f32, main[1] + WIDE_GAP);
    let mut tallest = 0.0f32;
    let mut corners = Vec::new();
    for size in sizes {
        if x > 0.0 && x + size[0] > room {
            (x, y) = (0.0, (y + tallest + WIDE_GAP).round());
            tallest = 0.0;
        }
        corners.push([x, y]);
        widest = widest.max(x + size[0]);
        tallest = tallest.max(size[1]);
        x = (x + size[0] + WIDE_GAP).round();
    }
    ([widest, y + tallest], corners)
}

/// Lines of text below each other.
pub(super) fn lines(
    on: &mut dyn Surface,
    kind: Type,
    at: [f32; 2],
    lines: &[String],
    color: [u8; 3],
) {
    for (i, line) in lines.iter().enumerate() {
        let top = at[1] + i as f32 * kind.line_height();
        on.text(Text::new(line, [at[0], top], kind, color));
    }
}
