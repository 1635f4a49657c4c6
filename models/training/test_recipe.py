"""The recipe against reference numbers, and against itself: `pytest test_recipe.py`."""

import io
import json
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import augment  # noqa: E402
import data  # noqa: E402
import export  # noqa: E402
import measure  # noqa: E402
import train  # noqa: E402
from assign import assign, ciou, pairs_of  # noqa: E402
from attention import BiLevelRoutingAttention  # noqa: E402
from detect import anchors_of, decode  # noqa: E402
from evaluate import load_model  # noqa: E402
from knobs import RANGES, Knobs  # noqa: E402
from loss import loss  # noqa: E402
from network import Network  # noqa: E402
from optimise import newton_schulz, optimisers_of  # noqa: E402
from resize import bilinear  # noqa: E402

torch.set_num_threads(1)  # small maps: threads would only wait for each other
MODELS = HERE.parent
GOLDEN = MODELS.parent / "tests" / "golden"
DEFINITIONS = [MODELS / "yolo26n-attn", MODELS / "yolo26-sta", MODELS / "yolo11-biformer",
               MODELS / "yolov10n-polarized", MODELS / "yolo26n"]


@pytest.mark.parametrize("setting", ["a", "b", "c"])
def test_forward_gives_the_numbers_of_the_reference(setting):
    network = load_model(MODELS / "yolo26n-attn", "cpu")
    with safe_open(GOLDEN / "network_bundled.safetensors", "pt") as golden:
        Knobs(network).set(**json.loads(golden.metadata()[f"{setting}.settings"]))
        image = golden.get_tensor("input_u8").float() / 255
        rows = {}
        with torch.no_grad():
            out = network(image, rows)
        anchors = anchors_of(128, 160, "cpu")
        for head, raw in out.items():
            for name, ours, limit in (("raw_boxes", raw.boxes[0].T, 1e-3), ("raw_scores", raw.scores[0].T, 1e-3),
                                      ("corners", decode(raw.boxes, anchors, 1)[0], 0.05)):
                assert (golden.get_tensor(f"{setting}.{head}.{name}") - ours).abs().max() < limit
        whole = [k for k in golden.keys() if k.startswith(f"{setting}.L") and k.endswith(".out") and k.count(".") == 2]
        assert whole
        for key in whole:
            row = int(key.split(".")[1][1:])
            assert (golden.get_tensor(key) - rows[row][0]).abs().max() < 1e-3, key


