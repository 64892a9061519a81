#!/usr/bin/env python3
"""Trains scorers for `nats-rank`: which K tokens a KV head should hold when its memory is fixed.

    python3 train_ranker.py --model models/base --text runs/sotu/train runs/recall-mix.txt --heldout held-out.txt --out rank

The base stays as it is. A layer has one linear map without bias from its normed input, d_model -> 3G, as natsearch
finetune learns; a token ranks by GLOBAL - logsumexp(LOCAL, WINDOW), and by how recent it is: each KV head learns by how
much a token is worth more than an equal one before it. The student attends as the policy nats-rank:K does: each
query sees itself, the first token, the newest min(W, K/2) and, of the others, the K' of the highest rank. K is another
one in each step. The forward pass uses these masks; backward, a token's mask is the sigmoid of its distance from the
lowest rank that is kept, over --softness standard deviations of the ranks (straight-through). The loss is the
divergence KL(teacher || student) of the next token, in nats, and --hidden times the relative squared error of the last
hidden states. OUT becomes an adapter folder. Printed are, for each held-out file and budget, nats per token over full
attention, and the same for StreamingLLM with as many entries.
"""
import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

NAME = "model.layers.{}.self_attn.proj_layer.weight"
NEVER = float("-inf")


def stream(tokenizer, paths):
    """The tokens of text files and of the .txt files of folders."""
    files = [f for p in map(Path, paths) for f in (sorted(p.glob("*.txt")) if p.is_dir() else [p])]
    ids = [e.ids for e in tokenizer.encode_batch([f.read_text(encoding="utf-8") for f in files], add_special_tokens=False)]
    return np.concatenate([np.array(each, dtype=np.int64) for each in ids])


