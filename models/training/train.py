"""Trains a network: `python train.py --model ../yolo26n-attn --data DIR --run NAME --hours 2`.

The same command goes on where the run was cut off.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import augment
import data
import measure
import schedule
from attention import BiLevelRoutingAttention
from knobs import Knobs
from loss import loss
from network import Network, parameters_of
from optimise import Average, optimisers_of
from together import Together

HERE = Path(__file__).parent
LOG_STEPS = 20
#: Unevenness of routing (`BiLevelRoutingAttention._route`) that costs nothing: regions that are read
#: more than others are what routing is for.
UNEVEN_ENOUGH = 1.0


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", type=Path, required=True, help="model.yaml or its folder")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--run", required=True, help="name; the state lies in runs/NAME")
    p.add_argument("--init", type=Path, help="model folder whose weights are taken as far as they fit")
    p.add_argument("--until", help="HH:MM, end of this session and of the schedule")
    p.add_argument("--hours", type=float, help="length of the schedule over all sessions")
    p.add_argument("--images", type=int, help="length of the schedule in pictures")
    p.add_argument("--batch", type=int, default=16, help="pictures at 320 px; other sizes: same pixels")
    p.add_argument("--size", type=int, help="one size instead of several")
    p.add_argument("--lr", type=float, default=0.02, help="of Muon; AdamW has a tenth")
    p.add_argument("--decay", type=float, default=0.01, help="weight decay of Muon")
    p.add_argument("--average", type=float, default=0.999, help="decay of the moving average")
    p.add_argument("--o2o-gradient", type=float, default=0.0,
                   help="share of the one-to-one head's gradient that reaches the network")
    p.add_argument("--o2m-last", type=float, default=0.1, help="last weight of the one-to-many head")
    p.add_argument("--even-routing", type=float, default=0.0,
                   help="weight of the loss that keeps regions from all reading the same few")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--train-limit", type=int, help="only the first so many pictures")
    p.add_argument("--val-limit", type=int, default=250)
    p.add_argument("--eval-minutes", type=float, default=15)
    p.add_argument("--save-minutes", type=float, default=3)
    p.add_argument("--processes", type=int, default=1, help="that train together, see together.py")
    p.add_argument("--threads", type=int,
                   help="of each process, at most; fewer while others use the machine, as threads wait for each other")
    p.add_argument("--no-half", action="store_true", help="float32 instead of bfloat16")
    p.add_argument("--cache", type=Path, default=HERE / "runs" / "cache")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = p.parse_args()
    if not (a.until or a.hours or a.images):
        p.error("one of --until, --hours and --images is needed")
    if a.processes < 1:
        p.error("--processes is at least 1")
    a.threads = a.threads or max(os.cpu_count() // a.processes, 1)
    return a


def commit() -> str:
    def git(*command: str) -> str:
        return subprocess.run(("git", "-C", str(HERE), *command), capture_output=True, text=True).stdout

    changed = " with changes" if git("status", "--porcelain", "--", ".").strip() else ""
    return (git("rev-parse", "HEAD").strip() or "unknown") + changed


class Run:
    """Everything that a resumed run needs, and the folder it lies in."""

    def __init__(self, a: argparse.Namespace):
        self.a, self.together = a, Together(a.processes)
        self.device = self.together.device(a.device)
        self.folder = HERE / "runs" / a.run
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(a.seed)
        self.network = Network.from_yaml(a.model)
        self.step, self.images, self.seconds, self.unshared = 0, 0, 0.0, 0
        self.draw_from(a.seed + self.together.rank)
        self.order, self.best = torch.zeros(0, dtype=torch.long), -1.0
        self.sessions: list[dict] = []
        state = self.folder / "state.pt"
        resumed = torch.load(state, map_location="cpu", weights_only=False) if state.exists() else None
        if resumed:
            self.network.load_state_dict(resumed["network"])
        elif a.init:
            for line in self.network.start(a.init):
                self.say(line)
        self.network.model[-1].one_to_one_gradient = a.o2o_gradient
        self.network.to(self.device, memory_format=torch.channels_last).train()
        self.average = Average(self.network, a.average)
        self.optimisers = optimisers_of(self.network, a.lr, a.lr / 10, a.decay)
        self.knobs = Knobs(self.network)
        self.routers = [m for m in self.network.modules() if isinstance(m, BiLevelRoutingAttention)]
        if resumed:
            self.resume(resumed)
        left = schedule.seconds_until(a.until) if a.until else None
        planned = self.seconds + left if left else a.hours * 3600 if a.hours else None
        self.clock = self.together.same(schedule.Clock(a.images, planned))
        self.sessions.append({"commit": commit(), "command": " ".join(sys.argv), "torch": torch.__version__,
                              "device": self.device_name(), "processes": a.processes,
                              "start_images": self.images})
        self.save_at = self.eval_at = self.started = time.monotonic()
        self.before, self.stop, self.ends = self.seconds, False, self.together.same(self.progress >= 1)

    def draw_from(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = random.Random(seed)

    def device_name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name()
        return f"CPU, {torch.get_num_threads()} thread" + ("s" if torch.get_num_threads() > 1 else "")

    def resume(self, s: dict) -> None:
        for key in ("step", "images", "seconds", "order", "best", "sessions"):
            setattr(self, key, s[key])
        for o, saved in zip(self.optimisers, s["optimisers"]):
            o.load_state_dict(saved)
        self.average.updates = s["average_updates"]
        self.average.state = {k: v.to(self.device) for k, v in s["average"].items()}
        self.generator.set_state(s["generator"])
        self.rng.setstate(s["rng"])
        torch.set_rng_state(s["torch_rng"])
        if not self.together.first:  # the state is the first process's
            self.order = self.order[:0]
            self.draw_from(hash((self.a.seed, self.together.rank, self.step)))
        self.say(f"goes on at step {self.step}, {self.images} pictures, {self.seconds / 60:.1f} minutes")

    def save(self) -> None:
        """Whole or not at all, and only of numbers: those of another process may have come in."""
        if not all(v.isfinite().all() for v in self.average.state.values()):
            raise SystemExit("the weights are no numbers; state.pt is from before")
        state = {
            "network": self.network.state_dict(), "average": self.average.state,
            "average_updates": self.average.updates,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step, "images": self.images, "seconds": self.seconds, "order": self.order,
            "best": self.best, "sessions": self.sessions, "generator": self.generator.get_state(),
            "rng": self.rng.getstate(), "torch_rng": torch.get_rng_state(),
            "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(self.a).items()},
            "data": self.pictures.digest, "pictures": len(self.pictures),
        }
        self.save_at = time.monotonic()
        self.write("state", state)

    def write(self, name: str, value) -> None:
        """A full disk must not end a run: the file before stays, and the next turn tries again."""
        part = self.folder / f"{name}.part"
        try:
            with open(part, "wb") as f:
                torch.save(value, f)
                f.flush()
                os.fsync(f.fileno())
            os.replace(part, self.folder / f"{name}.pt")
        except (OSError, RuntimeError) as e:
            part.unlink(missing_ok=True)
            print(f"{name}.pt was not written: {e}", file=sys.stderr, flush=True)

    def say(self, line: str, **values) -> None:
        if not self.together.first:
            return
        print(line, flush=True)
        self.note("log", {"time": round(time.time()), "text": line, **values})

    def note(self, name: str, line: dict) -> None:
        try:
            with open(self.folder / f"{name}.jsonl", "a") as f:
                f.write(json.dumps(line) + "\n")
        except OSError as e:
            print(f"{name}.jsonl was not written: {e}", file=sys.stderr, flush=True)

    @property
    def progress(self) -> float:
        return self.clock.progress(self.images, self.seconds)

    def share_the_machine(self) -> None:
        """As many threads as cores are free of other work, at least one."""
        if self.device.type == "cpu":
            others = os.getloadavg()[0] - torch.get_num_threads()
            free = int(os.cpu_count() - others + 0.5)
            torch.set_num_threads(min(max(free, 1), self.a.threads))

    def next_pictures(self, b: int) -> Tensor:
        """[B, 4]: each picture once per round as the first tile; the other tiles at random."""
        while len(self.order) < b:
            more = torch.randperm(len(self.pictures), generator=self.generator)
            self.order = torch.cat((self.order, more))
        first, self.order = self.order[:b], self.order[b:]
        others = torch.randint(len(self.pictures), (b, 3), generator=self.generator)
        return torch.cat((first[:, None], others), 1)

    def one_step(self) -> dict[str, Tensor]:
        a, progress = self.a, self.progress
        side = schedule.side(progress, self.rng, a.size)
        b = max(round(a.batch * (320 / side) ** 2), 2)
        batch = augment.make(self.pictures, self.next_pictures(b).to(self.device), side,
                             schedule.strength(progress), self.generator)
        self.knobs.draw(self.rng)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=not a.no_half):
            out = self.network(images)
        total, parts = loss(out, self.network.reg_max, (side, side), batch.boxes, batch.labelled,
                            schedule.share_o2m(progress, a.o2m_last))
        uneven = [m.unevenness for m in self.routers if m.unevenness is not None]
        if uneven:
            parts["uneven routing"] = torch.stack(uneven).mean().detach()[None]
            total = total + a.even_routing * sum(torch.relu(u - UNEVEN_ENOUGH) for u in uneven)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        factor = schedule.rate(progress, self.step)
        for o, lr in zip(self.optimisers, (a.lr, a.lr / 10)):
            o.param_groups[0]["lr"] = lr * factor
            o.step()
            o.zero_grad(set_to_none=True)
        self.average.update(self.network)
        self.step += 1
        self.unshared += b
        self.seconds = self.before + time.monotonic() - self.started
        if self.together.meets(self.step):
            self.meet()
        return parts

    def meet(self) -> None:
        """The processes go on from the mean of their weights, at the same progress."""
        self.together.mean_((*self.network.state_dict().values(), *self.average.state.values()))
        self.images += self.together.sum(self.unshared)
        self.unshared = 0
        self.seconds, self.ends = self.together.same((self.seconds, self.progress >= 1 or self.stop))

    def evaluate(self) -> None:
        """The averaged weights at 320 px and default knobs."""
        network = Network.from_yaml(self.a.model).to(self.device)
        network.load_state_dict(self.average.state)
        network.eval().to(memory_format=torch.channels_last)
        found = measure.detect(network, self.samples, self.device)
        scores = {h: measure.score(f, self.samples, network.names) for h, f in found.items()}
        line = {"step": self.step, "images": self.images, "seconds": round(self.seconds),
                "progress": round(self.progress, 4), **{
                    f"{h}_{k}": s[k] for h, s in scores.items() for k in ("map50", "map")}}
        self.note("curve", line)
        self.say("val: " + json.dumps(line))
        now = line.get("o2o_map50", line["o2m_map50"])
        if now > self.best:
            self.best = now
            self.write("best", self.average.state)
        self.eval_at = time.monotonic()

    def train(self) -> None:
        a = self.a
        self.pictures = self.together.first_one_first(
            lambda: data.load(a.data, "train", self.network.nc, 320, a.cache, a.train_limit))
        val = data.items(a.data, "val", self.network.nc)[: a.val_limit]
        self.samples = [measure.letterbox(item, 320) for item in val]
        self.pictures = self.pictures.to(self.device)
        self.say(f"{parameters_of(self.network)} parameters, {len(self.pictures)} pictures, data "
                 f"{self.pictures.digest[:16]}, knobs {self.knobs.names}", **self.sessions[-1])
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, lambda *_: setattr(self, "stop", True))
        self.share_the_machine()
        sums: dict[str, Tensor] = {}
        since, images = time.monotonic(), self.images
        while not self.ends:
            for head, part in self.one_step().items():
                sums[head] = sums.get(head, 0) + part
            if self.step % LOG_STEPS == 0:
                speed = (self.images - images) / (time.monotonic() - since)
                mean = {h: [round(v, 3) for v in (s / LOG_STEPS).tolist()] for h, s in sums.items()}
                left = (1 - self.progress) / max(self.progress, 1e-6) * self.seconds
                self.say(f"step {self.step}  {self.progress:.1%}  {mean}  {speed:.1f} images/s  "
                         f"{schedule.clock_text(left)} left", step=self.step, images=self.images)
                if not all(v == v for s in mean.values() for v in s):
                    raise SystemExit("the loss is no number; state.pt is from before")
                sums, since, images = {}, time.monotonic(), self.images
                self.share_the_machine()
            if not (self.together.first and self.together.meets(self.step)):
                continue
            if time.monotonic() - self.save_at > a.save_minutes * 60:
                self.save()
            if time.monotonic() - self.eval_at > a.eval_minutes * 60:
                self.evaluate()
                since, images = time.monotonic(), self.images
        if not self.together.first:
            return
        self.save()
        if self.stop:
            self.say("stopped; the same command goes on")
            return
        self.evaluate()
        self.save()
        self.say(f"done: {self.images} pictures in {self.seconds / 3600:.2f} hours")


def main() -> None:
    a = arguments()
    torch.set_num_threads(a.threads)
    Run(a).train()


if __name__ == "__main__":
    main()
