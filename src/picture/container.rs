//! What the decoders do not tell: whether a file holds more than the picture they return, or less.
//!
//! Each function walks the blocks of a file without decoding them and answers `false` where the
//! file makes no sense: the decoder reports that.

use image::ImageFormat;

/// Whether a file of this format shows more than one picture (an animation or several pages).
pub fn has_more_pictures(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Gif => gif_frames(bytes).is_some_and(|n| n > 1),
        ImageFormat::WebP => webp_is_animated(bytes),
        ImageFormat::Png => png_is_animated(bytes).unwrap_or(false),
        ImageFormat::Tiff => tiff_has_second_page(bytes).unwrap_or(false),
        _ => false,
    }
}

/// Number of image blocks in a GIF, counted up to two; `None` if the file ends before its trailer
/// without a second one.
fn gif_frames(bytes: &[u8]) -> Option<usize> {
    let color_table = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut at = 13 + color_table(*bytes.get(10)?);
    let mut frames = 0;
    loop {
        match *bytes.get(at)? {
            // Extension: label, then sub-blocks.
            0x21 => at = skip_sub_blocks(bytes, at + 2)?,
            // Image: descriptor of 9 bytes, colour table, code size, sub-blocks.
            0x2c => {
                frames += 1;
                if frames > 1 {
                    return Some(frames);
                }
                let table = color_table(*bytes.get(at + 9)?);
                at = skip_sub_blocks(bytes, at + 11 + table)?;
            }
            _ => return Some(frames),
        }
    }
}

/// Position after a chain of GIF sub-blocks (length byte, data, …, zero).
fn skip_sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            n => at += 1 + usize::from(n),
        }
    }
}

/// Whether the EXIF part of a WebP file ends before the file does. The decoder would ask for as
/// much memory as the part claims to have.
pub fn webp_exif_fits(bytes: &[u8]) -> bool {
    let mut at = 12usize;
    while let Some(header) = bytes.get(at..at.saturating_add(8)) {
        let (kind, length) = header.split_at(4);
        let length = length.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let end = (at + 8).saturating_add(length as usize);
        if kind == b"EXIF" && end > bytes.len() {
            return false;
        }
        at = end.saturating_add(length as usize % 2);
    }
    true
}

/// Flag "animation" of the extended WebP header.
fn webp_is_animated(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
}

/// Whether an `acTL` chunk precedes the pixels of a PNG.
fn png_is_animated(bytes: &[u8]) -> Option<bool> {
    let mut at = 8usize;
    loop {
        let length = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        match bytes.get(at + 4..at + 8)? {
            b"acTL" => return Some(true),
            b"IDAT" | b"IEND" => return Some(false),
            _ => at = at.checked_add(12)?.checked_add(length as usize)?,
        }
    }
}

/// Whether the first directory of a TIFF points to a second one.
fn tiff_has_second_page(bytes: &[u8]) -> Option<bool> {
    let little = bytes.starts_with(b"II");
    let u16_at = |at: usize| {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if little {
            u16::from_le_bytes(raw)
        } else {
            u16::from_be_bytes(raw)
        })
    };
    let u32_at = |at: usize| {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if little {
            u32::from_le_bytes(raw)
        } else {
            u32::from_be_bytes(raw)
        })
    };
    let directory = u32_at(4)? as usize;
    let entries = usize::from(u16_at(directory)?);
    Some(u32_at(directory.checked_add(2 + 12 * entries)?)? != 0)
}

/// Whether a JPEG ends before its end-of-image marker, so that the lower part of the picture (or
/// its detail, if progressive) is missing. The decoder fills such a part and says nothing.
///
/// Markers inside segments (embedded thumbnails) are skipped with their segment.
pub fn jpeg_ends_early(bytes: &[u8]) -> bool {
    const STANDALONE: std::ops::RangeInclusive<u8> = 0xd0..=0xd8;
    let mut at = 2;
    loop {
        // Entropy-coded data and padding: up to the next 0xff that starts a marker.
        let Some(rest) = bytes.get(at..) else {
            return true;
        };
        let Some(offset) = rest.iter().position(|&b| b == 0xff) else {
            return true;
        };
        at += offset + 1;
        match bytes.get(at) {
            None => return true,
            Some(0xd9) => return false,
            // A stuffed zero, a fill byte, a restart marker: no segment follows.
            Some(0x00 | 0x01) => at += 1,
            Some(0xff) => {}
            Some(marker) if STANDALONE.contains(marker) => at += 1,
            Some(_) => {
                let Some(&length) = bytes.get(at + 1..).and_then(|b| b.first_chunk()) else {
                    return true;
                };
                at += 1 + usize::from(u16::from_be_bytes(length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, one scan with a stuffed byte and a restart marker, end.
    const JPEG: &[u8] = &[
        0xff, 0xd8, // start
        0xff, 0xe1, 0x00, 0x04, 0xff, 0xd9, // segment whose content looks like an end
        0xff, 0xda, 0x00, 0x02, // scan
        0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0x56, // data
        0xff, 0xd9, // end
    ];

    #[test]
    fn every_cut_of_a_jpeg_ends_early() {
        assert!(!jpeg_ends_early(JPEG));
        for end in 0..JPEG.len() {
            assert!(jpeg_ends_early(&JPEG[..end]), "cut at {end}");
        }
    }

    #[test]
    fn bytes_after_the_end_marker_do_not_matter() {
        let with_trailer = [JPEG, b"a film of the moment"].concat();
        assert!(!jpeg_ends_early(&with_trailer));
    }

    #[test]
    fn gif_image_blocks_are_counted() {
        let head = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff";
        let extension = b"\x21\xf9\x04\x00\x00\x00\x00\x00";
        let image = b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00";
        let one = [&head[..], extension, image, b"\x3b"].concat();
        let two = [&head[..], extension, image, extension, image, b"\x3b"].concat();
        assert_eq!(gif_frames(&one), Some(1));
        assert_eq!(gif_frames(&two), Some(2));
        assert_eq!(gif_frames(&one[..one.len() - 1]), None);
    }

    #[test]
    fn tiff_pages_in_either_byte_order() {
        // One entry, then the position of the next directory.
        let mut file = b"II*\x00\x08\x00\x00\x00\x01\x00".to_vec();
        file.extend([0; 12]);
        file.extend([0; 4]);
        assert_eq!(tiff_has_second_page(&file), Some(false));
        file[22] = 8;
        assert_eq!(tiff_has_second_page(&file), Some(true));
        assert_eq!(tiff_has_second_page(b"MM\x00*\x00\x00\x00\x08\x00"), None);
    }
}
