#!/usr/bin/env python3
"""Learns token types for a frozen base through the relaxed mask, as `natsearch finetune` does, with other objectives.

    python3 train_types.py --model models/base --text runs/sotu/train runs/recall-mix.txt --heldout runs/sotu/heldout \\
        runs/moby-dick.txt --questions runs/ask/*/questions.jsonl --variant kl --out runs/types/kl

One process trains one variant, and all variants see the same windows and begin with scores of 0:

    mse      the mean squared error of the last hidden states, over the mean square of the teacher's; one price for all
    kl       that and KL(teacher || student) of the next token, in nats
    lora     mse, and low-rank changes of q and k (--rank) are learned with the scorers
    lora-kl  both
    windows  mse, with two windows (--windows) beside GLOBAL and LOCAL
    lora-windows  lora and windows
    heads    mse, but each KV head has a price of its own, which is steered to the same share in each

Then the types are fixed and measured with hard masks, as at inference: GLOBAL is made dearer or cheaper by one number for
all heads until so much of the cache is kept, as a mean over time and, in a second measurement, at the end of the context.
results.json has the nats per token of each context under full attention and under the types, for paired comparisons, and
which questions are answered: with the scores as learned, with GLOBAL so rare that --keep of the pairs are kept in the mean
over the first questions of all files, under full attention, and under windows of as many entries at the end.
"""
import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from masked import (NAME, LowRank, Relaxed, forward, hard_types, kept_share, last_query, logits_of, prices, scores_of,
                    visible)

VARIANTS = ("mse", "kl", "lora", "lora-kl", "windows", "lora-windows", "heads")


def stream(tokenizer, path):
    """The tokens of a text file or of the .txt files of a folder."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    each = tokenizer.encode_batch([f.read_text(encoding="utf-8") for f in files], add_special_tokens=False)
    return np.concatenate([np.array(e.ids, dtype=np.int64) for e in each])


def steer(price, kept, loss, target):
    """The next price (lambda, smoothed share), for numbers or arrays of them: the controller of natsearch finetune."""
    odds = lambda share: torch.log(share / (1 - share))
    error = lambda share: (odds(share) - odds(torch.tensor(target))).clamp(-1, 1)
    rate, before = price
    if before is None:
        return (torch.full_like(kept, 0.1 * loss), kept)
    smooth = 0.5 * before + 0.5 * kept
    now = error(smooth)
    return (rate * torch.exp(now - error(before) + (0.02 + 0.05 * now.abs()) * now), smooth)


def chooser(scorers, kinds, windows, shift, shares=None):
    """Masks of fixed types for forward(); the shares kept, of pairs and of entries at the end, are added to `shares`."""
    def choose(at, h):
        types = hard_types(scores_of(h, scorers[at], kinds), shift)
        last, n = last_query(types, windows), types.shape[-1]
        if shares is not None:
            lived = (last.clamp(max=n - 1) - torch.arange(n, device=h.device) + 1).sum(-1) / (n * (n + 1) / 2)
            shares.append(torch.stack([lived, (last >= n).float().mean(-1)]).flatten(1).mean(1))
        return visible(last).float()
    return choose


@torch.no_grad()
def measure(model, body, choose, rows=8):
    """Nats per token of each context [R,N+1], with `choose` or with full attention."""
    parts = []
    for part in body.split(rows):
        logits = logits_of(model, forward(model, part[:, :-1], choose))
        parts.append(F.cross_entropy(logits.transpose(1, 2), part[:, 1:], reduction="none").mean(1))
    return torch.cat(parts)


@torch.no_grad()
def calibrated(model, body, types, which, target, rounds=10):
    """The shift of GLOBAL's score with which the types keep the target share: of pairs (0) or of entries at the end (1)."""
    low, high = -12.0, 12.0
    for _ in range(rounds):
        shift, shares = (low + high) / 2, []
        measure(model, body[:32], chooser(*types, shift, shares))
        low, high = (shift, high) if torch.stack(shares).mean(0)[which] < target else (low, shift)
    return (low + high) / 2


@torch.no_grad()
def answers(model, tokenizer, path, choose, most):
    """Whether each question's whole answer is the most likely one."""
    right = []
    for line in path.read_text(encoding="utf-8").splitlines()[:most]:
        question = json.loads(line)
        prompt, answer = (tokenizer.encode(question[part], add_special_tokens=False).ids
                          for part in ("prompt", "answer"))
        ids = torch.tensor([[0, *prompt, *answer]], device="cuda")
        logits = logits_of(model, forward(model, ids[:, :-1], choose)[:, -len(answer):])
        right.append(bool((logits[0].argmax(-1) == ids[0, -len(answer):]).all()))
    return right