def geometry(n, entries, window, first=1):
    """Which keys each query [N,N] sees whatever their rank, which ones compete, and how many of these it sees."""
    i, j = torch.arange(n, device="cuda")[:, None], torch.arange(n, device="cuda")[None]
    recent = min(window, entries // 2)
    kept = (j <= i) & ((i - j <= recent) | (j < first))
    return kept, (j <= i) & ~kept, max(0, entries - recent - first)


def masks(rank, spread, entries, window, softness):
    """Multipliers [B,G,N,N] of attention weights under nats-rank:entries, for ranks [B,G,N] that differ by some spread."""
    kept, compete, places = geometry(rank.shape[-1], entries, window)
    each = rank.detach()[:, :, None].expand(-1, -1, rank.shape[-1], -1)
    lowest = each.masked_fill(~compete, NEVER).topk(places, -1).values[..., -1:]  # -inf while there is room
    hard = (kept | (compete & (each >= lowest))).float()
    if softness is None:
        return hard
    finite = lowest.clamp(min=rank.detach().amin() - 1e4)
    soft = torch.sigmoid((rank[:, :, None] - finite) / (softness * spread[..., None, None] + 1e-6)) * compete
    return hard + soft - soft.detach()


def forward(model, ids, choose=None):
    """Hidden states after the last norm [B,N,D]. choose(layer, normed input) gives the masks [B,G,N,N]."""
    c = model.config
    x = model.model.embed_tokens(ids)
    (b, n, _), group = x.shape, c.num_attention_heads // c.num_key_value_heads
    turn = model.model.rotary_emb(x, torch.arange(n, device="cuda")[None])
    for at, layer in enumerate(model.model.layers):
        a, h = layer.self_attn, layer.input_layernorm(x)
        q, k, v = (p(h).view(b, n, -1, a.head_dim).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj))
        q, k = apply_rotary_pos_emb(q, k, *turn)
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if choose is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            logits = q @ k.transpose(2, 3) / math.sqrt(a.head_dim)
            weights = choose(at, h).repeat_interleave(group, 1)
            causal = torch.ones(n, n, dtype=torch.bool, device="cuda").tril()
            top = logits.masked_fill(~causal, NEVER).amax(-1, keepdim=True).detach()
            e = torch.exp((logits - top).masked_fill(~causal, NEVER)) * weights
            out = (e / e.sum(-1, keepdim=True).clamp(min=1e-9)) @ v
        x = x + a.o_proj(out.transpose(1, 2).reshape(b, n, -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return model.model.norm(x)


def ranks(scorers, recency, layer, h):
    """[B,G,N] of normed inputs [B,N,D], and how much content alone makes them differ [B,G]."""
    s = F.linear(h, scorers[layer]).unflatten(-1, (-1, 3)).permute(0, 2, 1, 3)
    content = s[..., 0] - torch.logsumexp(s[..., 1:], -1)
    return content + recency[layer].exp()[:, None] * torch.arange(h.shape[1], device="cuda"), content.detach().std(-1)


@torch.no_grad()
def excess(model, body, choose, rows=8):
    """Nats per token above full attention, and its standard error, over contexts [R,N+1]."""
    differences = []
    for part in body.split(rows):
        ids, targets = part[:, :-1], part[:, 1:]
        nats = [F.cross_entropy(F.linear(forward(model, ids, how), model.lm_head.weight).transpose(1, 2), targets, reduction="none").mean(1)
                for how in (None, choose)]
        differences.append(nats[1] - nats[0])
    each = torch.cat(differences)
    return each.mean().item(), (each.std() / math.sqrt(len(each))).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, help="begin with these scorers, instead of small random ones")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--weights", type=float, nargs="*", help="how often a window is of each text; default: equally often")
    parser.add_argument("--heldout", nargs="*", default=[])
    parser.add_argument("--skip", type=int, default=65536, help="tokens of each held-out file that are left for the final test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--recency", type=float, default=0.02, help="by how much each token ranks above the one before it, at first")
    parser.add_argument("--recency-rate", type=float, default=0.25, help="the rate at which its logarithm is learned, over --lr")
    parser.add_argument("--entries", type=int, nargs=2, default=[40, 300], help="the range of K, in training")
    parser.add_argument("--budgets", type=int, nargs="*", default=[51, 102, 256])
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9, help="end earlier, after so long")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--softness", type=float, default=0.5)
    parser.add_argument("--hidden", type=float, default=0.0)
    parser.add_argument("--contexts", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    settings = json.loads((o.adapter or o.model.parent / "adapters" / "keep-0.1-w32").joinpath("adapter_config.json").read_text())
    if "localWindow" in settings:
        raise SystemExit(f"{o.adapter} was learned with a second window ({settings['localWindow']}), but ranks have one window "
                         "here: name an adapter without localWindow")
    begin = load_file(o.adapter / "adapter_model.safetensors") if o.adapter else {}
    if any(".lora_" in name for name in begin):
        raise SystemExit(f"{o.adapter} also changes q and k, which is not merged here: name an adapter of scorers alone")

    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    torch.set_float32_matmul_precision("high")
    model = LlamaForCausalLM.from_pretrained(o.model, dtype=torch.float32).cuda().eval().requires_grad_(False)
    c, tokenizer = model.config, Tokenizer.from_file(str(o.model / "tokenizer.json"))
    groups = c.num_key_value_heads
    texts = [stream(tokenizer, [p]) for p in o.text]
    share = np.array(o.weights or [1] * len(texts), dtype=float)
    held = {}
    for path in o.heldout:
        ids = stream(tokenizer, [path])[o.skip:]
        n = min(o.contexts, (len(ids) - 1) // o.context)
        body = torch.from_numpy(ids[:n * o.context]).view(n, o.context)
        held[Path(path).name] = F.pad(body, (1, 0), value=c.bos_token_id or 0).cuda()
    print({"tokens": [len(t) for t in texts], "contexts": {k: len(v) for k, v in held.items()}}, flush=True)
    # Not 0: where all ranks are equal, everything is kept, and there is nothing to learn from.
    scorers = [begin.get(NAME.format(n), 0.01 * torch.randn(3 * groups, c.hidden_size)).cuda().requires_grad_() for n in range(c.num_hidden_layers)]
    recency = torch.full((c.num_hidden_layers, groups), math.log(o.recency), device="cuda", requires_grad=True)
    optimiser = torch.optim.AdamW([{"params": scorers, "scale": 1}, {"params": [recency], "scale": o.recency_rate}], betas=(0.9, 0.95), weight_decay=0)

    def report(step):
        for name, body in held.items():
            for k in o.budgets:
                ranked = excess(model, body, lambda at, h: masks(*ranks(scorers, recency, at, h), k, o.window, None))
                line = {"step": step, "text": name, "entries": k, "over_full": ranked}
                if step == 0:
                    kept, _, _ = geometry(o.context, 2 * (k - 4), k - 4, first=4)
                    line["streaming"] = excess(model, body, lambda at, h: kept.float().expand(len(h), groups, -1, -1))
                print(json.dumps(line), flush=True)

    report(0)
    start, log, step, done = time.time(), [], 0, 0.0
    while done < 1:
        step += 1
        done = max(step / o.steps, (time.time() - start) / o.seconds)
        for group in optimiser.param_groups:
            group["lr"] = group["scale"] * o.lr * min(1, step / 20) * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1, done))))
        chosen = rng.choice(len(texts), o.batch, p=share / share.sum())
        places = [(texts[t], rng.integers(0, len(texts[t]) - o.context + 1)) for t in chosen]
        ids = torch.from_numpy(np.stack([text[at:at + o.context - 1] for text, at in places])).cuda()
        ids = F.pad(ids, (1, 0), value=c.bos_token_id or 0)
        k = int(math.exp(rng.uniform(math.log(o.entries[0]), math.log(o.entries[1] + 1))))
        with torch.no_grad():
            wanted = forward(model, ids)
        states = forward(model, ids, lambda at, h: masks(*ranks(scorers, recency, at, h.detach()), k, o.window, o.softness))
        teacher, student = (F.log_softmax(F.linear(x, model.lm_head.weight), -1).flatten(0, 1) for x in (wanted, states))
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        relative = F.mse_loss(states, wanted) / wanted.square().mean()
        (divergence + o.hidden * relative).backward()
        norm = torch.nn.utils.clip_grad_norm_([*scorers, recency], 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 20 == 0 or done >= 1:
            log.append({"step": step, "entries": k, "divergence": divergence.item(), "relative": relative.item(),
                        "gradientNorm": norm.item(), "seconds": time.time() - start})
        if step % 200 == 0:
            print(json.dumps(log[-1]), flush=True)
    report(step)
    o.out.mkdir(parents=True, exist_ok=True)
    save_file({NAME.format(n): w.detach().cpu() for n, w in enumerate(scorers)}, o.out / "adapter_model.safetensors", metadata={"format": "pt"})
    (o.out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    shipped = settings | {"window": o.window, "lambda": 0, "targetKeep": 0, "context": o.context, "steps": step, "seed": o.seed,
                          "recency": [[float(f"{x:.6g}") for x in row] for row in recency.exp().tolist()]}
    (o.out / "adapter_config.json").write_text(json.dumps(shipped, indent=2) + "\n")


if __name__ == "__main__":
    main()
