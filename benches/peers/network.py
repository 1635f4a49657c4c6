"""A PyTorch network from the same model.yaml and weights.safetensors that attnscope reads."""

import math

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from . import blocks, mechanisms

SCALED = {"Conv", "C3k2", "SPPF", "C2PSA"}
# Constants and counters in weights files that take no part in inference.
IGNORED = ("num_batches_tracked", "fold.weights", "dfl.conv.weight")


class Network(nn.Module):
    """The rows of a model.yaml; `forward` gives the raw boxes and scores of one head."""

    def __init__(self, text, one_to_one):
        super().__init__()
        spec = yaml.safe_load(text)
        self.nc, self.reg_max = spec["nc"], spec.get("reg_max", 16)
        self.scale = spec.get("scale") or next(iter(spec["scales"]))
        self.depth, self.width, self.most = spec["scales"][self.scale]
        self.one_to_one = one_to_one and bool(spec.get("end2end", False))
        self.model, self.sources, self.channels = nn.ModuleList(), [], []
        for row in spec["backbone"] + spec["head"]:
            self.add(*row)
        self.last_reader = [0] * len(self.model)
        for i, sources in enumerate(self.sources):
            for s in sources:
                self.last_reader[s] = i

    def add(self, source, repeats, name, args):
        index = len(self.model)
        listed = source if isinstance(source, list) else [source]
        sources = [s if s >= 0 else index + s for s in listed]
        c1 = [self.channels[s] if s >= 0 else 3 for s in sources]
        n = max(round(repeats * self.depth), 1) if repeats > 1 else repeats
        c2 = sum(c1) if name == "Concat" else c1[0]
        if name in SCALED:
            c2 = 8 * math.ceil(min(args[0], self.most) * self.width / 8)
        self.sources.append(sources)
        self.channels.append(c2)
        self.model.append(self.module(name, c1, c2, n, args))

    def module(self, name, c1, c2, n, args):
        c, more = c1[0], args[1:]
        match name:
            case "Conv":
                return blocks.Conv(c, c2, *more)
            case "C3k2":
                return blocks.C3k2(c, c2, n, *more)
            case "SPPF":
                return blocks.Sppf(c, c2, *more, first_act=len(more) <= 1)
            case "C2PSA":
                return blocks.C2Psa(c, n)
            case "Concat":
                return nn.Identity()
            case "nn.Upsample":
                return nn.Upsample(scale_factor=args[1], mode="nearest")
            case "StokenBlock":
                return mechanisms.StokenBlock(c, *args)
            case "BiFormerBlock":
                return mechanisms.BiFormerBlock(c, *args)
            case "PolarizedSelfAttention":
                return mechanisms.PolarizedSelfAttention(c)
            case "Detect":
                return blocks.Detect(c1, self.nc, self.reg_max, self.one_to_one)
        raise ValueError(f"unknown module {name}")

    def forward(self, x):
        maps, y = {-1: x}, x
        for i, (module, sources) in enumerate(zip(self.model, self.sources)):
            inputs = [maps[s] for s in sources]
            if isinstance(module, nn.Identity):
                y = torch.cat(inputs, 1)
            else:
                y = module(inputs if isinstance(module, blocks.Detect) else inputs[0])
            maps[i] = y
            for s in [s for s in maps if s < i and (s < 0 or self.last_reader[s] <= i)]:
                del maps[s]
        return y

    def load(self, path):
        """Loads every tensor of a file; what does not fit is an error."""
        # Only one head is built; the file may hold the other as well.
        other = f"model.{len(self.model) - 1}.{'cv' if self.one_to_one else 'one2one_'}"
        tensors = {
            name: tensor.float()
            for name, tensor in load_file(path).items()
            if not name.endswith(IGNORED) and not name.startswith(other)
        }
        missing, unexpected = self.load_state_dict(tensors, strict=False)
        missing = [m for m in missing if not m.endswith(IGNORED)]
        if missing or unexpected:
            raise ValueError(f"{path}: missing {missing[:3]}, unexpected {unexpected[:3]}")
        return self

    def fused(self):
        """This network for inference, with batch normalisation folded into the convolutions."""
        self.eval()
        for module in self.modules():
            if isinstance(module, blocks.Conv):
                module.fuse()
        return self.requires_grad_(False)


def write_random_weights(text, path, size, seed=1):
    """Random weights for a model.yaml, whose batch statistics are measured on noise.

    With plain random weights signals would vanish through the depth and every output would be its
    bias: nothing could be compared.
    """
    torch.manual_seed(seed)
    heads = [False, True] if yaml.safe_load(text).get("end2end") else [False]
    state = {}
    for one_to_one in heads:
        torch.manual_seed(seed)
        network = Network(text, one_to_one)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                nn.init.normal_(module.weight, std=1.4 * fan_in**-0.5)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.2)
                nn.init.normal_(module.bias, 0.0, 0.2)
                module.momentum = 1.0  # the statistics become those of the one map that is seen
        for name, parameter in network.named_parameters():
            if name.endswith("2.bias") and "cv3" in name:
                nn.init.normal_(parameter, -6.0, 0.5)
        with torch.no_grad():
            network.train()(torch.rand(1, 3, size, size))
        state |= {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    save_file({k: v.contiguous() for k, v in state.items()}, path)