def scene(n: int = 4, side: int = 64) -> data.Pictures:
    """Squares (class 0) and wide bars (class 1) in a colour of their own on noise."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(90, 120, (n, 3, side, side)).astype(np.uint8)
    boxes = np.full((n, 2, 5), -1, np.float32)
    for i in range(n):
        x, y = rng.integers(2, side // 2 - 6), rng.integers(2, 10)
        boxes[i, 0] = (0, x, y, x + 32, y + 32)
        boxes[i, 1] = (1, 2, side - 20, side - 2, side - 6)
        for (c, x1, y1, x2, y2), colour in zip(boxes[i], ((230, 40, 40), (40, 60, 230))):
            pixels[i, :, int(y1) : int(y2), int(x1) : int(x2)] = np.array(colour)[:, None, None]
    return data.Pictures(torch.from_numpy(pixels), torch.full((n, 2), side), torch.from_numpy(boxes),
                         torch.ones(n, 2, dtype=torch.bool), "")


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda p: p.stem)
def test_a_handful_of_pictures_is_learnt(definition):
    torch.manual_seed(0)
    network = Network.from_yaml(definition).train()
    pictures, rng = scene(), random.Random(0)
    # Ten classes are built; the two of the scene are used.
    pictures.labelled = torch.ones(4, network.nc, dtype=torch.bool)
    batch = augment.letterboxed(pictures, torch.arange(4), 96)
    anchors, truth = anchors_of(96, 96, "cpu"), batch.boxes[..., 1:]

    def overlap(raw) -> float:
        """Mean over the boxes of the best overlap that any anchor gives."""
        found = decode(raw.boxes.detach(), anchors, network.reg_max)
        return torch.stack([measure.iou(t, f).amax(1) for t, f in zip(truth, found)]).mean().item()

    optimisers, knobs, overlaps = optimisers_of(network, 0.02, 0.002, 0.0), Knobs(network), []
    for _ in range(60):
        knobs.draw(rng)
        out = network(batch.images)
        total, _ = loss(out, network.reg_max, (96, 96), batch.boxes, batch.labelled, 0.5)
        total.backward()
        overlaps.append([overlap(raw) for raw in out.values()])
        for o in optimisers:
            o.step()
            o.zero_grad()
    for head in zip(*overlaps):
        assert np.mean(head[-3:]) > max(0.8, np.mean(head[:3]) + 0.2), head


def test_rows_are_matched_when_one_is_inserted():
    definition = yaml.safe_load((MODELS / "yolo26n-attn/model.yaml").read_text())
    *rows, detect = definition["head"]
    block = [19, 1, "BiFormerBlock", [8, 4, 4, 2, 5, True]]
    network = Network({**definition, "head": [*rows, block, [[27, 26, 25], *detect[1:]]]})
    said = network.start(MODELS / "yolo26n-attn")
    assert "row 27 (BiFormerBlock): new, starts as identity" in said
    old = load_model(MODELS / "yolo26n-attn", "cpu")
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = network.eval()(x), old(x)
    for head in theirs:
        assert torch.allclose(ours[head].scores, theirs[head].scores, atol=1e-4)
        assert torch.allclose(ours[head].boxes, theirs[head].boxes, atol=1e-4)


def test_knobs_are_drawn_within_their_range_and_put_back():
    knobs, rng = Knobs(Network.from_yaml(MODELS / "yolo26n-attn")), random.Random(5)
    before = [dict(own) for _, own in knobs.layers]
    seen = {k: set() for k in RANGES}
    for _ in range(300):
        knobs.draw(rng)
        for layer, own in knobs.layers:
            for k in own:
                v = getattr(layer, k)
                seen[k] |= set(v) if isinstance(v, tuple) else {v}
    assert {k: (min(v), max(v)) for k, v in seen.items()} == RANGES
    knobs.reset()
    assert [{k: getattr(m, k) for k in own} for m, own in knobs.layers] == before


def test_ciou_by_hand():
    a = torch.tensor([[0.0, 0, 4, 4]])
    # Same shape, moved by 2: IoU 8/24, centres 2 apart, enclosing box 6 x 4.
    assert ciou(a, torch.tensor([[2.0, 0, 6, 4]])).item() == pytest.approx(1 / 3 - 4 / 52, abs=1e-5)
    assert ciou(a, a).item() == pytest.approx(1, abs=1e-5)


def test_an_anchor_goes_to_the_box_it_overlaps_most_and_one_is_kept():
    anchors = anchors_of(64, 64, "cpu")
    boxes = torch.tensor([[[0.0, 0, 0, 40, 40], [1.0, 8, 8, 60, 60]]])
    predicted = boxes[0, 0, 1:].expand(1, len(anchors.points), 4).clone()
    predicted[0, 27:] = boxes[0, 1, 1:]
    scores = torch.full((1, len(anchors.points), 2), 0.5)
    pairs = pairs_of(boxes, anchors)
    many = assign(scores, predicted, boxes, pairs, 10)
    assert len(set(many.anchor.tolist())) == len(many.anchor) > 2
    for anchor, box in zip(many.anchor, many.box):
        assert torch.equal(box, predicted[0, anchor])
    one = assign(scores, predicted, boxes, pairs, 7, keep=1)
    assert sorted(one.cls.tolist()) == [0, 1]
    assert one.weight.tolist() == pytest.approx([1, 1], abs=1e-4)


def test_a_class_that_is_not_labelled_has_no_loss():
    torch.manual_seed(0)
    network = Network.from_yaml(MODELS / "yolo26n").eval()
    anchors = len(anchors_of(64, 64, "cpu").points)
    boxes = torch.full((1, 1, 5), -1.0)
    labelled = torch.ones(1, anchors, network.nc, dtype=torch.bool)
    labelled[..., 3] = False
    out = network(torch.rand(1, 3, 64, 64))
    for raw in out.values():
        raw.scores.retain_grad()
    loss(out, 1, (64, 64), boxes, labelled, 0.5)[0].backward()
    for raw in out.values():
        assert raw.scores.grad[..., 3].abs().max() == 0
        assert raw.scores.grad[..., 2].abs().min() > 0


def test_augmented_boxes_stay_on_their_objects():
    pictures, generator = scene(8), torch.Generator().manual_seed(2)
    plain = augment.Augment(mosaic=0.5, hue=0.0, saturation=0.0, value=0.0)
    checked = 0
    for _ in range(4):
        chosen = torch.randint(8, (8, 4), generator=generator)
        batch = augment.make(pictures, chosen, 128, plain, generator)
        for image, boxes in zip(batch.images, batch.boxes):
            for c, x1, y1, x2, y2 in boxes.tolist():
                if c < 0 or min(x2 - x1, y2 - y1) < 8:
                    continue
                inside = image[:, int(y1) + 3 : int(y2) - 3, int(x1) + 3 : int(x2) - 3]
                strongest = inside.mean((1, 2)).argmax().item()
                assert strongest == (0 if c == 0 else 2)
                checked += 1
    assert checked > 40


def test_average_precision_by_hand():
    # Right, wrong, right of three boxes: recall 1/3 at precision 1, 2/3 at 2/3, never 1.
    hits = np.array([True, False, True])
    expected = (34 * 1 + 33 * 2 / 3) / 101  # recalls 0..0.33, 0.34..0.66
    assert measure.average_precision(hits, 3) == pytest.approx(expected)
    found = np.array([[0, 0, 10, 10, 0.9, 0], [0, 0, 10, 10, 0.8, 0], [20, 20, 30, 29, 0.7, 0.0]])
    truth = np.array([[0, 0, 10, 10], [20, 20, 30, 30.0]])
    hits = measure.matches(found, truth)
    assert hits[:, 0].tolist() == [True, False, True]
    assert hits[2].tolist() == [True] * 9 + [False]  # IoU 0.9


def test_classes_without_labels_are_not_scored():
    sample = measure.Sample(None, np.array([[0, 0, 0, 10, 10.0]]), [0], (20, 20), (20, 20), (0, 0))
    found = [np.array([[0, 0, 10, 10, 0.9, 0], [0, 0, 10, 10, 0.9, 1.0]])]
    scores = measure.score(found, [sample], ["a", "b"])
    assert scores["per_class"] == {"a": [1.0, 1.0]}
    assert scores["map50"] == 1


def test_letterboxes_are_those_of_the_program():
    def item(w: int, h: int) -> data.Item:
        file = io.BytesIO()
        Image.new("RGB", (w, h)).save(file, "png")
        return data.Item("", file.getvalue, [0])

    checked = 0
    for case in json.loads((GOLDEN / "letterbox_boxes.json").read_text())["cases"]:
        (w, h), target = case["source"], case["target"]
        if target[0] != target[1] or case["rect"] or max(w, h) > 2000:
            continue
        sample = measure.letterbox(item(w, h), target[0])
        assert list(sample.resized) == case["resized"] and list(sample.pad) == [case["left"], case["top"]]
        checked += 1
    assert checked


@pytest.mark.parametrize("width, height", [(16, 12), (64, 48), (24, 40)])
def test_pictures_are_resized_as_in_the_program_bit_for_bit(width, height):
    def opened(name: str) -> np.ndarray:
        return np.asarray(Image.open(GOLDEN.parent / "pictures" / name).convert("RGB"))

    noise, letterbox = opened("noise.png"), opened(f"noise_{width}x{height}.png")
    inside = round(23 * width / 37)
    top = round((height - inside) / 2 - 0.1)
    assert np.array_equal(bilinear(noise, width, inside), letterbox[top : top + inside])
    assert np.array_equal(bilinear(noise, 37, 23), noise), "the same size is a copy"


def test_orthogonal_steps():
    x = newton_schulz(torch.randn(2, 8, 30, generator=torch.Generator().manual_seed(0)))
    assert torch.linalg.svdvals(x.float()).sub(0.95).abs().max() < 0.35


def shard(folder: Path, split: str, line: dict, side: int = 40) -> None:
    with tarfile.open(folder / f"{split}-00.tar", "w") as archive:
        for name, content in (("labels.jsonl", json.dumps(line).encode()), ("a.png", png(side))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def png(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side // 2), (9, 99, 200)).save(file, "png")
    return file.getvalue()


LINE = {"file": "a.png", "width": 40, "height": 20, "labelled": [1], "boxes": [[1, 4, 2, 12, 10]]}


def test_shards_and_text_give_the_same_pictures(tmp_path):
    shard(tmp_path, "train", LINE)
    a = data.load(tmp_path, "train", 2, 64, tmp_path / "cache")
    for part, content in (("images/a.png", png(40)), ("labels/a.txt", b"1 0.2 0.3 0.2 0.4\n")):
        path = tmp_path / "yolo" / "train" / part
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    b = data.load(tmp_path / "yolo", "train", 2, 64, tmp_path / "cache")
    assert torch.equal(a.pixels, b.pixels)
    assert torch.allclose(a.boxes, b.boxes, atol=1e-4)
    assert a.labelled.tolist() == [[False, True]] and b.labelled.tolist() == [[True, True]]
    again = data.load(tmp_path, "train", 2, 64, tmp_path / "cache")
    assert torch.equal(a.pixels, again.pixels) and a.digest == again.digest


@pytest.mark.parametrize("change, said", [
    ({"boxes": [[7, 0, 0, 9, 9]]}, "box [7, 0, 0, 9, 9]"),
    ({"boxes": [[0, 0, 0, 9, 9]]}, "not in labelled"),
    ({"file": "b.png"}, "b.png is in labels.jsonl but not in the archive"),
])
def test_bad_data_is_named(tmp_path, change, said):
    shard(tmp_path, "train", LINE | change)
    with pytest.raises(data.BadData, match="train-00.tar") as e:
        data.load(tmp_path, "train", 2, 64, tmp_path / "cache")
    assert said in str(e.value)


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A folder with a small definition, model.yaml, and data of one picture."""
    for split in ("train", "val"):
        shard(tmp_path, split, LINE)
    text = (MODELS / "yolo26n/model.yaml").read_text().replace("0.25, 1024", "0.125, 256").replace(
        "nc: 10", "nc: 2").replace("[person, car, truck, bus, motorcycle, dog, cat, horse, sheep, cow]", "[a, b]")
    (tmp_path / "model.yaml").write_text(text)
    return tmp_path


