"""The table of all trained models from their cards: `python catalogue.py` writes ../README.md.

The words around the table are in catalogue.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from card import percent, table

HERE = Path(__file__).parent
HEADS = ("o2o", "o2m")


def row(folder: Path, card: dict) -> list[str]:
    def at(key: str) -> list[str]:
        return [" / ".join(percent(card[key][h][k]) if h in card[key] else "–" for h in HEADS)
                for k in ("map50", "map")]

    sweep = card["knob_sweep_val"]
    head = next(h for h in HEADS if h in card["val"])
    values = [s[f"{head}_map50"] for s in sweep]
    lost = f"{100 * (values[0] - min(values)):.1f}" if len(values) > 1 else "–"
    rows = ", ".join(f"{i} {m}" for i, m in card["attention"].items()) or "none"
    return [f"[{folder.name}]({folder.name}/README.md)", rows, f"{card['parameters']:,}",
            f"{card['training']['images_seen']:,}", card["initialisation"], *at("val"), at("val_640")[0], lost]


def main() -> None:
    cards = {p.parent: json.loads(p.read_text()) for p in sorted(HERE.parent.glob("*/card.json"))}
    trained = [row(folder, card) for folder, card in cards.items() if "val" in card]
    head = ["model", "attention rows", "parameters", "pictures", "started from", "mAP50, 320 px",
            "mAP50-95, 320 px", "mAP50, 640 px", "lost over the knobs"]
    words = (HERE / "catalogue.md").read_text()
    (HERE.parent / "README.md").write_text(words.replace("TABLE\n", table(head, trained)))


if __name__ == "__main__":
    main()
