"""Muon for matrices, AdamW for the rest, and the moving average of the weights."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn


def newton_schulz(g: Tensor, steps: int = 5) -> Tensor:
    """Approximately orthogonal matrices [N, rows, cols] from gradients, in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        xx = x @ x.transpose(1, 2)
        x = a * x + (b * xx + c * xx @ xx) @ x
    x = x.transpose(1, 2) if tall else x
    return x.to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised per weight seen as [out, rest]; equal shapes go together."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            by_shape: dict[tuple, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[(p.shape[0], p[0].numel())].append(p)
            for (rows, cols), same in by_shape.items():
                updates = []
                for p in same:
                    buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(buffer, group["momentum"]).reshape(rows, cols))
                step = newton_schulz(torch.stack(updates))
                step *= -group["lr"] * max(1.0, rows / cols) ** 0.5
                for p, s in zip(same, step):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(s.reshape(p.shape))


def optimisers_of(network: nn.Module, lr_muon: float, lr_adam: float, decay: float) -> list:
    """Muon: every weight with two or more axes that is no depthwise kernel and no last layer of the
    head (its rows are single classes or sides). AdamW: the rest."""
    muon, adam = [], []
    last = {f"model.{len(network.model) - 1}.{head}.{i}.2.weight"
            for head in ("cv2", "cv3", "one2one_cv2", "one2one_cv3") for i in range(3)}
    for name, p in network.named_parameters():
        if not p.requires_grad:
            continue
        matrix = p.ndim >= 2 and p[0].numel() > 1 and p.shape[0] > 1
        depthwise = p.ndim == 4 and p.shape[1] == 1
        (muon if matrix and not depthwise and name not in last else adam).append(p)
    return [Muon(muon, lr_muon, weight_decay=decay),
            torch.optim.AdamW(adam, lr_adam, betas=(0.9, 0.99), weight_decay=0.0)]


class Average:
    """Exponential moving average of weights and BatchNorm statistics."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        floats = [(self.state[k], v) for k, v in network.state_dict().items() if v.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [v for _, v in floats], 1 - decay)
        for k, v in network.state_dict().items():
            if not v.is_floating_point():
                self.state[k].copy_(v)
