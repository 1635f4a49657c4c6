"""Makes the picture files of tests/pictures.rs.

Needs: pip install pillow numpy opencv-python-headless (pillow 13.0, numpy 2.4 and OpenCV 5.0 made the
committed files; OpenCV 4.14 resizes to the same bytes). Run in this folder.

Unless said otherwise a picture is 48 x 32 with red = 5x, green = 7y, blue = 128 at column x, row y.
"""

import struct
import zlib

import cv2
import numpy as np
from PIL import Image

W, H = 48, 32


def formula(w=W, h=H):
    y, x = np.mgrid[:h, :w]
    return np.dstack([5 * x, 7 * y, np.full_like(x, 128)]).astype(np.uint8)


def png(name, width, height, depth, color, rows, extra=b""):
    """A PNG from raw rows, for what Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    with open(name, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b""))


rgb = formula()
picture = Image.fromarray(rgb)

# One per format, and a name that lies.
picture.save("plain.png")
picture.save("plain.bmp")
picture.save("plain.tiff", compression="tiff_lzw")
picture.save("lossless.webp", lossless=True)
picture.save("lossy.webp", quality=95)
picture.save("plain.jpg", quality=98, subsampling=0)
picture.save("jpeg_named.png", format="JPEG", quality=98, subsampling=0)
picture.save("progressive.jpg", quality=98, subsampling=0, progressive=True)

# Values stored in other ways.
png("rgb16.png", W, H, 16, 2, [(row.astype(">u2") * 257).tobytes() for row in rgb])
grey = rgb[:, :, 0]
Image.fromarray(grey).save("grey.png")
png("grey_alpha.png", W, H, 8, 4, [np.dstack([row, np.full_like(row, 51)]).tobytes() for row in grey])
png("grey_1bit.png", 16, 2, 1, 0, [b"\xaa\xaa", b"\x0f\x0f"])
picture.quantize(64).convert("P").save("palette.png")
picture.quantize(64).convert("RGB").save("palette_reference.png")
half = np.dstack([rgb, np.full((H, W), 128, np.uint8)])
Image.fromarray(half).save("half_transparent.png")
picture.convert("CMYK").save("cmyk.jpg", quality=98, subsampling=0)

# Orientation: every tag, in every format that carries one. The pixels are stored so that the
# upright picture is `formula()`.
STORED = {  # how the stored pixels follow from the upright ones
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}
for tag, store in STORED.items():
    exif = Image.Exif()
    exif[0x0112] = tag
    stored = Image.fromarray(np.ascontiguousarray(store(rgb)))
    stored.save(f"orientation_{tag}.png", exif=exif)
    if tag in (3, 6):
        stored.save(f"orientation_{tag}.jpg", exif=exif, quality=98, subsampling=0)
        stored.save(f"orientation_{tag}.webp", exif=exif, lossless=True)
        stored.save(f"orientation_{tag}.tiff", tiffinfo={0x0112: tag}, compression="tiff_lzw")

# More than one picture in a file: the first is blue, the second red.
blue, red = (Image.new("RGB", (12, 8), c) for c in [(0, 0, 255), (255, 0, 0)])
blue.save("animated.gif", save_all=True, append_images=[red], duration=100)
blue.save("animated.webp", save_all=True, append_images=[red], duration=100, lossless=True)
blue.save("animated.png", save_all=True, append_images=[red], duration=100)
blue.save("pages.tiff", save_all=True, append_images=[red])
blue.save("still.gif")

# Odd but legal sizes.
Image.new("RGB", (1, 1), (1, 2, 3)).save("1x1.png")
Image.new("RGB", (1, 8000), (9, 8, 7)).save("1x8000.png")

# To be refused.
png("60000x60000.png", 60_000, 60_000, 8, 2, [b"\0"])
png("11000x10000.png", 11_000, 10_000, 8, 0, [b"\0"])
png("0x5.png", 0, 5, 8, 2, [b""])

# The letterbox: noise (every weight matters), resized by OpenCV. Three sizes: smaller, larger, mixed.
noise = np.random.default_rng(7).integers(0, 256, (23, 37, 3), dtype=np.uint8)
Image.fromarray(noise).save("noise.png")
for width, height in [(16, 12), (64, 48), (24, 40)]:
    scale = min(height / 23, width / 37)
    new_w, new_h = max(round(37 * scale), 1), max(round(23 * scale), 1)
    small = cv2.resize(noise, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    out = np.full((height, width, 3), 114, np.uint8)
    top, left = round((height - new_h) / 2 - 0.1), round((width - new_w) / 2 - 0.1)
    out[top : top + new_h, left : left + new_w] = small
    Image.fromarray(out).save(f"noise_{width}x{height}.png")