def rarer_global(model, tokenizer, paths, types, target, each=3, rounds=9):
    """The shift of GLOBAL's score with which the types keep the target share of pairs in the first questions of each file."""
    low, high = -12.0, 12.0
    for _ in range(rounds if paths else 0):
        shift, shares = (low + high) / 2, []
        for path in paths:
            answers(model, tokenizer, path, chooser(*types, shift, shares), each)
        low, high = (shift, high) if torch.stack(shares).mean(0)[0] < target else (low, shift)
    return (low + high) / 2


def last_ones(model, share):
    """Masks in which a query sees itself and as many tokens before it as are this share of the whole, for forward()."""
    def choose(at, h):
        i = torch.arange(h.shape[1], device=h.device)
        seen = (i[None] <= i[:, None]) & (i[:, None] - i[None] < max(1, round(share * h.shape[1])))
        return seen.float().expand(len(h), model.config.num_key_value_heads, -1, -1)
    return choose


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--heldout", type=Path, nargs="+", required=True)
    parser.add_argument("--questions", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", choices=VARIANTS, default="mse")
    parser.add_argument("--keep", type=float, default=0.1)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--windows", type=int, nargs=2, default=[16, 128], help="of the variant with two")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--lora-lr", type=float, default=1e-3)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1e9, help="end earlier, after so long")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--contexts", type=int, default=64)
    parser.add_argument("--ask", type=int, default=60, help="how many questions of each file")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    o = options()
    rng = np.random.default_rng(o.seed)
    torch.manual_seed(o.seed)
    torch.set_float32_matmul_precision("high")
    model = LlamaForCausalLM.from_pretrained(o.model, dtype=torch.float32).cuda().eval().requires_grad_(False)
    c, tokenizer = model.config, Tokenizer.from_file(str(o.model / "tokenizer.json"))
    windows = o.windows if o.variant.endswith("windows") else [o.window]
    kinds, groups, layers = 2 + len(windows), c.num_key_value_heads, c.num_hidden_layers
    start_of = c.bos_token_id or 0
    text = np.concatenate([stream(tokenizer, p) for p in o.text])
    held = {}
    for path in o.heldout:
        ids = stream(tokenizer, path)[:o.contexts * o.context]
        held[path.name] = F.pad(torch.from_numpy(ids).view(-1, o.context), (1, 0), value=start_of).cuda()

    low_rank = []
    if o.variant.startswith("lora"):
        for layer in model.model.layers:
            for name in ("q_proj", "k_proj"):
                setattr(layer.self_attn, name, LowRank(getattr(layer.self_attn, name), o.rank))
                low_rank.append(getattr(layer.self_attn, name))

    def adapted(on):
        for part in low_rank:
            part.on = on

    scorers = [torch.zeros(groups * kinds, c.hidden_size, device="cuda", requires_grad=True) for _ in range(layers)]
    changes = [p for part in low_rank for p in (part.down, part.up)]
    learned = [{"params": scorers, "peak": o.lr}, *([{"params": changes, "peak": o.lora_lr}] if changes else [])]
    optimiser = torch.optim.AdamW(learned, betas=(0.9, 0.95), weight_decay=0)
    noise = torch.Generator(device="cuda").manual_seed(o.seed)
    price, log, start, step, done = (torch.zeros(()), None), [], time.time(), 0, 0.0
    while done < 1:
        step += 1
        done = max(step / o.steps, (time.time() - start) / o.seconds)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1, step / 20) * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1, done))))
        places = rng.integers(0, len(text) - o.context + 1, o.batch)
        ids = torch.from_numpy(np.stack([text[p:p + o.context - 1] for p in places])).cuda()
        ids = F.pad(ids, (1, 0), value=start_of)
        paid, kept = [], []

        def search(at, h):
            scores = scores_of(h.detach(), scorers[at], kinds)
            uniform = torch.rand(scores.shape, generator=noise, device="cuda").clamp(1e-9, 1 - 1e-7)
            y = F.softmax(scores - torch.log(-torch.log(uniform)), -1)
            types = y.argmax(-1)
            types[..., 0] = types[..., -1] = 0
            hard = F.one_hot(types, kinds).float()
            free = torch.ones(o.context, 1, device="cuda")
            free[0] = free[-1] = 0
            chosen = hard + (y - y.detach()) * free
            paid.append((chosen * prices(types, windows)).sum((0, 2, 3)))  # [G], in queries
            kept.append(kept_share(hard_types(scores.detach()), windows).mean(0))
            return Relaxed.apply(chosen, windows)

        with torch.no_grad():
            adapted(False)
            wanted = forward(model, ids)
            adapted(True)
        states = forward(model, ids, search)
        relative = F.mse_loss(states, wanted) / wanted.square().mean()
        loss, divergence = relative, None
        if o.variant.endswith("kl"):
            teacher, student = (F.log_softmax(logits_of(model, x), -1).flatten(0, 1) for x in (wanted, states))
            divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
            loss = loss + divergence
        shares = torch.stack(kept).cpu()  # [layers, G]
        scale = 2 / (layers * groups * o.batch * o.context ** 2)
        (loss + (torch.stack(paid) * price[0].cuda()).sum() * scale).backward()
        norm = torch.nn.utils.clip_grad_norm_([*scorers, *changes], 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        price = steer(price, shares if o.variant == "heads" else shares.mean(), loss.item(), o.keep)
        if step % 10 == 0 or done >= 1:
            log.append({"step": step, "relative": relative.item(), "kept": shares.mean().item(),
                        "kl": None if divergence is None else divergence.item(),
                        "lambda": price[0].mean().item(), "gradientNorm": norm.item(), "seconds": time.time() - start})
            if step % 50 == 0:
                print(o.variant, o.seed, json.dumps(log[-1]), flush=True)

    weights = [w.detach() for w in scorers]
    results = {"options": {k: str(v) for k, v in vars(o).items()}, "keptByHead": shares.tolist(), "steps": step,
               "seconds": time.time() - start}
    types = (weights, kinds, windows)
    for name, body in held.items():
        adapted(False)
        result = {"full": measure(model, body, None).tolist()}
        adapted(True)
        for which, measured in ((None, "as trained"), (0, "mean"), (1, "end")):
            shift = 0.0 if which is None else calibrated(model, body, types, which, o.keep)
            shares = []
            nats = measure(model, body, chooser(*types, shift, shares))
            mean, end = torch.stack(shares).mean(0).tolist()
            excess = nats - torch.tensor(result["full"], device="cuda")
            result[measured] = {"nats": nats.tolist(), "shift": shift, "mean": mean, "end": end}
            print(o.variant, o.seed, name, measured, f"above full {excess.mean():.4f} +-",
                  f"{excess.std() / len(excess) ** 0.5:.4f}, kept {mean:.4f} / {end:.4f}", flush=True)
        results[name] = result
    o.out.mkdir(parents=True, exist_ok=True)
    named = {NAME.format(n): w.cpu().contiguous() for n, w in enumerate(weights)}
    save_file(named, str(o.out / "adapter_model.safetensors"), metadata={"format": "pt"})
    (o.out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    save = lambda: (o.out / "results.json").write_text(json.dumps(results) + "\n")
    save()
    rarer = rarer_global(model, tokenizer, o.questions, types, o.keep)
    for path in o.questions:
        result = {}
        for measured, shift in (("nats", 0.0), ("nats at the share", rarer)):
            shares = []
            right = answers(model, tokenizer, path, chooser(*types, shift, shares), o.ask)
            mean, end = torch.stack(shares).mean(0).tolist()
            result[measured] = {"right": right, "shift": shift, "mean": mean, "end": end}
        adapted(False)
        result["full"] = {"right": answers(model, tokenizer, path, None, o.ask)}
        for measured in ("nats", "nats at the share"):
            end = result[measured]["end"]
            result["window: " + measured] = {"right": answers(model, tokenizer, path, last_ones(model, end), o.ask)}
        adapted(True)
        if changes:
            result["full, changed"] = {"right": answers(model, tokenizer, path, None, o.ask)}
        results[path.parent.name] = result
        save()
        print(o.variant, o.seed, path.parent.name, {k: round(float(np.mean(v["right"])), 3) for k, v in result.items()},
              [round(result[m][w], 4) for m in ("nats", "nats at the share") for w in ("mean", "end")], flush=True)


if __name__ == "__main__":
    main()
