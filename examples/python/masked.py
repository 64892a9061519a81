"""Attention under the masks of token types, in PyTorch: what train_types.py and eval_masks.py share.

Types are numbers: 0 GLOBAL, 1 LOCAL, and 2, 3, ... one for each window (docs/algorithm.md has one window). Their
lifetimes are those of section 2, the gradient of a type is that of the relaxed mask of section 5, and a hidden key's
weight in it is bounded as in section 4.
"""
import math

import torch
import torch.nn.functional as F

NAME = "model.layers.{}.self_attn.proj_layer.weight"
NEVER = float("-inf")


def closings(types):
    """The first GLOBAL token after each [..., N], or N where there is none."""
    n = types.shape[-1]
    at = torch.arange(n, device=types.device)
    places = torch.where(types == 0, at, n)
    later = torch.flip(torch.cummin(torch.flip(places, [-1]), -1).values, [-1])  # at or after
    return F.pad(later[..., 1:], (0, 1), value=n)


def last_query(types, windows):
    """The last query that sees each token [..., N]; N if all do."""
    n = types.shape[-1]
    at = torch.arange(n, device=types.device)
    last = torch.where(types == 0, n, closings(types))
    for number, window in enumerate(windows):
        last = torch.where(types == 2 + number, at + window, last)
    return last.clamp(max=n)


def visible(last):
    """The mask [..., N, N] of queries and keys."""
    at = torch.arange(last.shape[-1], device=last.device)
    return (at[None] <= at[:, None]) & (at[:, None] <= last[..., None, :])


class Relaxed(torch.autograd.Function):
    """One-hot types [B,G,N,K] as a mask [B,G,N,N], with the derivatives of section 5."""

    @staticmethod
    def forward(ctx, one_hot, windows):
        types = one_hot.argmax(-1)
        ctx.save_for_backward(types)
        ctx.windows = windows
        return visible(last_query(types, windows)).float()

    @staticmethod
    def backward(ctx, d_mask):
        types, = ctx.saved_tensors
        n = types.shape[-1]
        at = torch.arange(n, device=types.device)
        sums = (d_mask * (at[None] <= at[:, None])).cumsum(-2)  # [i,j]: over queries j..i
        closing = closings(types).clamp(max=n - 1)
        upto = lambda rows: sums.gather(-2, rows[..., None, :]).squeeze(-2)
        ended = sums.gather(-2, closing[..., None].expand_as(sums)) - sums  # [j,k]: key k, queries j+1..closing(j)
        pays = (types == 1)[..., None, :] & (at[None] < at[:, None]) & (closing[..., None, :] >= at[:, None])
        parts = [sums[..., -1, :] - (ended * pays).sum(-1), upto(closing)]
        parts += [upto((at + window).clamp(max=n - 1).expand_as(types)) for window in ctx.windows]
        return torch.stack(parts, -1), None


def prices(types, windows):
    """What keeping costs, in queries [B,G,N,K] (section 7)."""
    n = types.shape[-1]
    at = torch.arange(n, device=types.device)
    parts = [(n - 1 - at).expand_as(types), closings(types).clamp(max=n - 1) - at]
    parts += [(n - 1 - at).clamp(max=window).expand_as(types) for window in windows]
    return torch.stack(parts, -1).float()


def kept_share(types, windows):
    """[..., G] of the mean share of the cache that is kept (section 7)."""
    n = types.shape[-1]
    at = torch.arange(n, device=types.device)
    return 2 * (last_query(types, windows).clamp(max=n - 1) - at).sum(-1) / n ** 2


def scores_of(h, weight, kinds):
    """[B,G,N,K] of normed inputs [B,N,D]."""
    return F.linear(h, weight).unflatten(-1, (-1, kinds)).permute(0, 2, 1, 3)


def hard_types(scores, shift=0.0):
    """The types without noise [B,G,N]; `shift` makes GLOBAL dearer or cheaper. The first token is GLOBAL."""
    offset = torch.zeros(scores.shape[-1], device=scores.device)
    offset[0] = shift
    types = (scores + offset).argmax(-1)
    types[..., 0] = 0
    return types


def forward(model, ids, choose=None):
    """Hidden states after the last norm [B,N,D]. choose(layer, normed input) gives the masks [B,G,N,N]."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb  # last_query() needs no transformers
    c = model.config
    x = model.model.embed_tokens(ids)
    (b, n, _), group = x.shape, c.num_attention_heads // c.num_key_value_heads
    turn = model.model.rotary_emb(x, torch.arange(n, device=x.device)[None])
    hidden = ~torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
    for at, layer in enumerate(model.model.layers):
        a, h = layer.self_attn, layer.input_layernorm(x)
        q, k, v = (p(h).view(b, n, -1, a.head_dim).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj))
        q, k = apply_rotary_pos_emb(q, k, *turn)
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if choose is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            s = ((q @ k.transpose(2, 3)) / math.sqrt(a.head_dim)).masked_fill(hidden, NEVER)
            e = torch.exp(s - s.amax(-1, keepdim=True).detach())
            mask = choose(at, h).repeat_interleave(group, 1)
            with torch.no_grad():  # a hidden key weighs at most as much as under full attention
                share = (e * mask).sum(-1, keepdim=True) / e.sum(-1, keepdim=True)
            if mask.requires_grad:
                mask = mask * share + (mask * (1 - share)).detach()
            weighted = e * mask
            out = (weighted / weighted.sum(-1, keepdim=True).clamp(min=1e-20)) @ v
        x = x + a.o_proj(out.transpose(1, 2).reshape(b, n, -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return model.model.norm(x)


def logits_of(model, states):
    return F.linear(states, model.lm_head.weight).float()


class LowRank(torch.nn.Module):
    """A frozen linear map plus a learned one of low rank, which `on` switches. It begins without effect."""

    def __init__(self, base, rank):
        super().__init__()
        self.base, self.on = base, True
        on, width = base.weight.device, base.in_features
        self.down = torch.nn.Parameter(torch.randn(rank, width, device=on) / math.sqrt(width))
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, rank, device=on))

    def forward(self, x):
        y = self.base(x)
        return y + F.linear(F.linear(x, self.down), self.up) if self.on else y
