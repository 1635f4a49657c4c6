"""The YOLO blocks as PyTorch modules, with the parameter names that checkpoints carry.

Written from the published descriptions, like the rest of this project; one picture at a time.
"""

import torch
from torch import nn
from torch.nn import functional as F

BATCH_NORM_EPS = 1e-3


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, SiLU; `fuse` folds the second into the first."""

    def __init__(self, c1, c2, k=1, stride=1, groups=1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=BATCH_NORM_EPS)
        self.act = act

    def forward(self, x):
        y = self.conv(x)
        if self.bn is not None:
            y = self.bn(y)
        return F.silu(y, inplace=True) if self.act else y

    @torch.no_grad()
    def fuse(self):
        scale = self.bn.weight / torch.sqrt(self.bn.running_var + BATCH_NORM_EPS)
        self.conv.weight.mul_(scale[:, None, None, None])
        self.conv.bias = nn.Parameter(self.bn.bias - self.bn.running_mean * scale)
        self.bn = None


def attend(q, k, v, scale):
    """softmax(q kᵀ scale) v over the last two axes; PyTorch's fused form, its fastest."""
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


class Bottleneck(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.cv1 = Conv(c, hidden, 3)
        self.cv2 = Conv(hidden, c, 3)

    def forward(self, x):
        return x + self.cv2(self.cv1(x))


class C3k(nn.Module):
    def __init__(self, c):
        super().__init__()
        half = c // 2
        self.cv1, self.cv2 = Conv(c, half), Conv(c, half)
        self.m = nn.Sequential(Bottleneck(half, half), Bottleneck(half, half))
        self.cv3 = Conv(2 * half, c)

    def forward(self, x):
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))


class C3k2(nn.Module):
    def __init__(self, c1, c2, n, use_c3k=False, e=0.5, attn=False):
        super().__init__()
        c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * c)
        self.cv2 = Conv((2 + n) * c, c2)
        if attn:
            inner = lambda: nn.Sequential(Bottleneck(c, c // 2), PsaBlock(c))
        elif use_c3k:
            inner = lambda: C3k(c)
        else:
            inner = lambda: Bottleneck(c, c // 2)
        self.m = nn.ModuleList(inner() for _ in range(n))

    def forward(self, x):
        parts = list(self.cv1(x).chunk(2, 1))
        for m in self.m:
            parts.append(m(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class Sppf(nn.Module):
    def __init__(self, c1, c2, k=5, n=3, shortcut=False, first_act=True):
        super().__init__()
        self.cv1 = Conv(c1, c1 // 2, act=first_act)
        self.cv2 = Conv((n + 1) * (c1 // 2), c2)
        self.k, self.n, self.shortcut = k, n, shortcut and c1 == c2

    def forward(self, x):
        parts = [self.cv1(x)]
        for _ in range(self.n):
            parts.append(F.max_pool2d(parts[-1], self.k, 1, self.k // 2))
        y = self.cv2(torch.cat(parts, 1))
        return x + y if self.shortcut else y


class Attention(nn.Module):
    """The attention of C2PSA: keys half as wide as values, q k v head by head."""

    def __init__(self, c, heads):
        super().__init__()
        self.heads, self.d = heads, c // heads
        self.dk = self.d // 2
        self.qkv = Conv(c, c + 2 * heads * self.dk, act=False)
        self.proj = Conv(c, c, act=False)
        self.pe = Conv(c, c, 3, groups=c, act=False)

    def forward(self, x):
        b, c, h, w = x.shape
        qkv = self.qkv(x).view(b, self.heads, 2 * self.dk + self.d, h * w)
        q, k, v = qkv.split([self.dk, self.dk, self.d], 2)
        out = attend(*(t.transpose(2, 3) for t in (q, k, v)), self.dk**-0.5)
        out = out.transpose(2, 3).reshape(b, c, h, w)
        return self.proj(out + self.pe(v.reshape(b, c, h, w)))


class PsaBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attn = Attention(c, max(c // 64, 1))
        self.ffn = nn.Sequential(Conv(c, 2 * c), Conv(2 * c, c, act=False))

    def forward(self, x):
        x = x + self.attn(x)
        return x + self.ffn(x)


class C2Psa(nn.Module):
    def __init__(self, c, n):
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c), Conv(c, c)
        self.m = nn.Sequential(*(PsaBlock(c // 2) for _ in range(n)))

    def forward(self, x):
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat([a, self.m(b)], 1))


class Detect(nn.Module):
    """One head: raw boxes [4 reg_max, A] and scores [nc, A], before decoding."""

    def __init__(self, channels, nc, reg_max, one_to_one):
        super().__init__()
        box, cls = max(16, channels[0] // 4, 4 * reg_max), max(channels[0], min(nc, 100))
        self.prefix = "one2one_" if one_to_one else ""
        boxes = (
            nn.Sequential(Conv(c, box, 3), Conv(box, box, 3), nn.Conv2d(box, 4 * reg_max, 1))
            for c in channels
        )
        scores = (
            nn.Sequential(
                nn.Sequential(Conv(c, c, 3, groups=c), Conv(c, cls)),
                nn.Sequential(Conv(cls, cls, 3, groups=cls), Conv(cls, cls)),
                nn.Conv2d(cls, nc, 1),
            )
            for c in channels
        )
        setattr(self, f"{self.prefix}cv2", nn.ModuleList(boxes))
        setattr(self, f"{self.prefix}cv3", nn.ModuleList(scores))

    def forward(self, levels):
        def branch(name):
            branches = getattr(self, self.prefix + name)
            return torch.cat([m(x).flatten(2) for m, x in zip(branches, levels)], 2)[0]

        return branch("cv2"), branch("cv3")
