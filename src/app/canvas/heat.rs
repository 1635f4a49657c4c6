//! Heat maps as textures: coloured once, drawn every frame.

use std::sync::Arc;

use egui::{Color32, ColorImage, Painter, Rect, TextureHandle, TextureOptions, pos2};

use crate::app::pane::Look;
use crate::attention::view::Heat;
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
        if map.heat.rows * map.heat.cols == 0
            || map.heat.values.len() != map.heat.rows * map.heat.cols
        {
            return;
        }
        let texture = self.texture(painter.ctx(), map, look);
        let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        let alpha = (look.opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
        painter.image(texture, target, uv, Color32::from_white_alpha(alpha));
    }

    fn texture(&mut self, ctx: &egui::Context, map: &Ranged, look: &Look) -> egui::TextureId {
        let Ranged { heat, range } = map;
        if let Some((key, texture)) = &self.kept
            && Arc::ptr_eq(&key.values, &heat.values)
            && key.cols == heat.cols
            && (key.colormap, key.sampling) == (look.colormap, look.sampling)
        {
            return texture.id();
        }
        let image = image(heat, *range, look.colormap, look.sampling);
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
        id
    }
}

/// The coloured map: one texel per cell, or enlarged where it is to be smooth.
fn image(heat: &Heat, range: Range, colormap: Colormap, sampling: Sampling) -> ColorImage {
    let range = shown_range(range, colormap);
    let lut = colormap.lut();
    let color = |value: f32| {
        let t = range.position(value);
        let [r, g, b] = match t.is_nan() {
            true => Colormap::NO_VALUE,
            false => lut[(t * 255.0).round() as usize],
        };
        Color32::from_rgb(r, g, b)
    };
    match sampling {
        Sampling::Nearest => {
            let pixels = heat.values.iter().map(|&v| color(v)).collect();
            ColorImage::new([heat.cols, heat.rows], pixels)
        }
        Sampling::Smooth => {
            let factor = (SMOOTH_SIDE / heat.rows.max(heat.cols)).clamp(1, SMOOTH_FACTOR);
            let values = enlarge(&heat.values, heat.rows, heat.cols, factor);
            let pixels = values.into_iter().map(color).collect();
            ColorImage::new([heat.cols * factor, heat.rows * factor], pixels)
        }
    }
}

/// Bilinear enlargement of a row-major map between cell centres; constant beyond the outer ones.
fn enlarge(values: &[f32], rows: usize, cols: usize, factor: usize) -> Vec<f32> {
    let taps = |n: usize| -> Vec<(usize, usize, f32)> {
        (0..n * factor)
            .map(|i| {
                let at = ((i as f32 + 0.5) / factor as f32 - 0.5).clamp(0.0, (n - 1) as f32);
                let low = at as usize;
                (low, (low + 1).min(n - 1), at - low as f32)
            })
            .collect()
    };
    let (down, across) = (taps(rows), taps(cols));
    let mut out = Vec::with_capacity(down.len() * across.len());
    for &(top, bottom, v) in &down {
        let (top, bottom) = (
            &values[top * cols..][..cols],
            &values[bottom * cols..][..cols],
        );
        for &(left, right, u) in &across {
            let above = top[left] + u * (top[right] - top[left]);
            let below = bottom[left] + u * (bottom[right] - bottom[left]);
            out.push(above + v * (below - above));
        }
    }
    out
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
        let image = image(&map.heat, map.range, Colormap::Viridis, Sampling::Nearest);
        assert_eq!(image.size, [2, 2]);
        let [r, g, b] = Colormap::Viridis.sample(1.0);
        assert_eq!(image.pixels[3], Color32::from_rgb(r, g, b));
    }

    #[test]
    fn smoothing_is_bilinear_on_the_values() {
        let big = enlarge(&[0.0, 1.0], 1, 2, 4);
        assert_eq!(&big[..8], [0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0]);
        assert_eq!(big.len(), 4 * 8);
    }

    #[test]
    fn missing_values_are_grey_and_flat_maps_have_one_colour() {
        let map = heat(&[f32::NAN, 0.5, 0.5, 0.5], 2, 2);
        let image = image(&map.heat, map.range, Colormap::Magma, Sampling::Nearest);
        assert_eq!(image.pixels[0], Color32::from_rgb(128, 128, 128));
        assert!(image.pixels[1..].iter().all(|p| *p == image.pixels[1]));
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
