"""Convolutional blocks of YOLO v8, v10, 11 and 26.

Attribute names are the tensor names of checkpoints (`cv1.conv.weight`, `m.0.cv2.bn.bias`, ...).
Maps are [B, C, H, W].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Module):
    """Convolution without bias, BatchNorm (eps 1e-3), SiLU unless `act` is off."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, g: int = 1, act: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2, groups=g, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.silu(x, inplace=True) if self.act else x


def depthwise(c1: int, c2: int, k: int = 1, s: int = 1, act: bool = True) -> Conv:
    return Conv(c1, c2, k, s, math.gcd(c1, c2), act)


class Bottleneck(nn.Module):
    def __init__(self, c1: int, c2: int, shortcut: bool = True, e: float = 0.5):
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 3)
        self.cv2 = Conv(hidden, c2, 3)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3k(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 2, shortcut: bool = True):
        super().__init__()
        c = c2 // 2
        self.cv1 = Conv(c1, c)
        self.cv2 = Conv(c1, c)
        self.cv3 = Conv(2 * c, c2)
        self.m = nn.Sequential(*(Bottleneck(c, c, shortcut, 1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class C2f(nn.Module):
    """Two halves; each inner block reads the one before it; all are concatenated."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, e: float = 0.5):
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(self.inner(shortcut) for _ in range(n))

    def inner(self, shortcut: bool) -> nn.Module:
        return Bottleneck(self.c, self.c, shortcut, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.cv1(x).chunk(2, 1))
        for m in self.m:
            y.append(m(y[-1]))
        return self.cv2(torch.cat(y, 1))


class C3k2(C2f):
    def __init__(self, c1: int, c2: int, n: int = 1, c3k: bool = False, e: float = 0.5,
                 attn: bool = False, g: int = 1, shortcut: bool = True):
        if g != 1:
            raise ValueError("C3k2 with groups is not supported")
        self.kind = "attn" if attn else "c3k" if c3k else "plain"
        super().__init__(c1, c2, n, shortcut, e)

    def inner(self, shortcut: bool) -> nn.Module:
        c = self.c
        if self.kind == "attn":
            return nn.Sequential(Bottleneck(c, c, shortcut), PSABlock(c, max(c // 64, 1)))
        return C3k(c, c, 2, shortcut) if self.kind == "c3k" else Bottleneck(c, c, shortcut)


class SPPF(nn.Module):
    """Chained max pooling. `cv1` has no activation where the row states more than the kernel."""

    def __init__(self, c1: int, c2: int, k: int = 5, n: int | None = None, shortcut: bool = False):
        super().__init__()
        c = c1 // 2
        self.k, self.n = k, n or 3
        self.cv1 = Conv(c1, c, act=n is None)
        self.cv2 = Conv(c * (self.n + 1), c2)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y = [self.cv1(x)]
        for _ in range(self.n):
            y.append(F.max_pool2d(y[-1], self.k, 1, self.k // 2))
        y = self.cv2(torch.cat(y, 1))
        return x + y if self.add else y


class Attention(nn.Module):
    """Position-sensitive self-attention of C2PSA and PSA; q, k, v lie head by head."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.v = dim // heads
        self.k = self.v // 2
        self.qkv = Conv(dim, dim + 2 * self.k * heads, act=False)
        self.proj = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 3, g=dim, act=False)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(x).reshape(b, self.heads, 2 * self.k + self.v, h * w)
        q, k, v = qkv.split((self.k, self.k, self.v), 2)
        a = torch.softmax((q.transpose(-2, -1) @ k) * self.k**-0.5, -1)
        out = (v @ a.transpose(-2, -1)).reshape(b, c, h, w)
        return self.proj(out + self.pe(v.reshape(b, c, h, w)))


class PSABlock(nn.Module):
    def __init__(self, c: int, heads: int):
        super().__init__()
        self.attn = Attention(c, heads)
        self.ffn = nn.Sequential(Conv(c, 2 * c), Conv(2 * c, c, act=False))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.ffn(x)


class C2PSA(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1):
        super().__init__()
        c = c1 // 2
        self.cv1 = Conv(c1, 2 * c)
        self.cv2 = Conv(2 * c, c2)
        self.m = nn.Sequential(*(PSABlock(c, max(c // 64, 1)) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat((a, self.m(b)), 1))


class PSA(PSABlock):
    """YOLOv10's own block: C2PSA with one block whose tensors lie directly below the row."""

    def __init__(self, c1: int, c2: int):
        c = c1 // 2
        super().__init__(c, max(c // 64, 1))
        self.cv1 = Conv(c1, 2 * c)
        self.cv2 = Conv(2 * c, c2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat((a, super().forward(b)), 1))


class SCDown(nn.Module):
    def __init__(self, c1: int, c2: int, k: int, s: int):
        super().__init__()
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(c2, c2, k, s, c2, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x))


class RepVGGDW(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.conv = Conv(c, c, 7, g=c, act=False)
        self.conv1 = Conv(c, c, 3, g=c, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.conv(x) + self.conv1(x))


class CIB(nn.Module):
    def __init__(self, c: int, shortcut: bool, large: bool):
        super().__init__()
        middle = RepVGGDW(2 * c) if large else Conv(2 * c, 2 * c, 3, g=2 * c)
        self.cv1 = nn.Sequential(
            Conv(c, c, 3, g=c), Conv(c, 2 * c), middle, Conv(2 * c, c), Conv(c, c, 3, g=c)
        )
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        return x + y if self.add else y


class C2fCIB(C2f):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, lk: bool = False,
                 e: float = 0.5):
        self.large = lk
        super().__init__(c1, c2, n, shortcut, e)

    def inner(self, shortcut: bool) -> nn.Module:
        return CIB(self.c, shortcut, self.large)


class Concat(nn.Module):
    def forward(self, x: list[Tensor]) -> Tensor:
        return torch.cat(x, 1)
