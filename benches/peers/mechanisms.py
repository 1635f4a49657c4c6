"""The attention mechanisms as PyTorch modules, as a careful user would write them.

One picture at a time (batch 1). No traces are kept.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .blocks import attend


def pad_to(x, rows, columns):
    """Zero-pad [1, C, H, W] at the bottom and the right to multiples."""
    h, w = x.shape[2:]
    pad = (0, -w % columns, 0, -h % rows)
    return F.pad(x, pad) if any(pad) else x


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of [1, C, H, W]."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TokenAttention(nn.Module):
    """Attention among super tokens [1, C, hh, ww]; q k v head by head."""

    def __init__(self, c, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(c, 3 * c, 1, bias=False)
        self.proj = nn.Conv2d(c, c, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        d = c // self.heads
        q, k, v = self.qkv(x).view(b, self.heads, 3 * d, h * w).transpose(2, 3).chunk(3, 3)
        out = attend(q, k, v, d**-0.5)
        return self.proj(out.transpose(2, 3).reshape(b, c, h, w))


class SuperTokenAttention(nn.Module):
    def __init__(self, c, stoken_size=(8, 8), n_iter=1, heads=8):
        super().__init__()
        self.size, self.n_iter = tuple(stoken_size), n_iter
        self.stoken_refine = TokenAttention(c, heads)

    @staticmethod
    def gather(tokens):
        """[1, C, hh, ww] -> [hh ww, C, 9]: the 3x3 neighbours of every cell, zeros outside."""
        _, c, hh, ww = tokens.shape
        p = F.pad(tokens, (1, 1, 1, 1))[0]
        shifted = [p[:, dy : dy + hh, dx : dx + ww] for dy in range(3) for dx in range(3)]
        return torch.stack(shifted, 3).permute(1, 2, 0, 3).reshape(hh * ww, c, 9)

    @staticmethod
    def scatter(parts, hh, ww):
        """[hh ww, C, 9] -> [1, C, hh, ww]: the adjoint; what leaves the grid is dropped."""
        c = parts.shape[1]
        p = parts.view(hh, ww, c, 9).permute(2, 3, 0, 1)
        out = 0
        for k in range(9):
            dy, dx = divmod(k, 3)
            out = out + F.pad(p[:, k], (dx, 2 - dx, dy, 2 - dy))
        return out[None, :, 1:-1, 1:-1]

    def forward(self, x):
        height, width = x.shape[2:]
        h, w = self.size
        x = pad_to(x, h, w)
        c, hh, ww = x.shape[1], x.shape[2] // h, x.shape[3] // w
        cells = x.view(c, hh, h, ww, w).permute(1, 3, 2, 4, 0).reshape(hh * ww, h * w, c)
        tokens = F.avg_pool2d(x, self.size)
        for _ in range(self.n_iter):
            affinity = torch.softmax(cells @ self.gather(tokens) * c**-0.5, 2)
            mass = self.scatter(affinity.sum(1)[:, None], hh, ww)
            tokens = self.scatter(cells.transpose(1, 2) @ affinity, hh, ww) / (mass + 1e-12)
        refined = self.gather(self.stoken_refine(tokens))
        y = (refined @ affinity.transpose(1, 2)).view(hh, ww, c, h, w)
        return y.permute(2, 0, 3, 1, 4).reshape(1, c, hh * h, ww * w)[:, :, :height, :width]


class StokenBlock(nn.Module):
    def __init__(self, c, stoken_size=(8, 8), n_iter=1, heads=8):
        super().__init__()
        self.norm = ChannelNorm(c, eps=1e-6)
        self.attn = SuperTokenAttention(c, stoken_size, n_iter, heads)

    def forward(self, x):
        return x + self.attn(self.norm(x))


class RoutingAttention(nn.Module):
    """Bi-level routing attention with padding to whole regions; no pooling, hard routing."""

    def __init__(self, c, n_win=7, heads=8, topk=4, side=3):
        super().__init__()
        self.n_win, self.heads, self.topk = n_win, heads, topk
        self.qkv = nn.ModuleDict({"qkv": nn.Linear(c, 3 * c)})
        self.lepe = nn.Conv2d(c, c, side, padding=side // 2, groups=c)
        self.wo = nn.Linear(c, c)

    def forward(self, x):
        """[1, C, H, W] -> [1, H, W, C]"""
        height, width = x.shape[2:]
        s = self.n_win
        x = pad_to(x, s, s)
        c, h, w = x.shape[1], x.shape[2] // s, x.shape[3] // s
        regions = x.view(c, s, h, s, w).permute(1, 3, 2, 4, 0).reshape(s * s, h * w, c)
        q, k, v = self.qkv["qkv"](regions).chunk(3, 2)
        affinity = q.mean(1) @ k.mean(1).T
        routed = affinity.topk(self.topk, 1).indices.flatten()

        def heads(t, tokens):
            return t.reshape(s * s, tokens, self.heads, -1).transpose(1, 2)

        many = self.topk * h * w
        out = attend(
            heads(q, h * w), heads(k[routed], many), heads(v[routed], many), c**-0.5
        )
        out = out.transpose(1, 2).reshape(s, s, h, w, c)
        grid = v.reshape(s, s, h, w, c).permute(4, 0, 2, 1, 3).reshape(1, c, s * h, s * w)
        out = out.permute(0, 2, 1, 3, 4).reshape(1, s * h, s * w, c)
        out = self.wo(out + self.lepe(grid).permute(0, 2, 3, 1))
        return out[:, :height, :width]


class BiFormerBlock(nn.Module):
    def __init__(self, c, n_win=8, heads=8, topk=4, ratio=2, side=5, _auto_pad=True):
        super().__init__()
        self.pos_embed = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.norm1 = nn.LayerNorm(c, eps=1e-6)
        self.attn = RoutingAttention(c, n_win, heads, topk, side)
        self.norm2 = nn.LayerNorm(c, eps=1e-6)
        hidden = ratio * c
        self.mlp = nn.Sequential(
            nn.Linear(c, hidden), nn.Identity(), nn.GELU(), nn.Linear(hidden, c)
        )

    def forward(self, x):
        x = (x + self.pos_embed(x)).permute(0, 2, 3, 1)
        x = x + self.attn(self.norm1(x).permute(0, 3, 1, 2).contiguous())
        x = x + self.mlp(self.norm2(x))
        return x.permute(0, 3, 1, 2).contiguous()


class PolarizedSelfAttention(nn.Module):
    """The parallel form."""

    def __init__(self, c):
        super().__init__()
        half = c // 2
        self.ch_wv, self.ch_wq = nn.Conv2d(c, half, 1), nn.Conv2d(c, 1, 1)
        self.ch_wz, self.ln = nn.Conv2d(half, c, 1), nn.LayerNorm(c)
        self.sp_wv, self.sp_wq = nn.Conv2d(c, half, 1), nn.Conv2d(c, half, 1)

    def forward(self, x):
        _, c, h, w = x.shape
        q = torch.softmax(self.ch_wq(x).view(1, h * w, 1), 1)
        z = self.ch_wv(x).view(1, c // 2, h * w) @ q
        u = self.ch_wz(z[..., None]).view(1, c)
        channel = torch.sigmoid(self.ln(u)).view(1, c, 1, 1)
        qs = torch.softmax(self.sp_wq(x).mean((2, 3)), 1)[:, None]
        spatial = torch.sigmoid(qs @ self.sp_wv(x).view(1, c // 2, h * w)).view(1, 1, h, w)
        return spatial * x + channel * x
