"""attnscope beside ONNX Runtime and PyTorch: the same weights, the same picture, the same machine.

    python -m venv peers && peers/bin/pip install -r benches/requirements.txt
    cargo build --release
    peers/bin/python benches/peers.py [--threads 2] [--rounds 10] [--runs 3]

First the outputs are compared, then the times: the contenders take turns, a few runs each, so that
a machine that is busy with other things slows all of them. Every time is that of the network
alone, from the input tensor to raw boxes and scores.
"""

import argparse
import json
import logging
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
from peers.network import Network, write_random_weights  # noqa: E402

BUNDLED = ROOT / "models" / "yolo26n-attn"
# Model, input size, goals: attnscope to ONNX Runtime and to PyTorch eager.
CASES = [
    ("yolo11n", 640, 1.0, 0.5),
    ("yolo26n", 640, 1.0, 0.5),
    ("bundled", 384, None, 0.5),
    ("bundled", 640, None, 0.5),
]
# Largest difference between outputs, relative to their standard deviation.
TOLERANCE = 1e-2
# How long each turn runs without counting: what a process does for the first time, what the turns of the others
# have put out of the caches, and threads that share a processor until the system moves one. As in attnscope bench.
WARM_UP_S = 0.3
# Threads of the one before go to sleep in this time.
PAUSE_S = 0.1


class Attnscope:
    """The program, as a process of its own."""

    name = "attnscope"

    def __init__(self, program, folder, size, threads):
        self.command = [program, "bench", "--json", "--device", "cpu", "--model", folder]
        self.command += ["--imgsz", size, "--threads", threads]

    def bench(self, *more):
        command = [str(a) for a in [*self.command, *more]]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def output(self, path):
        """Head in use, input tensor, boxes and scores."""
        report = self.bench("--only", "network", "--runs", 1, "--raw", path)
        raw = np.load(path)
        return report["head"], raw["input"], raw["boxes"], raw["scores"]

    def times(self, runs):
        # The program itself warms up as long as the others here.
        (row,) = self.bench("--only", "network", "--runs", runs)["rows"]
        return row["values"]


class InProcess:
    """A contender in this process, by a function of no arguments."""

    def __init__(self, name, run):
        self.name, self.run = name, run

    def times(self, runs):
        end, out = time.perf_counter() + WARM_UP_S, []
        while time.perf_counter() < end:
            self.run()
        for _ in range(runs):
            began = time.perf_counter()
            self.run()
            out.append((time.perf_counter() - began) * 1e3)
        return out


def eager(network, x):
    def run():
        with torch.inference_mode():
            return [t.numpy() for t in network(x)]

    return InProcess("PyTorch eager", run)


def channels_last(network, x):
    network = network.to(memory_format=torch.channels_last)
    contender = eager(network, x.to(memory_format=torch.channels_last))
    contender.name = "PyTorch eager, channels last"
    return contender


def onnx_runtime(network, x, path, threads):
    torch.onnx.export(
        network, (x,), path, input_names=["x"], output_names=["boxes", "scores"],
        opset_version=18, dynamo=True, verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"x": x.numpy()}
    return InProcess("ONNX Runtime", lambda: session.run(None, feed))


def difference(ours, theirs):
    """Largest difference, and the standard deviation of ours."""
    return float(np.abs(ours - theirs).max()), float(ours.std())


def check(case, contender, ours):
    """Compares outputs before any time is believed; the difference in standard deviations."""
    worst = 0.0
    for what, a, b in zip(("boxes", "scores"), ours, contender.run()):
        largest, deviation = difference(a, b)
        worst = max(worst, largest / deviation)
        if not largest <= TOLERANCE * deviation:
            raise SystemExit(
                f"{case}: {contender.name} gives other {what}: off by {largest:.2g} at a deviation"
                f" of {deviation:.2g}"
            )
    return worst


def model_folder(name, folder):
    if name == "bundled":
        return BUNDLED
    folder = folder / name
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "peers" / f"{name}.yaml", folder / "model.yaml")
    write_random_weights((folder / "model.yaml").read_text(), folder / "weights.safetensors", 256)
    return folder


def contenders(args, case, name, size, folder):
    model = model_folder(name, folder)
    ours = Attnscope(args.attnscope, model, size, args.threads)
    head, x, *output = ours.output(folder / "raw.npz")
    x = torch.from_numpy(x)

    def network():
        built = Network((model / "model.yaml").read_text(), head == "one-to-one")
        return built.load(model / "weights.safetensors").fused()

    all_of_them = [ours, eager(network(), x), channels_last(network(), x)]
    try:
        path = folder / f"{name}-{size}.onnx"
        all_of_them.append(onnx_runtime(network(), x, path, args.threads))
    except Exception as error:  # an exporter has many ways to give up
        print(f"{case}: no ONNX Runtime: {str(error).splitlines()[0]}", file=sys.stderr)
    worst = max(check(case, c, output) for c in all_of_them[1:])
    return all_of_them, head, worst


