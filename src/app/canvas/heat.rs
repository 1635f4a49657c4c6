//! Heat maps as textures: coloured once, drawn every frame.

use std::sync::Arc;

use egui::{Color32, ColorImage, Painter, Rect, TextureHandle, TextureId, TextureOptions, pos2};

use crate::app::pane::Look;
use crate::attention::view::Heat;
use crate::picture::heat::{Map, Paint};
use crate::picture::{Colormap, Range, Sampling};

/// Smooth maps are enlarged by at most this much…
const SMOOTH_FACTOR: usize = 8;
/// … and to sides of at most about this many texels.
const SMOOTH_SIDE: usize = 512;

/// The range that a map is coloured over: that of its values; around zero for the diverging map
/// where values have both signs.
pub fn shown_range(values: Range, colormap: Colormap) -> Range {
    match colormap {
        Colormap::BlueRed if values.min < 0.0 && values.max > 0.0 => values.symmetric(),
        _ => values,
    }
}

/// A heat map with the range of its values.
#[derive(Debug, Clone)]
pub struct Ranged {
    /// The map.
    pub heat: Heat,
    /// Range of its finite values.
    pub range: Range,
}

impl From<Heat> for Ranged {
    fn from(heat: Heat) -> Self {
        let range = Range::of(&heat.values);
        Self { heat, range }
    }
}

/// Draws heat maps; keeps the texture of the last one.
#[derive(Default)]
pub struct HeatLayer {
    kept: Option<(Key, TextureHandle)>,
}

struct Key {
    values: Arc<[f32]>,
    cols: usize,
    colormap: Colormap,
    sampling: Sampling,
}

impl HeatLayer {
    /// Draws a map over `target`, which is where its whole extent lies on the screen.
    pub fn paint(&mut self, painter: &Painter, map: &Ranged, look: &Look, target: Rect) {
        let Some(texture) = self.texture(painter.ctx(), map, look) else {
            return;
        };
        let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        let alpha = (look.opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
        painter.image(texture, target, uv, Color32::from_white_alpha(alpha));
    }

    fn texture(&mut self, ctx: &egui::Context, map: &Ranged, look: &Look) -> Option<TextureId> {
        let Ranged { heat, range } = map;
        if let Some((key, texture)) = &self.kept
            && Arc::ptr_eq(&key.values, &heat.values)
            && key.cols == heat.cols
            && (key.colormap, key.sampling) == (look.colormap, look.sampling)
        {
            return Some(texture.id());
        }
        let image = image(heat, *range, look)?;
        let options = match look.sampling {
            Sampling::Nearest => TextureOptions::NEAREST,
            Sampling::Smooth => TextureOptions::LINEAR,
        };
        let key = Key {
            values: heat.values.clone(),
            cols: heat.cols,
            colormap: look.colormap,
            sampling: look.sampling,
        };
        let texture = match self.kept.take() {
            Some((_, mut texture)) => {
                texture.set(image, options);
                texture
            }
            None => ctx.load_texture("heat map", image, options),
        };
        let id = texture.id();
        self.kept = Some((key, texture));
        Some(id)
    }
}

/// The coloured map: one texel per cell, or more where it is to be smooth. `None` if its values do
/// not fill it.
fn image(heat: &Heat, range: Range, look: &Look) -> Option<ColorImage> {
    let map = Map::new(&heat.values, heat.rows, heat.cols)?;
    let paint = Paint {
        colormap: look.colormap,
        range: shown_range(range, look.colormap),
        sampling: look.sampling,
        // The texture is opaque: moving the opacity must not colour it again.
        opacity: 1.0,
    };
    let factor = match look.sampling {
        Sampling::Nearest => 1,
        Sampling::Smooth => (SMOOTH_SIDE / heat.rows.max(heat.cols)).clamp(1, SMOOTH_FACTOR),
    };
    let size = [heat.cols * factor, heat.rows * factor];
    let pixels = map.rgba(&paint, size[0], size[1]);
    Some(ColorImage::from_rgba_unmultiplied(size, &pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(values: &[f32], rows: usize, cols: usize) -> Ranged {
        Ranged::from(Heat {
            quantity: "q",
            values: values.to_vec().into(),
            rows,
            cols,
            extent: [cols as f32, rows as f32],
        })
    }

    #[test]
    fn cells_keep_their_colours() {
        let map = heat(&[0.0, 1.0, 2.0, 3.0], 2, 2);
        let image = image(&map.heat, map.range, &Look::default()).unwrap();
        assert_eq!(image.size, [2, 2]);
        let [r, g, b] = Colormap::Viridis.sample(1.0);
        assert_eq!(image.pixels[3], Color32::from_rgb(r, g, b));
    }

    #[test]
    fn smooth_maps_get_more_texels_and_wide_ones_are_not_blown_up() {
        let look = Look {
            sampling: Sampling::Smooth,
            ..Look::default()
        };
        let small = heat(&[0.0, 1.0], 1, 2);
        assert_eq!(
            image(&small.heat, small.range, &look).unwrap().size,
            [16, 8]
        );
        let large = heat(&vec![0.0; 400 * 600], 400, 600);
        assert_eq!(
            image(&large.heat, large.range, &look).unwrap().size,
            [600, 400]
        );
    }

    #[test]
    fn a_map_without_its_values_is_not_drawn() {
        let mut map = heat(&[0.0, 1.0], 1, 2);
        map.heat.rows = 3;
        assert!(image(&map.heat, map.range, &Look::default()).is_none());
    }

    #[test]
    fn the_diverging_map_is_centred_on_zero() {
        let range = Range {
            min: -1.0,
            max: 3.0,
        };
        assert_eq!(shown_range(range, Colormap::BlueRed).min, -3.0);
        assert_eq!(shown_range(range, Colormap::Viridis), range);
    }

    #[test]
    fn an_unchanged_map_is_not_coloured_again() {
        let ctx = egui::Context::default();
        let mut layer = HeatLayer::default();
        let map = heat(&[0.0, 1.0], 1, 2);
        let look = Look::default();
        let first = layer.texture(&ctx, &map, &look);
        // The delta of a second upload would show up here.
        ctx.tex_manager().write().take_delta().clear();
        assert_eq!(layer.texture(&ctx, &map.clone(), &look), first);
        assert!(ctx.tex_manager().write().take_delta().is_empty());
        let other = Look {
            colormap: Colormap::Magma,
            ..look
        };
        assert_eq!(layer.texture(&ctx, &map, &other), first);
        let mut delta = ctx.tex_manager().write().take_delta();
        assert!(!delta.is_empty());
        delta.clear();
    }
}
