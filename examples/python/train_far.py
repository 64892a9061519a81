#!/usr/bin/env python3
"""Teaches a frozen base to find facts that lie further back than it was trained for, by low-rank changes of q and k.

    python3 train_far.py --adapter models/adapters/long-0.1-w32 --base models/base --text runs/sotu/train \\
        --seconds 1800 --out models/adapters/far-0.1-w32

--adapter is a folder that `natsearch finetune` wrote for --base: its scorers stay as they are, and its config_overrides
give the context and how positions are turned (YaRN). Rows of so many tokens are filled with documents as those of
`natsearch recall write` (pass keys and pairs; recall_rows.py writes them) with long filler: facts, often in the first
part of a document, and questions about each at its end. What counts is the loss of the answers' tokens, and a little that
of some others. From --types-from on, every second step hides what the types of the scorers do not keep, so that q and k
learn to find what is there under both.

It runs on the CPU, where products are computed in bfloat16, with PyTorch from 1.13 on. The low-rank changes are written
beside the scorers, as `natsearch finetune --low-rank` writes them. The first layer is not changed.
"""
import argparse
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from masked import hard_types, last_query
from recall_rows import Writer, encoder, split_sentences
from tensors_file import read_tensors, write_tensors

BLOCK = 512  # queries whose scores are computed at a time


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
    """A Llama whose weights are fixed, with changes of q and k that are learned."""

    def __init__(self, folder, overrides, scorers, rank):
        self.config = json.loads((folder / "config.json").read_text()) | overrides
        weights = read_tensors(folder / "model.safetensors")
        c = self.config
        assert c["tie_word_embeddings"] and not c["attention_bias"]
        self.embedding = weights["model.embed_tokens.weight"]
        self.norm = weights["model.norm.weight"]
        self.scorers = scorers
        self.changes = {}
        self.layers = []
        for n in range(c["num_hidden_layers"]):
            get = lambda name: weights[f"model.layers.{n}.{name}.weight"]
            parts = {name: get(f"self_attn.{name}_proj").bfloat16() for name in "qkvo"}
            parts |= {name: get(f"mlp.{name}_proj").bfloat16() for name in ("gate", "up", "down")}
            parts |= {"in": get("input_layernorm"), "post": get("post_attention_layernorm")}
            self.layers.append(parts)
            for name in "qk" if n > 0 else "":  # the first layer finds nothing far away
                a = torch.randn(rank, c["hidden_size"]) / math.sqrt(c["hidden_size"])
                b = torch.zeros(parts[name].shape[0], rank)
                self.changes[n, name] = (a.requires_grad_(), b.requires_grad_())
        self.cos, self.sin = positions(c, c["max_position_embeddings"])

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
        Logits [R,V] of the queries `rows` [R] of ids [1,N]; with a window, under the types of the scorers. Also returns
        the share of pairs that is kept.
        """
        c = self.config
        x = self.embedding[ids]
        n = ids.shape[1]
        cos, sin = self.cos[:n], self.sin[:n]
        H, G = c["num_attention_heads"], c["num_key_value_heads"]
        kept = []
        for at, layer in enumerate(self.layers):
            h = normed(x, layer["in"], c["rms_norm_eps"])
            is_last = at == len(self.layers) - 1
            asked = h[:, rows] if is_last else h  # of the last layer's queries only those matter
            turns = (cos[rows], sin[rows]) if is_last else (cos, sin)
            q = turned(self.projected(asked, at, "q", H), *turns) / math.sqrt(c["head_dim"])
            k = turned(self.projected(h, at, "k", G), cos, sin)
            v = self.projected(h, at, "v", G)
            last = None
            if window is not None:
                with torch.no_grad():
                    scores = F.linear(h, self.scorers[at]).unflatten(-1, (G, 3)).permute(0, 2, 1, 3)
                    last = last_query(hard_types(scores), [window])
                    lived = (last.clamp(max=n - 1) - torch.arange(n) + 1).sum(-1).float()
                    kept.append(lived.mean() / (n * (n + 1) / 2))
            k, v = (y.repeat_interleave(H // G, 1).bfloat16() for y in (k, v))
            out = attend(q.bfloat16(), k, v, last, H // G, rows if is_last else torch.arange(n)).float()
            x = x[:, rows] if is_last else x
            x = x + product(out.transpose(1, 2).flatten(2), layer["o"])
            h = normed(x, layer["post"], c["rms_norm_eps"])
            x = x + product(F.silu(product(h, layer["gate"])) * product(h, layer["up"]), layer["down"])
        x = normed(x, self.norm, c["rms_norm_eps"])
        return product(x, self.embedding.bfloat16())[0], (sum(kept) / len(kept)).item() if kept else 1.0


def attend(q, k, v, last, group, places):
    """softmax(q k^T) v of visible keys, for a block of the queries at `places` at a time."""
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


def filled(writer, encode, length):
    """[length + 1] tokens of documents, a long one first, and which of them are answers, and of the first document."""
    ids, answers, first = [], [], []
    room = length * int(writer.rng.integers(7, 11)) / 10
    while len(ids) <= length:
        left = min(room, length - len(ids)) - 200
        task = "passkey" if writer.rng.random() < 0.3 else "pairs"
        filler = max(0, int(2.8 * left))
        early = not ids and writer.rng.random() < 0.7
        for _ in range(9):  # shorter, until it fits
            pieces = writer.document(task, 10, filler, 10, 0.15 if early else 1.0)
            each = [(token, is_answer) for text, is_answer in pieces for token in encode(text)]
            if len(each) <= length - len(ids):
                break
            filler = int(0.9 * filler)
        first += [early] * (len(each) + 1)
        ids += [0] + [token for token, _ in each]
        answers += [False] + [is_answer for _, is_answer in each]
        room = length
    return tuple(torch.from_numpy(np.array(x[:length + 1])) for x in (ids, answers, first))


def digest(value):
    """The hash by which an adapter knows the config of its base."""
    text = json.dumps(value, separators=(",", ":")).replace("1e-05", "0.00001")  # as JavaScript writes it
    return hashlib.sha256(text.encode()).hexdigest()


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="folder of .txt files for filler")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--factor", type=int, help="of YaRN, instead of that of config_overrides")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=2, help="rows in a step")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--steps", type=int, help="instead of --seconds")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warm-up", type=int, default=10, help="steps")
    parser.add_argument("--plain", type=float, default=0.3, help="what the loss of other tokens counts")
    parser.add_argument("--others", type=int, default=256, help="how many of them are predicted in each row")
    parser.add_argument("--types-from", type=float, default=0.4, help="share of training before types hide keys")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    start, o = time.time(), options()
    from tokenizers import Tokenizer
    torch.manual_seed(o.seed)
    settings = json.loads((o.adapter / "adapter_config.json").read_text())
    if "config_overrides" not in settings:
        raise SystemExit(f"{o.adapter} has no config_overrides, which give the context and its positions: see docs/finetuning.md")
    if settings["base_sha256"] != digest(settings["base"]):
        raise SystemExit(f"{o.adapter}/adapter_config.json was changed: base_sha256 is not the hash of base")
    if not list(o.text.glob("*.txt")):
        raise SystemExit(f"{o.text} holds no .txt files")
    tensors = read_tensors(o.adapter / "adapter_model.safetensors")
    overrides = settings["config_overrides"]
    if o.factor:
        overrides["rope_parameters"]["factor"] = o.factor
        scaling = settings["base"]["ropeScaling"]
        scaling |= {"factor": o.factor, "attentionFactor": 0.1 * math.log(o.factor) + 1}
        settings["base_sha256"] = digest(settings["base"])
    base = json.loads((o.base / "config.json").read_text())
    given = overrides | {"rope_parameters": base["rope_parameters"] | overrides["rope_parameters"]}
    layers = base["num_hidden_layers"]
    scorers = [tensors[f"model.layers.{n}.self_attn.proj_layer.weight"] for n in range(layers)]
    model = Base(o.base, given, scorers, o.rank)
    context = model.config["max_position_embeddings"]
    sentences = split_sentences([f.read_text(encoding="utf-8") for f in sorted(o.text.glob("*.txt"))])
    writer = Writer(sentences, np.random.default_rng(o.seed))
    encode = encoder(Tokenizer.from_file(str(o.base / "tokenizer.json")))
    optimiser = torch.optim.AdamW(model.parameters(), lr=o.lr, betas=(0.9, 0.95), weight_decay=0.0)
    log, step, done = [], 0, 0.0

    def save():
        o.out.mkdir(parents=True, exist_ok=True)
        name = lambda n, p, part: f"base_model.model.model.layers.{n}.self_attn.{p}_proj.lora_{part}.weight"
        changes = {name(n, p, part): x for (n, p), pair in model.changes.items() for part, x in zip("AB", pair)}
        for p in "qk":
            changes |= {name(0, p, part): torch.zeros_like(changes[name(1, p, part)]) for part in "AB"}
        write_tensors(o.out / "adapter_model.safetensors", tensors | {k: x.detach() for k, x in changes.items()})
        both = settings | {"version": 2, "peft_type": "LORA", "r": o.rank, "lora_alpha": 2 * o.rank,
                           "target_modules": ["q_proj", "k_proj"]}
        (o.out / "adapter_config.json").write_text(json.dumps(both, indent=2) + "\n")
        (o.out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        made = {"options": {k: str(v) for k, v in vars(o).items()}, "steps": step, "seconds": time.time() - start,
                "torch": torch.__version__, "threads": torch.get_num_threads()}
        (o.out / "training.json").write_text(json.dumps(made, indent=1) + "\n")

    while done < 1:
        step += 1
        rate = o.lr * min(step / o.warm_up, 0.05 + 0.475 * (1 + math.cos(math.pi * min(1, done))))
        for group in optimiser.param_groups:
            group["lr"] = rate
        window = settings["window"] if done > o.types_from and step % 2 == 0 else None
        sums = []  # of each row: the losses of answers and others, which answers are right, also far away, what is kept
        for _ in range(o.batch):
            ids, answers, early = filled(writer, encode, context)
            others = torch.from_numpy(np.sort(writer.rng.choice(context, o.others, replace=False)))
            rows = torch.unique(torch.cat([others, answers[1:].nonzero()[:, 0]]))
            logits, share = model.forward(ids[None, :-1], rows, window)
            each = F.cross_entropy(logits, ids[1:][rows], reduction="none")
            is_answer = answers[1:][rows]
            (each[is_answer].mean() + o.plain * each[~is_answer].mean()).div(o.batch).backward()
            right = (logits.argmax(-1) == ids[1:][rows])[is_answer].float()
            far = early[1:][rows][is_answer]
            sums.append([each[is_answer].mean().item(), each[~is_answer].mean().item(), right.mean().item(),
                         right[far].mean().item() if far.any() else None, share])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        mean = lambda each: sum(each) / len(each) if each else None
        answer, other, right, far, kept = (mean([x for x in each if x is not None]) for each in zip(*sums))
        log.append({"step": step, "kept": kept, "answers": answer, "other": other, "right": right, "rightFar": far,
                    "lr": rate, "seconds": round(time.time() - start, 1)})
        print(json.dumps(log[-1]), flush=True)
        done = step / o.steps if o.steps else (time.time() - start) / o.seconds
        if step % 10 == 0 or done >= 1:
            save()


if __name__ == "__main__":
    main()
