"""The three attention mechanisms whose knobs carry no weights.

`stoken_size`, `n_iter`, `n_win` and `topk` are plain attributes: `knobs.py` sets them before a
forward pass. Association (STA) and routing (BRA) are constants for the gradient, as in their papers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


#: Standard deviation of the affinities whose probabilities make up the unevenness of routing.
SHARPNESS = 2.0


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """softmax(q·kᵀ·scale)·v over the last two axes. On a CPU the plain form trains faster than the
    fused one, whose backward pass takes three times as long at these sizes."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    return torch.softmax((q * scale) @ k.transpose(-2, -1), -1).to(v.dtype) @ v


def pad_to(x: Tensor, h: int, w: int) -> Tensor:
    """Zeros at the bottom and right up to multiples of `h` and `w`."""
    bottom, right = -x.shape[2] % h, -x.shape[3] % w
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x


class _Neighbours(nn.Module):
    """The constant 3x3 one-hot kernels that published checkpoints carry; never used here."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.eye(9).reshape(9, 1, 3, 3), requires_grad=False)


class StAttention(nn.Module):
    """Self-attention over super tokens; q, k, v lie head by head, softmax over the keys."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(x).reshape(b, self.heads, 3, c // self.heads, h * w).transpose(3, 4)
        out = attend(*qkv.unbind(2), (c // self.heads) ** -0.5)
        return self.proj(out.transpose(2, 3).reshape(b, c, h, w))


class StokenAttention(nn.Module):
    """Super token attention (STViT): pixels join the nine super tokens around their cell."""

    def __init__(self, dim: int, stoken_size=(8, 8), n_iter: int = 1, num_heads: int = 8):
        super().__init__()
        self.stoken_size, self.n_iter = tuple(stoken_size), n_iter
        self.unfold = _Neighbours()
        self.fold = _Neighbours()
        self.stoken_refine = StAttention(dim, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        h, w = self.stoken_size
        if h == w == 1:
            return self.stoken_refine(x)
        h0, w0 = x.shape[2:]
        x = pad_to(x, h, w)
        b, c, hp, wp = x.shape
        hh, ww = hp // h, wp // w
        pixels = x.reshape(b, c, hh, h, ww, w).permute(0, 2, 4, 3, 5, 1).reshape(b, hh * ww, h * w, c)
        tokens = pixels.mean(2).transpose(1, 2).reshape(b, c, hh, ww)

        def around(s: Tensor) -> Tensor:
            """[B, C, hh, ww] to the 3x3 neighbours of every cell [B, m, C, 9], zeros outside."""
            return F.unfold(s, 3, padding=1).reshape(b, c, 9, hh * ww).permute(0, 3, 1, 2)

        def give(t: Tensor) -> Tensor:
            """Adjoint of `around`: [B, m, C, 9] summed into [B, C, hh, ww]."""
            t = t.permute(0, 2, 3, 1)
            return F.fold(t.reshape(b, -1, hh * ww), (hh, ww), 3, padding=1)

        with torch.no_grad():
            detached, s = pixels.detach(), tokens.detach()
            for it in range(self.n_iter):
                affinity = torch.softmax((detached @ around(s)).float() * c**-0.5, -1)
                mass = give(affinity.sum(2, keepdim=True)) + 1e-12
                affinity = affinity.to(pixels.dtype)
                if it < self.n_iter - 1:
                    s = give(detached.transpose(2, 3) @ affinity) / mass
                    s = s.to(pixels.dtype)
        tokens = give((pixels.transpose(2, 3) @ affinity).float()) / mass
        refined = self.stoken_refine(tokens.to(x.dtype))
        out = affinity @ around(refined).transpose(2, 3)  # [B, m, hw, C]
        out = out.reshape(b, hh, ww, h, w, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, hp, wp)
        return out[:, :, :h0, :w0]


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class StokenBlock(nn.Module):
    """x + STA(LayerNorm2d(x))."""

    def __init__(self, dim: int, stoken_size=(8, 8), n_iter: int = 1, num_heads: int = 8):
        super().__init__()
        self.norm = LayerNorm2d(dim, eps=1e-6)
        self.attn = StokenAttention(dim, stoken_size, n_iter, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attn(self.norm(x))

    def start_as_identity(self) -> None:
        nn.init.zeros_(self.attn.stoken_refine.proj.weight)
        nn.init.zeros_(self.attn.stoken_refine.proj.bias)


class _Qkv(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)


class BiLevelRoutingAttention(nn.Module):
    """Bi-level routing attention (BiFormer): every region attends to its `topk` best regions."""

    def __init__(self, dim: int, n_win: int = 7, num_heads: int = 8, topk: int = 4,
                 side_dwconv: int = 3, auto_pad: bool = True):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels")
        if not auto_pad:
            raise ValueError("auto_pad must stay on: several input sizes are trained")
        self.n_win, self.heads, self.topk = n_win, num_heads, topk
        self.scale = dim**-0.5
        self.qkv = _Qkv(dim)
        self.lepe = nn.Conv2d(dim, dim, side_dwconv, padding=side_dwconv // 2, groups=dim)
        self.wo = nn.Linear(dim, dim)
        self.unevenness: Tensor | None = None  # of the last forward pass in training, see `_route`

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        return self.attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def attend(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        b, h0, w0, c = x.shape
        s, heads = self.n_win, self.heads
        x = F.pad(x, (0, 0, 0, -w0 % s, 0, -h0 % s))
        h, w = x.shape[1] // s, x.shape[2] // s
        regions, tokens, k = s * s, h * w, min(self.topk, s * s)
        qkv = self.qkv.qkv(x)

        v_map = qkv[..., 2 * c:].permute(0, 3, 1, 2)
        lepe = self.lepe(v_map).permute(0, 2, 3, 1)

        # One head of one region is one row, so that copies of whole regions, and the sums of their
        # gradients, run over memory in order: three of [B, S², heads, tokens, d].
        q, keys, values = (
            qkv.reshape(b, s, h, s, w, 3, heads, c // heads).permute(5, 0, 1, 3, 6, 2, 4, 7)
            .reshape(3, b, regions, heads, tokens, c // heads).unbind(0)
        )
        if k < regions:
            chosen = self._route(x.detach().reshape(b, s, h, s, w, c).mean((2, 4)).reshape(b, regions, c), k)
            rows = chosen + regions * torch.arange(b, device=x.device)[:, None, None]
            rows = (rows[:, :, None] * heads + torch.arange(heads, device=x.device)[:, None]).flatten()

            def read(t: Tensor) -> Tensor:  # to [B, S², heads, k · tokens, d]
                t = t.reshape(b * regions * heads, -1).index_select(0, rows)
                return t.reshape(b, regions, heads, k * tokens, -1)

            out = attend(q, read(keys), read(values), self.scale)
        else:  # every region: plain attention over the whole map, whatever the order
            self.unevenness = None
            q, keys, values = (t.transpose(1, 2).flatten(2, 3) for t in (q, keys, values))
            out = attend(q, keys, values, self.scale).unflatten(2, (regions, tokens)).transpose(1, 2)
        out = out.reshape(b, s, s, heads, h, w, -1).permute(0, 1, 4, 2, 5, 3, 6).reshape(b, s * h, s * w, c)
        return self.wo(out + lepe)[:, :h0, :w0]

    def _route(self, means: Tensor, k: int) -> Tensor:
        """The k regions that each region reads [B, S², k], from the means of the input [B, S², C]: the
        mean of a linear map is the map of the mean. Sets `unevenness`, the only way in which routing
        has a gradient, and only for the weights that route: sum over regions of (share of the reads)
        · (mean probability) · S², less 1. It is 0 where all are read alike, k⁻¹·S² - 1 at most where
        few are read. The probabilities are of affinities brought to one spread: regions that all read
        the same few must not become cheaper by making the affinities flat."""
        c = means.shape[-1]
        with torch.autocast(means.device.type, enabled=False):
            weight, bias = (p[: 2 * c].float() for p in (self.qkv.qkv.weight, self.qkv.qkv.bias))
            q, keys = F.linear(means.float(), weight, bias).chunk(2, -1)
            logits = (q * self.scale) @ keys.transpose(1, 2)
            chosen = logits.detach().topk(k, -1).indices
            self.unevenness = None
            if self.training:
                reads = torch.zeros_like(means[..., 0], dtype=torch.float32).scatter_add_(
                    1, chosen.flatten(1), torch.full_like(chosen.flatten(1), 1, dtype=torch.float32))
                share = reads / reads.sum(1, keepdim=True)
                spread = logits.detach().std(-1, keepdim=True) + 1e-6
                likely = (logits * (SHARPNESS / spread)).softmax(-1).mean(1)
                self.unevenness = reads.shape[1] * (share * likely).sum(1).mean() - 1
        return chosen


class BiFormerBlock(nn.Module):
    """x + dwconv(x), x + BRA(LN(x)), x + MLP(LN(x))."""

    def __init__(self, dim: int, n_win: int = 7, num_heads: int = 8, topk: int = 4,
                 mlp_ratio: float = 3, side_dwconv: int = 5, auto_pad: bool = True):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.pos_embed = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = BiLevelRoutingAttention(dim, n_win, num_heads, topk, side_dwconv, auto_pad)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.Identity(), nn.GELU(), nn.Linear(hidden, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.pos_embed(x)).permute(0, 2, 3, 1)
        x = x + self.attn.attend(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x.permute(0, 3, 1, 2)

    def start_as_identity(self) -> None:
        for last in (self.pos_embed, self.attn.wo, self.mlp[3]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


class PolarizedSelfAttention(nn.Module):
    """Parallel polarized self-attention: x · (spatial weight + channel weight)."""

    def __init__(self, dim: int):
        super().__init__()
        half = dim // 2
        self.ch_wv = nn.Conv2d(dim, half, 1)
        self.ch_wq = nn.Conv2d(dim, 1, 1)
        self.ch_wz = nn.Conv2d(half, dim, 1)
        self.ln = nn.LayerNorm(dim)
        self.sp_wv = nn.Conv2d(dim, half, 1)
        self.sp_wq = nn.Conv2d(dim, half, 1)

    def channel(self, x: Tensor) -> Tensor:
        """[B, C, 1, 1]"""
        b, c, h, w = x.shape
        q = torch.softmax(self.ch_wq(x).reshape(b, h * w, 1).float(), 1).to(x.dtype)
        z = self.ch_wv(x).reshape(b, c // 2, h * w) @ q
        u = self.ln(self.ch_wz(z.unsqueeze(-1)).reshape(b, c))
        return torch.sigmoid(u).reshape(b, c, 1, 1).to(x.dtype)

    def spatial(self, x: Tensor) -> Tensor:
        """[B, 1, H, W]"""
        b, c, h, w = x.shape
        q = torch.softmax(self.sp_wq(x.mean((2, 3), keepdim=True)).reshape(b, 1, c // 2).float(), -1)
        v = self.sp_wv(x).reshape(b, c // 2, h * w)
        return torch.sigmoid(q.to(v.dtype) @ v).reshape(b, 1, h, w).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.spatial(x) + self.channel(x))


class SequentialPolarizedSelfAttention(PolarizedSelfAttention):
    """The same weights one after the other: the spatial weight is computed on, and scales, cw · x."""

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.channel(x)
        return x * self.spatial(x)
