//! Heat maps as textures: coloured once, drawn every frame.

use std::sync::Arc;

use egui::{
    Color32, ColorImage, Painter, Rect, Shape, Stroke, TextureHandle, TextureOptions, pos2, vec2,
};

use super::paint::{CASING, LINE};
use crate::attention::view::Heat;
use crate::picture::heat::Map;
use crate::picture::{Coloring, Look, Range, Sampling};

/// Draws heat maps; keeps the texture and the contour lines of the last one.
#[derive(Default)]
pub struct HeatLayer {
    kept: Option<Kept>,
}

struct Kept {
    values: Arc<[f32]>,
    size: [usize; 2],
    look: Look,
    shared: Option<Range>,
    coloring: Coloring,
    /// In cells of the map.
    contours: Vec<[f32; 4]>,
    texture: TextureHandle,
}

impl HeatLayer {
    /// Draws a map over `target`, which is where its whole extent lies on the screen, and returns
    /// its colours, for the bar; nothing if its values do not fill it. `shared` is the range that
    /// it shares with other maps, if there are any (see [`Look::own_range`]).
    pub fn paint(
        &mut self,
        painter: &Painter,
        heat: &Heat,
        look: &Look,
        shared: Option<Range>,
        target: Rect,
    ) -> Option<&Coloring> {
        let kept = self.refresh(painter.ctx(), heat, look, shared)?;
        let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        let alpha = (look.opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
        let tint = Color32::from_white_alpha(alpha);
        painter.image(kept.texture.id(), target, uv, tint);
        kept.draw_contours(painter, target);
        Some(&kept.coloring)
    }

    /// The colours of the map that was drawn last.
    pub fn coloring(&self) -> Option<&Coloring> {
        self.kept.as_ref().map(|kept| &kept.coloring)
    }

    fn refresh(
        &mut self,
        ctx: &egui::Context,
        heat: &Heat,
        look: &Look,
        shared: Option<Range>,
    ) -> Option<&Kept> {
        // The texture is opaque: moving the opacity must not colour it again, nor must the border.
        let look = Look {
            opacity: 1.0,
            border: false,
            ..*look
        };
        let size = [heat.rows, heat.cols];
        let same = |kept: &Kept| {
            Arc::ptr_eq(&kept.values, &heat.values)
                && (kept.size, kept.look, kept.shared) == (size, look, shared)
        };
        if self.kept.as_ref().is_some_and(same) {
            return self.kept.as_ref();
        }
        let map = Map::new(&heat.values, heat.rows, heat.cols)?;
        let coloring = look.coloring(&heat.values, shared);
        let contours = map.contours(&coloring.levels);
        let image = image(&map, &coloring);
        let options = match look.sampling {
            Sampling::Nearest => TextureOptions::NEAREST,
            Sampling::Smooth => TextureOptions::LINEAR,
        };
        let texture = match self.kept.take() {
            Some(Kept { mut texture, .. }) => {
                texture.set(image, options);
                texture
            }
            None => ctx.load_texture("heat map", image, options),
        };
        Some(self.kept.insert(Kept {
            values: heat.values.clone(),
            size,
            look,
            shared,
            coloring,
            contours,
            texture,
        }))
    }
}

impl Kept {
    fn draw_contours(&self, painter: &Painter, target: Rect) {
        let [rows, cols] = self.size.map(|n| n as f32);
        let cell = vec2(target.width() / cols, target.height() / rows);
        let at = |x: f32, y: f32| target.min + vec2(x, y) * cell;
        for stroke in [Stroke::new(3.0, CASING), Stroke::new(1.0, LINE)] {
            let line = |&[x1, y1, x2, y2]: &[f32; 4]| {
                Shape::line_segment([at(x1, y1), at(x2, y2)], stroke)
            };
            painter.extend(self.contours.iter().map(line));
        }
    }
}

/// The coloured map: one texel per cell, or more where it is to be smooth.
fn image(map: &Map<'_>, coloring: &Coloring) -> ColorImage {
    let (size, pixels) = map.texels(coloring);
    ColorImage::from_rgba_unmultiplied(size, &pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Colormap, Contour};

    fn heat(values: &[f32], rows: usize, cols: usize) -> Heat {
        Heat {
            quantity: "q",
            values: values.to_vec().into(),
            rows,
            cols,
            extent: [cols as f32, rows as f32],
        }
    }

    /// Whether the layer uploaded something since it was asked last.
    fn uploaded(ctx: &egui::Context) -> bool {
        let mut delta = ctx.tex_manager().write().take_delta();
        let any = !delta.is_empty();
        delta.clear();
        any
    }

    #[test]
    fn cells_keep_their_colours() {
        let map = heat(&[0.0, 1.0, 2.0, 3.0], 2, 2);
        let coloring = Look::default().coloring(&map.values, None);
        let image = image(
            &Map::new(&map.values, 2, 2).unwrap(),
            &Coloring {
                opacity: 1.0,
                ..coloring
            },
        );
        assert_eq!(image.size, [2, 2]);
        let [r, g, b] = Colormap::Viridis.sample(1.0);
        assert_eq!(image.pixels[3], Color32::from_rgb(r, g, b));
    }

    #[test]
    fn a_map_without_its_values_is_not_drawn() {
        let ctx = egui::Context::default();
        let mut map = heat(&[0.0, 1.0], 1, 2);
        map.rows = 3;
        let mut layer = HeatLayer::default();
        assert!(layer.refresh(&ctx, &map, &Look::default(), None).is_none());
    }

    #[test]
    fn an_unchanged_map_is_not_coloured_again() {
        let ctx = egui::Context::default();
        let mut layer = HeatLayer::default();
        let map = heat(&[0.0, 1.0], 1, 2);
        let look = Look::default();
        let mut draw = |look: &Look, shared| {
            let kept = layer.refresh(&ctx, &map.clone(), look, shared);
            (kept.unwrap().texture.id(), uploaded(&ctx))
        };
        let (first, _) = draw(&look, None);
        assert_eq!(draw(&look, None), (first, false));
        let paler = Look {
            opacity: 0.2,
            border: true,
            ..look
        };
        assert_eq!(draw(&paler, None), (first, false));
        let other = Look {
            colormap: Colormap::Magma,
            ..look
        };
        assert_eq!(draw(&other, None), (first, true));
        assert_eq!(draw(&other, Some(Range::UNIT)), (first, true));
    }

    #[test]
    fn contours_are_kept_with_the_map() {
        let ctx = egui::Context::default();
        let mut layer = HeatLayer::default();
        let map = heat(&[0.0, 1.0, 0.0, 1.0], 2, 2);
        let look = Look {
            contour: Contour::Levels(1),
            ..Look::default()
        };
        let kept = layer.refresh(&ctx, &map, &look, None).unwrap();
        assert_eq!(kept.contours, [[1.0, 0.5, 1.0, 1.5]]);
    }
}