def tiny_command(folder: Path, run: str) -> list[str]:
    return ["--model", str(folder), "--data", str(folder), "--run", run, "--batch", "1", "--size", "64",
            "--cache", str(folder / "cache"), "--no-half", "--threads", "1", "--device", "cpu"]


def test_a_run_that_was_cut_off_ends_with_the_same_weights(tiny, monkeypatch):
    monkeypatch.setattr(train, "HERE", tiny)

    def run(name: str, stop_after: int | None) -> dict:
        monkeypatch.setattr(sys, "argv", ["train.py", *tiny_command(tiny, name), "--images", "100"])
        r = train.Run(train.arguments())
        if stop_after:
            step = r.one_step

            def counted():
                parts = step()
                r.stop = r.step >= stop_after
                return parts

            r.one_step = counted
        r.train()
        return torch.load(tiny / "runs" / name / "state.pt", weights_only=False)

    whole = run("whole", None)
    assert whole["step"] == 4
    run("cut", 2)
    cut = run("cut", None)
    assert cut["step"] == 4 and len(cut["sessions"]) == 2
    for k, v in whole["average"].items():
        assert torch.equal(v, cut["average"][k]), k


def test_the_digest_of_weights_is_that_of_their_values():
    a, b = torch.arange(4.0).half(), torch.ones(2, 3)
    digest = export.digest_of({"a": a, "b": b})
    assert export.digest_of({"b": b.clone(), "a": a}) == digest
    assert export.digest_of({"a": a + 1, "b": b}) != digest


