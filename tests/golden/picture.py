"""Drawn pictures as network input: no photograph, hence no licence and no decoder involved."""

import numpy as np


def ellipse(picture, centre, radii, colour):
    """Fill an ellipse; everything in pixels, (y, x)."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    picture[inside] = colour


def rectangle(picture, top, left, bottom, right, colour):
    picture[top:bottom, left:right] = colour


def street(height, width, seed):
    """A lorry and a car on a road under a sky, with grain: u8 [3, H, W], RGB.

    Drawn at 128x160 and cut or repeated to the size asked for.
    """
    picture = np.zeros((128, 160, 3))
    fade = np.linspace(0, 1, 78)[:, None, None]
    picture[:78] = (1 - fade) * (120, 165, 220) + fade * (215, 225, 230)
    rectangle(picture, 62, 0, 80, 160, (88, 110, 70))  # trees
    rectangle(picture, 80, 0, 128, 160, (105, 105, 108))  # road
    for left in range(4, 160, 34):
        rectangle(picture, 118, left, 121, left + 18, (220, 220, 210))
    lorry(picture)
    car(picture)
    grain = np.random.default_rng(seed).integers(-6, 7, picture.shape)
    u8 = np.clip(np.rint(picture) + grain, 0, 255).astype(np.uint8)
    tiled = np.tile(u8, (-(-height // 128), -(-width // 160), 1))
    return tiled[:height, :width].transpose(2, 0, 1).copy()


def lorry(picture):
    ellipse(picture, (106, 62), (4, 58), (60, 60, 64))  # shadow
    rectangle(picture, 34, 8, 94, 84, (236, 236, 232))  # box
    rectangle(picture, 34, 8, 37, 84, (200, 200, 200))
    rectangle(picture, 91, 8, 97, 90, (50, 50, 55))
    rectangle(picture, 52, 86, 97, 114, (190, 40, 38))  # cab
    rectangle(picture, 57, 98, 73, 112, (52, 66, 84))  # window
    rectangle(picture, 84, 110, 90, 115, (250, 240, 190))  # lamp
    for x in (24, 40, 100):
        ellipse(picture, (98, x), (9, 9), (24, 24, 26))
        ellipse(picture, (98, x), (4, 4), (150, 150, 155))


def car(picture):
    ellipse(picture, (113, 138), (3, 20), (60, 60, 64))
    ellipse(picture, (96, 138), (11, 13), (40, 70, 150))
    ellipse(picture, (95, 138), (8, 10), (40, 50, 64))
    rectangle(picture, 96, 120, 110, 157, (40, 70, 150))
    for x in (127, 150):
        ellipse(picture, (110, x), (5, 5), (24, 24, 26))
        ellipse(picture, (110, x), (2, 2), (150, 150, 155))
