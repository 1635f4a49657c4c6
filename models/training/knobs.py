"""Knobs: hyperparameters without weights. Drawn at random for every batch, so that one set of
weights stays good over the whole range."""

from __future__ import annotations

import random

from torch import nn

#: Trained range of each knob, both ends included.
RANGES = {"stoken_size": (2, 12), "n_iter": (1, 3), "n_win": (4, 10), "topk": (1, 16)}
#: Share of batches that keep the values of the definition.
DEFAULTS_SHARE = 0.3


class Knobs:
    """Sets the knobs of a network's attention rows and puts them back."""

    def __init__(self, network: nn.Module):
        self.layers = [(m, {k: getattr(m, k) for k in RANGES if hasattr(m, k)})
                       for m in network.modules()]
        self.layers = [(m, own) for m, own in self.layers if own]

    @property
    def names(self) -> list[str]:
        return [k for k in RANGES if any(k in own for _, own in self.layers)]

    def reset(self) -> None:
        for layer, own in self.layers:
            vars(layer).update(own)

    def set(self, **values) -> None:
        """The same values in every layer that has the knob; others stand at their default."""
        self.reset()
        for layer, own in self.layers:
            for name, value in values.items():
                if name in own:
                    setattr(layer, name, (value, value) if isinstance(own[name], tuple) and
                            isinstance(value, int) else value)

    def draw(self, rng: random.Random) -> None:
        """Every layer for itself; `topk` at most the number of regions, small values more often."""
        self.reset()
        if rng.random() < DEFAULTS_SHARE:
            return
        for layer, own in self.layers:
            for name in own:
                low, high = RANGES[name]
                if name == "stoken_size":
                    h = rng.randint(low, high)
                    value = (h, h if rng.random() < 0.5 else rng.randint(low, high))
                elif name == "topk":
                    value = min(rng.choice((1, 2, 3, 4, 4, 6, 8, 12, 16)), layer.n_win**2)
                else:
                    value = rng.randint(low, high)
                setattr(layer, name, value)
