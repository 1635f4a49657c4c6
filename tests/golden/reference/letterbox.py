"""Geometry of the letterbox and its inverse. Halves round to even."""


def letterbox(source, target, rect=False, multiple=32):
    """Where a picture of `source` = (width, height) comes to lie in `target` = (width, height).

    With `rect` only as much is padded as the next multiple needs, so the input may be smaller than
    the target.
    """
    ratio = min(t / s for s, t in zip(source, target))
    size = [max(round(s * ratio), 1) for s in source]
    spare = [t - s for t, s in zip(target, size)]
    if rect:
        spare = [v % multiple for v in spare]
    before = [round(v / 2 - 0.1) for v in spare]
    after = [round(v / 2 + 0.1) for v in spare]
    return {
        "source": list(source), "target": list(target), "rect": rect, "resized": size,
        "left": before[0], "top": before[1], "right": after[0], "bottom": after[1],
        "input": [s + b + a for s, b, a in zip(size, before, after)],
    }


def back(box, geometry):
    """A box (x1, y1, x2, y2) of the network input in pixels of the source picture, clipped to it."""
    size, source = geometry["resized"], geometry["source"]
    pads = geometry["left"], geometry["top"]
    out = []
    for i, value in enumerate(box):
        axis = i % 2
        scaled = (value - pads[axis]) / (size[axis] / source[axis])
        out.append(min(max(scaled, 0.0), float(source[axis])))
    return out
