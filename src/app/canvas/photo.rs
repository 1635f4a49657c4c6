//! The photograph as a texture, uploaded once for all panes.

use std::sync::{Arc, Mutex, PoisonError};

use egui::{ColorImage, Id, TextureFilter, TextureHandle, TextureOptions};
use image::{ImageBuffer, Rgb, imageops};

use crate::picture::Photo;

/// Longest texture side: more is not seen and not every graphics card takes it.
const MAX_SIDE: usize = 2048;
/// Photographs up to this many pixels are made into a texture at once; larger ones beside the
/// window, which must not stand still for them.
const AT_ONCE: usize = 1 << 20;

/// A picture that is being made by a thread.
type Slot = Arc<Mutex<Option<ColorImage>>>;

#[derive(Clone)]
enum Kept {
    Making(u64, Slot),
    Ready(u64, TextureHandle),
}

/// The texture of a photograph; `None` while a large one is being made ready.
pub fn texture(ctx: &egui::Context, photo: &Arc<Photo>) -> Option<TextureHandle> {
    let id = Id::unique("the photograph on the graphics card");
    let kept = match ctx.data(|d| d.get_temp::<Kept>(id)) {
        Some(Kept::Ready(digest, texture)) if digest == photo.digest => return Some(texture),
        Some(Kept::Making(digest, slot)) if digest == photo.digest => {
            let made = slot.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            Kept::Ready(digest, upload(ctx, photo, made))
        }
        _ => start(ctx, photo),
    };
    ctx.data_mut(|d| d.insert_temp(id, kept.clone()));
    match kept {
        Kept::Ready(_, texture) => Some(texture),
        Kept::Making(..) => None,
    }
}

fn start(ctx: &egui::Context, photo: &Arc<Photo>) -> Kept {
    let side = ctx.input(|i| i.max_texture_side).clamp(1, MAX_SIDE);
    if photo.width * photo.height <= AT_ONCE {
        return Kept::Ready(photo.digest, upload(ctx, photo, shrunk(photo, side)));
    }
    let slot = Slot::default();
    let (theirs, photo_there, ctx) = (slot.clone(), photo.clone(), ctx.clone());
    std::thread::spawn(move || {
        let made = shrunk(&photo_there, side);
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        ctx.request_repaint();
    });
    Kept::Making(photo.digest, slot)
}

fn upload(ctx: &egui::Context, photo: &Photo, image: ColorImage) -> TextureHandle {
    // Mipmaps keep a large photograph in a small pane from flickering.
    let options = TextureOptions::LINEAR.with_mipmap_mode(Some(TextureFilter::Linear));
    ctx.load_texture(photo.name.clone(), image, options)
}

/// The photograph with sides of at most `side`.
fn shrunk(photo: &Photo, side: usize) -> ColorImage {
    let size = [photo.width, photo.height];
    let longest = photo.width.max(photo.height);
    if longest <= side {
        return ColorImage::from_rgb(size, &photo.rgb);
    }
    let target = size.map(|s| ((s as u64 * side as u64 / longest as u64) as usize).max(1));
    let [w, h] = size.map(|s| s as u32);
    match ImageBuffer::<Rgb<u8>, &[u8]>::from_raw(w, h, &photo.rgb) {
        Some(whole) => {
            let small = imageops::thumbnail(&whole, target[0] as u32, target[1] as u32);
            ColorImage::from_rgb(target, small.as_raw())
        }
        None => ColorImage::filled([1, 1], egui::Color32::GRAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_photographs_shrink_and_keep_their_shape() {
        let rgba: Vec<u8> = [200, 100, 50, 255].repeat(300 * 100);
        let photo = Photo::from_rgba("p", 300, 100, &rgba).unwrap();
        let image = shrunk(&photo, 120);
        assert_eq!(image.size, [120, 40]);
        assert_eq!(image.pixels[0], egui::Color32::from_rgb(200, 100, 50));
        assert_eq!(shrunk(&photo, 300).size, [300, 100]);
    }

    #[test]
    fn one_upload_serves_every_pane() {
        let ctx = egui::Context::default();
        let photo = Arc::new(Photo::from_rgba("p", 2, 1, &[9; 8]).unwrap());
        let first = texture(&ctx, &photo).unwrap().id();
        assert_eq!(texture(&ctx, &photo).unwrap().id(), first);
    }
}
