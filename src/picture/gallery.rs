//! Small maps side by side, under one colour bar.

use super::colorbar::ColorBar;
use super::draw::opaque;
use super::heat::Map;
use super::page::{GRID, INK, Laid, Place, QUIET, words};
use super::surface::{Anchor, Pictured, Surface, Text};
use super::text::Type;
use super::{Coloring, Look, Range, RangeRule};
use crate::attention::view::Heat;

const LABEL: Type = words(13.0);
const GAP: f32 = 10.0;
const BAR_GAP: f32 = 16.0;

/// Small maps in their order. All have the same colours for the same values.
#[derive(Clone, Debug)]
pub struct Gallery {
    maps: Vec<(String, Heat, Coloring)>,
    /// Colours of the whole.
    coloring: Coloring,
    quantity: &'static str,
}

impl Gallery {
    /// Maps with a short text each, over a range that they share unless it is locked.
    pub fn new(maps: Vec<(String, Heat)>, look: &Look) -> Self {
        let look = Look {
            opacity: 1.0,
            rule: match look.rule {
                RangeRule::Locked(range) => RangeRule::Locked(range),
                _ => RangeRule::Shared,
            },
            ..*look
        };
        let own = maps.iter().map(|(_, heat)| look.own_range(&heat.values));
        let shared = own.reduce(Range::union);
        let raws = maps.iter().map(|(_, heat)| Range::of(&heat.values));
        let raw = raws.reduce(Range::union).unwrap_or(Range::UNIT);
        let coloring = Coloring {
            raw,
            ..look.coloring(&[raw.min, raw.max], shared)
        };
        let quantity = maps.first().map_or("", |(_, heat)| heat.quantity);
        let color = |(name, heat): (String, Heat)| {
            let coloring = look.coloring(&heat.values, shared);
            (name, heat, coloring)
        };
        Self {
            maps: maps.into_iter().map(color).collect(),
            coloring,
            quantity,
        }
    }

    pub(super) fn layout(&self, place: Place) -> Laid<'_> {
        let (most, side) = place.pick((64, 120.0), (9, 84.0));
        let shown = self.maps.get(..most).unwrap_or(&self.maps);
        let aspect = shown.first().map_or(1.0, |(_, heat, _)| {
            heat.cols.max(1) as f32 / heat.rows.max(1) as f32
        });
        // Slim maps are still seen.
        let size = match aspect >= 1.0 {
            true => [side, (side / aspect).max(8.0).round()],
            false => [(side * aspect).max(8.0).round(), side],
        };
        let pitch = [
            size[0].max(side * 0.6) + GAP,
            size[1] + LABEL.line_height() + GAP,
        ];
        let columns = (shown.len() as f32 * pitch[1] / pitch[0])
            .sqrt()
            .ceil()
            .max(1.0) as usize;
        let rows = shown.len().div_ceil(columns);
        let left_out = match self.maps.len() - shown.len() {
            0 => String::new(),
            n => format!("{n} more"),
        };
        let width = columns as f32 * pitch[0] - GAP;
        let height = rows as f32 * pitch[1] + LABEL.line_height() * f32::from(!left_out.is_empty());
        let body = Laid {
            size: [width.max(0.0), height],
            draw: Box::new(move |on, [x, y]| {
                for (i, map) in shown.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let at = [x + column as f32 * pitch[0], y + row as f32 * pitch[1]];
                    small(on, map, at, size, pitch[0] - GAP);
                }
                let below = [x, y + rows as f32 * pitch[1]];
                on.text(Text::new(&left_out, below, LABEL, QUIET));
            }),
        };
        ColorBar::new(&self.coloring, self.quantity, height).beside(body, BAR_GAP)
    }
}

/// One map with its text above.
fn small(
    on: &mut dyn Surface,
    (name, heat, coloring): &(String, Heat, Coloring),
    [x, y]: [f32; 2],
    [width, height]: [f32; 2],
    room: f32,
) {
    let name = LABEL.shorten(name, room);
    let text = Text::new(&name, [x, y], LABEL, INK);
    on.text(text.anchored(Anchor::Start));
    let top = y + LABEL.line_height();
    let target = [x, top, x + width, top + height];
    if let Some(map) = Map::new(&heat.values, heat.rows, heat.cols) {
        on.heat(&Pictured {
            target,
            map,
            coloring,
        });
    }
    on.frame(target, 1.0, opaque(GRID));
}
