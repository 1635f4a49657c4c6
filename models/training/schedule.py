"""What depends on the progress of a run: learning rate, sizes, augmentation, weights of the heads."""

from __future__ import annotations

import datetime
import random
import time
from dataclasses import dataclass

from augment import Augment

#: From which progress: {side: share of the time}. A batch has about the same number of pixels at
#: every side, so that shares of batches are shares of time; at 640 px a batch shows a quarter of the
#: pictures. With a tenth of the time there, the networks lost 0.10 of mAP50 from 320 to 640 px.
SIDES = {
    0.0: {192: 0.5, 224: 1, 256: 2, 288: 1, 320: 3, 384: 2, 448: 1.5, 512: 1.5, 640: 2},
    0.5: {256: 1.5, 320: 3.5, 384: 2, 448: 1.5, 512: 2, 640: 3},
    0.85: {256: 0.5, 320: 4, 384: 1.5, 448: 1, 512: 1.5, 640: 4},
}
GENTLE_FROM = 0.87
WARM_UP_STEPS = 150
LAST_RATE = 0.01


@dataclass
class Clock:
    """Progress 0..1: the larger of images seen and time used, so that a run ends annealed when its
    time is over, however fast the machine was."""

    images: int | None  # planned
    seconds: float | None  # planned, over all sessions

    def progress(self, images: int, seconds: float) -> float:
        shares = [images / self.images if self.images else 0.0,
                  seconds / self.seconds if self.seconds else 0.0]
        return min(max(shares), 1.0)


def seconds_until(clock: str) -> float:
    """From now to the next HH:MM."""
    now = datetime.datetime.now()
    hour, minute = map(int, clock.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if end <= now:
        end += datetime.timedelta(days=1)
    return (end - now).total_seconds()


def side(progress: float, rng: random.Random, fixed: int | None) -> int:
    if fixed:
        return fixed
    shares = SIDES[max(p for p in SIDES if p <= progress)]
    return rng.choices(list(shares), list(shares.values()))[0]


def rate(progress: float, step: int) -> float:
    """Factor on the learning rates: warm-up, then linear."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - (1 - LAST_RATE) * progress)


def strength(progress: float) -> Augment:
    return Augment() if progress < GENTLE_FROM else Augment.gentle()


def share_o2m(progress: float, last: float) -> float:
    """Weight of the one-to-many head: 0.8 falling to `last`."""
    return 0.8 + (last - 0.8) * progress


def clock_text(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(max(seconds, 0)))
