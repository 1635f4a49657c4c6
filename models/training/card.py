"""The card of a model: card.json for programs, README.md for people, from the same facts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import knobs
from network import Network, parameters_of

HEADS = {"o2o": "one-to-one, no NMS", "o2m": "one-to-many + NMS 0.7"}
ATTENTION = ("Stoken", "BiFormer", "BiLevel", "Polarized")


def short(scores: dict) -> dict:
    """{head: scores} to flat figures."""
    return {f"{h}_{k}": s[k] for h, s in scores.items() for k in ("map50", "map")}


@dataclass
class Facts:
    name: str
    network: Network
    turn: knobs.Knobs
    state: dict  # of the run
    curve: list[dict]
    whole: dict  # {head: scores} on all pictures of the split, 320 px
    large: dict  # the same at 640 px
    pictures: int
    sweep: list[dict]
    sizes: list[dict]
    taken: str  # "603 of 631 tensors" of the model that it started from, "" from scratch

    @property
    def sessions(self) -> list[dict]:
        """Without the folders of the machine that it was trained on."""
        data = self.state["arguments"]["data"]
        return [{**x, "command": x["command"].replace(data, Path(data).name)} for x in self.state["sessions"]]

    @property
    def start(self) -> str:
        """What the run began with; "" from scratch."""
        init = self.state["arguments"]["init"]
        commit = self.state["sessions"][0]["commit"][:12]
        return f"{self.taken} of the weights of {Path(init).name} as of commit {commit}" if init else ""

    @property
    def heads(self) -> list[str]:
        return [h for h in HEADS if h in self.whole]

    @property
    def best_head(self) -> str:
        return {"o2o": "one-to-one", "o2m": "one-to-many"}[self._best]

    @property
    def _best(self) -> str:
        return max(self.heads, key=lambda h: self.whole[h]["map50"])

    @property
    def best_size(self) -> int:
        """By the mean of the heads: they do not differ in what they see, and two measurements err less than one."""
        return max(self.sizes, key=lambda s: sum(s[f"{h}_map50"] for h in self.heads))["size"]

    @property
    def attention_rows(self) -> dict[str, str]:
        return {str(i): m for i, m in enumerate(self.network.modules_of_rows) if m.startswith(ATTENTION)}


def as_json(f: Facts) -> dict:
    s, a = f.state, f.state["arguments"]
    return {
        "name": f.name,
        "architecture": "model.yaml",
        "parameters": parameters_of(f.network),
        "classes": f.network.names,
        "weights": "weights.safetensors, float16, EMA",
        "attention": f.attention_rows,
        "data": {"name": Path(a["data"]).name, "pictures": s["pictures"], "sha256": s["data"]},
        "initialisation": f.start or "from scratch",
        "training": {
            "recipe": "models/training",
            "sessions": f.sessions,
            "seed": a["seed"],
            "hours": round(s["seconds"] / 3600, 2),
            "optimiser_steps": s["step"],
            "images_seen": s["images"],
            "rounds": round(s["images"] / s["pictures"], 1),
            "images_per_second": round(s["images"] / s["seconds"], 1),
            "knobs": {k: list(knobs.RANGES[k]) for k in f.turn.names},
            "curve": f.curve,
        },
        "input": {"colour": "RGB", "range": "0..1", "letterbox_fill": 114,
                  "recommended": [f.best_size, f.best_size], "stride": 32},
        "best_head": f.best_head,
        "val": {**f.whole, "images": f.pictures, "size": 320},
        "val_640": {**f.large, "images": f.pictures, "size": 640},
        "knob_sweep_val": f.sweep,
        "input_sizes_val": f.sizes,
    }


def percent(v: float) -> str:
    return f"{100 * v:.1f}"


def table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def figures(f: Facts) -> str:
    columns = [(h, k) for h in f.heads for k in ("map50", "map")]
    named = [f"{h} {'mAP50' if k == 'map50' else 'mAP50-95'}" for h, k in columns]

    def row(values: dict) -> list[str]:
        return [percent(values[f"{h}_{k}"]) for h, k in columns]

    classes = [[name, *(percent(v) for h in f.heads for v in f.whole[h]["per_class"][name])]
               for name in f.whole[f.heads[0]]["per_class"]]
    means = ["**all**", *(percent(f.whole[h][k]) for h, k in columns)]
    settings = [[", ".join(f"{k} {s[k]}" for k in f.turn.names if k in s) or "defaults", *row(s)]
                for s in f.sweep]
    large = "; ".join(f"{h} mAP50 {percent(s['map50'])}, mAP50-95 {percent(s['map'])}" for h, s in f.large.items())
    legend = ", ".join(f"{h}: {HEADS[h]}" for h in f.heads)
    return f"""## Validation split ({f.pictures} pictures, 320 px, default knobs)

In percent; {legend}. A class is scored only on pictures whose source labels it; the definition is in `models/training/README.md`.

{table(["class", *named], [means, *classes])}
The whole split at 640 px, all classes: {large}.

## Turning the knobs (first {f.sweep[0]["images"]} pictures, 320 px)

A value holds for every layer that has the knob; the others stand at their defaults.

{table(["setting", *named], settings)}
## Input size (first {f.sizes[0]["images"]} pictures)

The stored pictures have at most 384 px: larger inputs are enlarged ones.

{table(["side", *named], [[s["size"], *row(s)] for s in f.sizes])}"""


def processes(session: dict) -> str:
    n = session.get("processes", 1)
    return f" in each of {n} processes" if n > 1 else ""


def write(folder: Path, f: Facts, sources: str) -> None:
    """`sources`: the situation of the training data in words, Markdown."""
    (folder / "card.json").write_text(json.dumps(as_json(f), indent=1) + "\n")
    s, a = f.state, f.state["arguments"]
    rows = "\n".join(f"* {i}: `{m}`" for i, m in f.attention_rows.items()) or "* none"
    start = f"It started from {f.start}, whose own pictures and hours come on top. " if f.start else ""
    sessions = "\n".join(
        f"* commit {x['commit'][:12]}{x['commit'][40:]}, from picture {x['start_images']}: "
        f"`python {x['command']}` ({x['device'].replace(' 1 threads', ' 1 thread')}{processes(x)}, torch {x['torch']})" for x in f.sessions)
    curve = table(["hours", "pictures", *(f"{h} mAP50" for h in f.heads)],
                  [[f"{c['seconds'] / 3600:.2f}", c["images"], *(percent(c[f"{h}_map50"]) for h in f.heads)]
                   for c in f.curve])
    ranges = ", ".join("{} {} to {}".format(k, *knobs.RANGES[k]) for k in f.turn.names) or "none"
    (folder / "README.md").write_text(f"""# {f.name}

{parameters_of(f.network):,} parameters, float16. {start}Trained with `models/training` for {s['seconds'] / 3600:.2f} hours: {s['step']:,} steps{processes(f.sessions[-1])}, {s['images']:,} pictures ({s['images'] / s['pictures']:.1f} rounds of {s['pictures']:,}), {s['images'] / s['seconds']:.1f} images a second. Seed {a['seed']}; SHA-256 of the data (decoded pictures and boxes) `{s['data']}`.

{sessions}

Attention rows:

{rows}

Trained range of the knobs, drawn anew for every batch: {ranges}.

{figures(f)}
## Curve while training (first pictures of the split, averaged weights)

{curve}
{sources.strip()}
""")