def test_uneven_routing_costs_and_only_the_weights_that_route_learn_from_it():
    torch.manual_seed(3)
    attention = BiLevelRoutingAttention(16, n_win=4, num_heads=2, topk=2).train()
    x = torch.randn(2, 16, 8, 8, requires_grad=True)
    attention(x)
    even = attention.unevenness
    with torch.no_grad():  # every query alike, so that all regions read the same two
        attention.qkv.qkv.weight[:16] = 0
        attention.qkv.qkv.bias[:16] = 20
    attention(x)
    one = attention.unevenness
    assert -0.01 < even < 1 < one <= 4 * 4 / 2 - 1
    with torch.no_grad():  # the same reads, of almost equal affinities
        attention.qkv.qkv.weight[:32] /= 10
        attention.qkv.qkv.bias[:32] /= 10
    attention(x)
    assert torch.allclose(attention.unevenness, one, rtol=1e-3)
    one.backward()
    assert x.grad is None
    grad = attention.qkv.qkv.weight.grad
    assert grad[:32].abs().sum() > 0 and grad[32:].abs().sum() == 0
    with torch.no_grad():
        attention.topk = 16
        attention(x)
    assert attention.unevenness is None, "all regions are read"


def run_python(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processes_together_share_means_sums_and_the_first_one_s_values(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import json, sys
sys.path.insert(0, {str(HERE)!r})
import torch
from together import STEPS, Together
t = Together(2)
weight, count = torch.full((2, 3), 4.0 * t.rank), torch.tensor([7 + t.rank])
t.mean_([weight, count])
said = [weight.tolist(), int(count), t.sum(t.rank + 1), t.same(t.rank), t.meets(STEPS), t.meets(STEPS + 1)]
if t.first:
    print(json.dumps(said))
""")
    assert json.loads(run_python(str(script))) == [[[2.0] * 3] * 2, 7, 3, 0, True, False]


@pytest.mark.parametrize("ending, last", [(0, "bad data"), (1, "another process ended")])
def test_a_process_that_ends_takes_the_other_with_it_and_each_says_one_sentence(tmp_path, ending, last):
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from together import Together
t = Together(2)
if t.rank == {ending}:
    raise SystemExit("bad data")
t.sum(1)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    said = done.stderr.splitlines()
    assert done.returncode == 1 and said[-1].startswith(last)
    assert said.count("bad data") == 1 and "Traceback" not in done.stderr


def test_two_processes_train_one_network_to_the_end(tiny):
    run = tiny / "pair"
    run_python(str(HERE / "train.py"), *tiny_command(tiny, str(run)), "--images", "1200", "--processes", "2")
    state = torch.load(run / "state.pt", weights_only=False)
    assert (state["step"], state["images"], state["sessions"][0]["processes"]) == (40, 2000, 2)
    assert all(v.isfinite().all() for v in state["average"].values())


def test_weights_that_are_no_numbers_are_not_saved(tiny, monkeypatch):
    monkeypatch.setattr(train, "HERE", tiny)
    monkeypatch.setattr(sys, "argv", ["train.py", *tiny_command(tiny, "broken"), "--images", "100"])
    run = train.Run(train.arguments())
    next(iter(run.average.state.values())).fill_(float("nan"))
    with pytest.raises(SystemExit, match="no numbers"):
        run.save()
    assert not (tiny / "runs" / "broken" / "state.pt").exists()