def settle(patience):
    """Lets the threads of the one before go to sleep, and waits for a moment without others."""
    time.sleep(PAUSE_S)
    end, quiet = time.monotonic() + patience, 0
    while quiet < 5 and time.monotonic() < end:
        try:
            running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[0])
        except OSError:
            return
        quiet = quiet + 1 if running <= 1 else 0  # this process itself
        time.sleep(0.05)


def race(args, them):
    times = {c.name: [] for c in them}
    for _ in range(args.rounds):
        for c in them:
            settle(args.patience)
            times[c.name] += c.times(args.runs)
    return times


def compare(args, name, size, goals, folder):
    case = f"{name} at {size}²"
    them, head, worst = contenders(args, case, name, size, folder)
    before = load()
    times = race(args, them)
    print(f"\n### {case}, {head} head\n")
    print(f"Outputs differ by at most {worst:.1e} of their standard deviation;", end=" ")
    print(f"load average {before} to {load()}.\n")
    print("| | median | smallest | largest | attnscope to it (by the smallest) | goal |")
    print("|---|---|---|---|---|---|")
    ours = times["attnscope"]
    for c, theirs in times.items():
        goal = {"ONNX Runtime": goals[0], "PyTorch eager": goals[1]}.get(c)
        middle, best = statistics.median(theirs), min(theirs)
        ratio = f"{statistics.median(ours) / middle:.2f} ({min(ours) / best:.2f})"
        print(
            f"| {c} | {middle:.1f} ms | {best:.1f} | {max(theirs):.1f} |"
            f" {ratio if theirs is not ours else ''} | {f'≤ {goal}' if goal else ''} |"
        )
    return {"case": case, "head": head, "difference": worst, "times_ms": times}


def live_rows(args, size):
    """What a person waits for: the rows that have no counterpart elsewhere."""
    ours = Attnscope(args.attnscope, BUNDLED, size, args.threads)
    settle(10 * args.patience)
    report = ours.bench("--runs", max(15, args.rounds * args.runs))
    print(f"\n### attnscope bench, bundled model at {size}², load before {report['load']}\n")
    print("| row | median | smallest | largest | goal | |\n|---|---|---|---|---|---|")
    for row in report["rows"]:
        digits = 2 if row["unit"] == "ratio" or row["median"] < 10 else 0
        cells = [f"{row[k]:.{digits}f}" for k in ("median", "min", "max")]
        unit = "" if row["unit"] == "ratio" else " " + row["unit"]
        goal = f"≤ {row['goal']:g}{unit}" if row["goal"] else ""
        print(f"| {row['key']} | {cells[0]}{unit} | {cells[1]} | {cells[2]} | {goal} | {row['what']} |")
    layers = sorted(report["layers"], key=lambda layer: -layer["median_ms"])[:6]
    named = ", ".join(f"{v['row']} {v['module']} {v['median_ms']:.1f} ms" for v in layers)
    print(f"\nSlowest layers: {named}.")
    return report


def machine():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(v.split(":", 1)[1].strip() for v in lines if v.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def load():
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "not known"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attnscope", type=Path, default=ROOT / "target/release/attnscope")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10, help="turns of every contender")
    parser.add_argument("--runs", type=int, default=3, help="runs in a turn")
    parser.add_argument("--patience", type=float, default=5, help="seconds to wait for quiet")
    parser.add_argument("--only", help="only the cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write every time to this file")
    args = parser.parse_args()
    if not args.attnscope.is_file():
        parser.error(f"{args.attnscope} is missing; expected the program from cargo build --release")
    torch.set_num_threads(args.threads)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, we do not
    sys.stdout.reconfigure(line_buffering=True)
    print(f"{machine()}; {args.threads} threads; load average before {load()}")
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__},"
        f" Python {platform.python_version()}; {args.rounds} turns of {args.runs} runs"
    )
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, size, *goals in CASES:
            if not args.only or args.only in f"{name}-{size}":
                results.append(compare(args, name, size, goals, Path(folder)))
    reports = [] if args.only else [live_rows(args, size) for size in (384, 640)]
    print(f"\nLoad average after {load()}")
    if args.json:
        everything = {"comparisons": results, "attnscope": reports}
        args.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
