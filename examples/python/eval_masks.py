#!/usr/bin/env python3
"""Measures token types and fixed patterns with hard masks in PyTorch: recall, and nats per token of held-out text.

    python3 eval_masks.py --model base --adapter types --questions ask/*/questions.jsonl --heldout moby-dick.txt --out r.json

It is a simulation of what `natsearch recall test` and `natsearch eval` measure with a real cache, and much faster on a
GPU. Without --adapter, the scorers are those in the model's own weights, if any. Beside full attention and the types it
measures `window:K` with as many entries, K once from the mean over time and once from the end, and each of --patterns
(`window:K`, `streaming:S+K`). Per question and per context results are kept, for paired comparisons.
"""
import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from masked import NAME, forward, hard_types, last_query, logits_of, scores_of, visible


def learned(scorers, window, second, shares):
    """The masks of the types; LOCAL tokens live for `second` more queries, or if it is None until the next GLOBAL."""
    def choose(at, h):
        types, windows = hard_types(scores_of(h, scorers[at], 3)), [window]
        if second is not None:
            types, windows = torch.where(types == 1, 3, types), [window, second]
        last = last_query(types, windows)
        n = last.shape[-1]
        lived = (last.clamp(max=n - 1) - torch.arange(n, device=h.device) + 1).sum(-1) / (n * (n + 1) / 2)
        shares.append(torch.stack([lived, (last >= n).float().mean(-1)]).flatten(1).mean(1))
        return visible(last).float()
    return choose


def pattern(model, sinks, width):
    """Masks in which a query sees itself, the `width` tokens before it and the first `sinks`."""
    def choose(at, h):
        i = torch.arange(h.shape[1], device=h.device)
        seen = (i[None] <= i[:, None]) & ((i[:, None] - i[None] <= width) | (i[None] < sinks))
        return seen.float().expand(len(h), model.config.num_key_value_heads, -1, -1)
    return choose


def parse(name):
    kind, _, sizes = name.partition(":")
    return (0, int(sizes)) if kind == "window" else tuple(map(int, sizes.split("+")))


def window_of(lengths, share, which):
    """The window with the mean share of pairs (0), or of entries at the end (1), over documents of these lengths."""
    def kept(k):
        parts = []
        for n in lengths:
            k_n = min(k, n - 1)
            parts.append(((k_n + 1) * n - k_n * (k_n + 1) / 2) / (n * (n + 1) / 2) if which == 0 else k_n / n)
        return sum(parts) / len(parts)
    return next((k for k in range(1, max(lengths)) if kept(k) >= share), max(lengths) - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--questions", type=Path, nargs="*", default=[])
    parser.add_argument("--heldout", type=Path, nargs="*", default=[])
    parser.add_argument("--patterns", nargs="*", default=[])
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--contexts", type=int, default=64)
    parser.add_argument("--rows", type=int, default=4, help="contexts at once")
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("highest")
    config = json.loads((o.model / "config.json").read_text())
    model = LlamaForCausalLM.from_pretrained(o.model, dtype=torch.float32).cuda().eval()
    tokenizer = Tokenizer.from_file(str(o.model / "tokenizer.json"))
    weights = load_file((o.adapter / "adapter_model.safetensors") if o.adapter else (o.model / "model.safetensors"))
    if any(".lora_" in name for name in weights):
        raise SystemExit(f"{o.adapter} also changes q and k, which is not merged here: name an adapter of scorers alone")
    names = [NAME.format(n) for n in range(model.config.num_hidden_layers)]
    scorers = [weights[name].float().cuda() for name in names if name in weights]
    settings = json.loads((o.adapter / "adapter_config.json").read_text()) if o.adapter else config.get("nats", {})
    window, start = settings.get("window", 32), model.config.bos_token_id or 0
    second = settings.get("localWindow", settings.get("local_window"))
    results = {"model": str(o.model), "adapter": str(o.adapter), "window": window, "localWindow": second}

    def questions(path):
        asked = []
        for line in path.read_text(encoding="utf-8").splitlines()[:o.most]:
            question = json.loads(line)
            prompt, answer = (tokenizer.encode(question[part], add_special_tokens=False).ids
                              for part in ("prompt", "answer"))
            asked.append((torch.tensor([[start, *prompt, *answer]], device="cuda"), len(answer)))

        def right(choose):
            found = []
            for ids, n in asked:
                logits = logits_of(model, forward(model, ids[:, :-1], choose)[:, -n:])
                found.append(int((logits[0].argmax(-1) == ids[0, -n:]).all()))
            return found
        return right, [ids.shape[1] - 1 for ids, _ in asked]

    def contexts(path):
        files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
        each = tokenizer.encode_batch([f.read_text(encoding="utf-8") for f in files], add_special_tokens=False)
        ids = np.concatenate([np.array(e.ids, dtype=np.int64) for e in each])
        n = min(o.contexts, len(ids) // o.context)
        body = F.pad(torch.from_numpy(ids[:n * o.context]).view(n, o.context), (1, 0), value=start).cuda()

        def nats(choose):
            found = []
            for part in body.split(o.rows):
                logits = logits_of(model, forward(model, part[:, :-1], choose)).transpose(1, 2)
                found += F.cross_entropy(logits, part[:, 1:], reduction="none").mean(1).tolist()
            return found
        return nats, [o.context] * n

    for paths, make in ((o.questions, questions), (o.heldout, contexts)):
        for path in paths:
            name = path.parent.name if path.name == "questions.jsonl" else path.name
            run, lengths = make(path)
            result = {"full": run(None)}
            patterns = list(o.patterns)
            if scorers:
                shares = []
                result["nats"] = run(learned(scorers, window, second, shares))
                result["share"] = torch.stack(shares).mean(0).tolist()
                patterns += [f"window:{window_of(lengths, result['share'][which], which)}" for which in (0, 1)]
            for each in patterns:
                result[each] = run(pattern(model, *parse(each)))
            results[name] = result
            full = np.array(result["full"])
            shown = {}
            for key in result.keys() - {"share"}:
                more = np.array(result[key]) - full
                shown[key] = f"{np.mean(result[key]):.4f}, {more.mean():+.4f} +- {more.std(ddof=1) / math.sqrt(len(full)):.4f}"
            print(o.model.name, o.adapter and o.adapter.name, name, len(full), json.dumps(shown), result.get("share"),
                  flush=True)
            o.out.parent.mkdir(parents=True, exist_ok=True)
            o.out.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
