"""The frozen base of train_far.py with low-rank changes of q and k, at rotary positions with YaRN.

On CUDA it takes several rows at once and attends with PyTorch's fused kernels; on the CPU it takes one row, attends for
a block of queries at a time, and computes of its last layer only the queries whose logits are wanted. Products are in
bfloat16, the residual stream is float32.
"""
import json
import math

import torch
import torch.nn.functional as F

from masked import hard_types, last_query, visible
from tensors_file import read_tensors

BLOCK = 512  # queries whose scores are computed at a time on the CPU


def positions(config, length):
    """cos and sin [length, head_dim / 2] of rotary positions, with YaRN if the config asks for it."""
    rope, width = config["rope_parameters"], config["head_dim"]
    theta = rope.get("rope_theta", 10000.0)
    turns = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    factor = 1.0
    if rope["rope_type"] == "yarn":
        scale, trained = rope["factor"], rope["original_max_position_embeddings"]
        place = lambda rotations: width * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(theta))
        low, high = max(0, math.floor(place(32))), min(width - 1, math.ceil(place(1)))
        ramp = ((torch.arange(width // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
        turns = turns / scale * ramp + turns * (1 - ramp)
        factor = 0.1 * math.log(scale) + 1
    angles = torch.arange(length, dtype=torch.float64)[:, None] * turns
    return (angles.cos() * factor).float(), (angles.sin() * factor).float()


def turned(x, cos, sin):
    """x [B,heads,N,d] with its halves turned by the positions."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def normed(x, weight, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def product(x, weight):
    """x W^T, in bfloat16."""
    return F.linear(x.bfloat16(), weight).float()


class Base:
    """A Llama whose weights are fixed, with changes of q and k that are learned, of all layers from `first` on."""

    def __init__(self, folder, overrides, scorers, rank, first=1, device="cpu"):
        self.config = json.loads((folder / "config.json").read_text()) | overrides
        self.fused = torch.device(device).type == "cuda"
        weights = {name: x.to(device) for name, x in read_tensors(folder / "model.safetensors").items()}
        c = self.config
        assert c["tie_word_embeddings"] and not c["attention_bias"]
        self.embedding = weights["model.embed_tokens.weight"]
        self.norm = weights["model.norm.weight"]
        self.scorers = [x.to(device) for x in scorers]
        self.changes = {}
        self.layers = []
        for n in range(c["num_hidden_layers"]):
            get = lambda name: weights[f"model.layers.{n}.{name}.weight"]
            parts = {name: get(f"self_attn.{name}_proj").bfloat16() for name in "qkvo"}
            parts |= {name: get(f"mlp.{name}_proj").bfloat16() for name in ("gate", "up", "down")}
            parts |= {"in": get("input_layernorm"), "post": get("post_attention_layernorm")}
            self.layers.append(parts)
            for name in "qk" if n >= first else "":
                a = (torch.randn(rank, c["hidden_size"]) / math.sqrt(c["hidden_size"])).to(device)  # the same on each
                b = torch.zeros(parts[name].shape[0], rank, device=device)
                self.changes[n, name] = (a.requires_grad_(), b.requires_grad_())
        self.cos, self.sin = (x.to(device) for x in positions(c, c["max_position_embeddings"]))

    def parameters(self):
        return [x for pair in self.changes.values() for x in pair]

    def projected(self, h, n, name, heads):
        """[B,heads,N,d]; alpha is twice the rank."""
        x = product(h, self.layers[n][name])
        if (n, name) in self.changes:
            a, b = self.changes[n, name]
            x = x + 2 * product(product(h, a.bfloat16()), b.bfloat16())
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def forward(self, ids, rows, window=None):
        """
        Logits [R,V] of the queries `rows` [R] of ids [B,N]: query i of row b is b N + i, and they ascend. With a
        window, under the types of the scorers. Also returns the share of pairs that is kept, a tensor. B is 1 unless
        `fused`.
        """
        c = self.config
        x = self.embedding[ids]
        n = ids.shape[1]
        every = torch.arange(n, device=ids.device)
        cos, sin = self.cos[:n], self.sin[:n]
        H, G = c["num_attention_heads"], c["num_key_value_heads"]
        kept = []
        for at, layer in enumerate(self.layers):
            h = normed(x, layer["in"], c["rms_norm_eps"])
            few = at == len(self.layers) - 1 and not self.fused  # of the last layer's queries only those matter
            asked = h[:, rows] if few else h
            turns = (cos[rows], sin[rows]) if few else (cos, sin)
            q = turned(self.projected(asked, at, "q", H), *turns) / math.sqrt(c["head_dim"])
            k = turned(self.projected(h, at, "k", G), cos, sin)
            v = self.projected(h, at, "v", G)
            last = None
            if window is not None:
                with torch.no_grad():
                    scores = F.linear(h, self.scorers[at]).unflatten(-1, (G, 3)).permute(0, 2, 1, 3)
                    last = last_query(hard_types(scores), [window])
                    lived = (last.clamp(max=n - 1) - every + 1).sum(-1).float()
                    kept.append(lived.mean() / (n * (n + 1) / 2))
            q, k, v = q.bfloat16(), *(y.repeat_interleave(H // G, 1).bfloat16() for y in (k, v))
            out = fused(q, k, v, last) if self.fused else attend(q, k, v, last, H // G, rows if few else every)
            out = out.float()
            x = x[:, rows] if few else x
            x = x + product(out.transpose(1, 2).flatten(2), layer["o"])
            h = normed(x, layer["post"], c["rms_norm_eps"])
            x = x + product(F.silu(product(h, layer["gate"])) * product(h, layer["up"]), layer["down"])
        x = x.flatten(0, 1)[rows] if self.fused else x[0]
        x = normed(x, self.norm, c["rms_norm_eps"])
        return product(x, self.embedding.bfloat16()), sum(kept) / len(kept) if kept else torch.ones(())


def attend(q, k, v, last, group, places):
    """softmax(q k^T) v of visible keys for the queries at `places`, a block of them at a time."""
    parts = []
    at = torch.arange(k.shape[2])
    for begin in range(0, len(places), BLOCK):
        rows = places[begin:begin + BLOCK, None]
        end = int(rows[-1]) + 1
        hidden = at[None, :end] > rows
        if last is not None:
            hidden = (hidden | (last[..., None, :end] < rows)).repeat_interleave(group, 1)
        scores = q[:, :, begin:begin + BLOCK] @ k[:, :, :end].transpose(2, 3)
        parts.append(scores.masked_fill(hidden, -1e9).softmax(-1) @ v[:, :, :end])
    return torch.cat(parts, 2)


def fused(q, k, v, last):
    """The same for all queries [B,H,N,d], by PyTorch's kernels; q is scaled, `last` [B,G,N] if types hide keys."""
    if last is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    b, groups, _ = last.shape
    q, k, v = (y.unflatten(1, (groups, -1)).flatten(0, 1) for y in (q, k, v))
    mask = visible(last).flatten(0, 1)[:, None]  # [B G,1,N,N]: once for all heads of a group
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
    return out.unflatten(0, (b, groups)).flatten(1, 2)
