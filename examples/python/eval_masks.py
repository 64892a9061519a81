#!/usr/bin/env python3
"""Measures token types and fixed patterns with hard masks in PyTorch: recall, and nats per token of held-out text.

    python3 eval_masks.py --model base --adapter types --questions ask/*/questions.jsonl --heldout moby-dick.txt \\
        --out r.json

It is a simulation of what `natsearch recall test` and `natsearch eval` measure with a real cache, and much faster on a
GPU. Without --adapter, the scorers are those in the model's own weights, if any. Beside full attention and the types it
measures `window:K` with as many entries, K once from the mean over time and once from the end (not with --no-windows),
and each of --patterns (`window:K`, `streaming:S+K`). Per question and per context results are kept, for paired
comparisons.

If an adapter also changes q and k, "full" is full attention of the base without the changes and "full, changed" that of
the base with them; types and patterns have the changes. The config_overrides of an adapter are applied as by
natsearch; --config-overrides is for what has none of its own, so that "full" depends on both.

Each result is printed beside its difference from "full", which is paired, with its standard error, and for texts also
in per cent of the perplexity. With several adapters, each text is tokenized once and each "full" measured once; at the
end each adapter's types are compared with those of the first adapter, paired.

--out has one object for one adapter or none: model, adapter, window, localWindow, configOverrides if there are any, and
for each text the results by their names ("full", "full, changed", "nats", "share", and the patterns), with a number per
question (1 is right) or per context (nats per token). For several adapters it has such an object by each one's path.
"""
import argparse
import json
import math
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from adapters import Changed, changed_weights, load_model, read_adapter
from masked import NAME, forward, hard_types, last_query, logits_of, scores_of, visible
from tensors_file import read_tensors

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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
    """The sinks and the width of a pattern."""
    match = re.fullmatch(r"window:(\d+)|streaming:(\d+)\+(\d+)", name)
    if match is None:
        raise SystemExit(f"{name} is no pattern that is computed here: name window:K or streaming:S+K")
    return int(match[2] or 0), int(match[1] or match[3])


def window_of(lengths, share, which):
    """The window with the mean share of pairs (0), or of entries at the end (1), over documents of these lengths."""
    def kept(k):
        parts = []
        for n in lengths:
            k_n = min(k, n - 1)
            parts.append(((k_n + 1) * n - k_n * (k_n + 1) / 2) / (n * (n + 1) / 2) if which == 0 else k_n / n)
        return sum(parts) / len(parts)
    return next((k for k in range(1, max(lengths)) if kept(k) >= share), max(lengths) - 1)


def shown(found, reference, is_text):
    """The mean of a - b over pairs and its standard error; for nats also how perplexities compare."""
    more = np.array(found) - np.array(reference)
    mean, error = more.mean(), more.std(ddof=1) / math.sqrt(len(more)) if len(more) > 1 else math.nan
    if not is_text:
        return f"{mean:+.4f} +- {error:.4f}"
    ratio = math.exp(mean)
    return f"{mean:+.4f} +- {error:.4f} ({100 * (ratio - 1):+.2f}% +- {100 * ratio * error:.2f})"


class Questions:
    """The questions of a file; a result is 1 if all tokens of the answer are the likeliest ones, else 0."""
    is_text = False

    def __init__(self, path, tokenizer, start, o):
        self.name = path.parent.name if path.name == "questions.jsonl" else path.name
        self.asked = []
        for line in path.read_text(encoding="utf-8").splitlines()[:o.most]:
            question = json.loads(line)
            prompt, answer = (tokenizer.encode(question[part], add_special_tokens=False).ids
                              for part in ("prompt", "answer"))
            self.asked.append((torch.tensor([[start, *prompt, *answer]], device=DEVICE), len(answer)))
        self.lengths = [ids.shape[1] - 1 for ids, _ in self.asked]

    def run(self, model, choose):
        found = []
        for ids, n in self.asked:
            logits = logits_of(model, forward(model, ids[:, :-1], choose)[:, -n:])
            found.append(int((logits[0].argmax(-1) == ids[0, -n:]).all()))
        return found


class Contexts:
    """The first contexts of a text or of a folder of texts; a result is nats per token."""
    is_text = True

    def __init__(self, path, tokenizer, start, o):
        self.name, self.rows = path.name, o.rows
        files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
        each = tokenizer.encode_batch([f.read_text(encoding="utf-8") for f in files], add_special_tokens=False)
        ids = np.concatenate([np.array(e.ids, dtype=np.int64) for e in each])
        n = min(o.contexts, len(ids) // o.context)
        body = torch.from_numpy(ids[:n * o.context]).view(n, o.context)
        self.body = F.pad(body, (1, 0), value=start).to(DEVICE)
        self.lengths = [o.context] * n

    def run(self, model, choose):
        found = []
        for part in self.body.split(self.rows):
            logits = logits_of(model, forward(model, part[:, :-1], choose)).transpose(1, 2)
            found += F.cross_entropy(logits, part[:, 1:], reduction="none").mean(1).tolist()
        return found


def settings_of(o, adapter, config):
    """The settings and tensors of an adapter, or those of the model's own types, and the overrides of its config."""
    if adapter is None:
        settings, tensors = config.get("nats") or {}, read_tensors(o.model / "model.safetensors")
        return settings, {name: x for name, x in tensors.items() if ".proj_layer." in name}, o.config_overrides
    settings, tensors = read_adapter(adapter)
    return settings, tensors, settings.get("config_overrides", o.config_overrides)


def measure(model, test, full, scorers, windows, changes, o):
    """The results of one text or file of questions by their names."""
    result = {"full": full}
    patterns = list(o.patterns)
    with Changed(model, changes):
        if changes:
            result["full, changed"] = test.run(model, None)
        if scorers:
            shares = []
            result["nats"] = test.run(model, learned(scorers, *windows, shares))
            result["share"] = torch.stack(shares).mean(0).tolist()
            if not o.no_windows:
                patterns += [f"window:{window_of(test.lengths, result['share'][which], which)}" for which in (0, 1)]
        for each in patterns:
            result[each] = test.run(model, pattern(model, *parse(each)))
    return result


def compare(tests, all_results):
    """Prints how the types of each adapter compare with those of the first, on each text."""
    (first, reference), *others = all_results.items()
    for test in tests:
        for adapter, results in others:
            found, before = results[test.name].get("nats"), reference[test.name].get("nats")
            if found and before:
                print(test.name, len(found), f"nats of {adapter} - {first}:", shown(found, before, test.is_text))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, nargs="*", default=[])
    parser.add_argument("--config-overrides", type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--questions", type=Path, nargs="*", default=[])
    parser.add_argument("--heldout", type=Path, nargs="*", default=[])
    parser.add_argument("--patterns", nargs="*", default=[])
    parser.add_argument("--no-windows", action="store_true", help="leave out the windows of as many entries")
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--contexts", type=int, default=64)
    parser.add_argument("--rows", type=int, default=4, help="contexts at once")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main():
    o = options()
    for name in o.patterns:
        parse(name)  # before minutes are spent
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("highest")
    config = json.loads((o.model / "config.json").read_text())
    adapters = [settings_of(o, adapter, config) for adapter in o.adapter or [None]]
    tokenizer, start = Tokenizer.from_file(str(o.model / "tokenizer.json")), config.get("bos_token_id", 1) or 0
    tests = [make(path, tokenizer, start, o)
             for paths, make in ((o.questions, Questions), (o.heldout, Contexts)) for path in paths]
    for test in tests:
        if not test.lengths:
            raise SystemExit(f"{test.name} holds no {f'context of {o.context} tokens' if test.is_text else 'questions'}")
    names = [test.name for test in tests]
    if len(set(names)) < len(names) or len(set(o.adapter)) < len(o.adapter):
        raise SystemExit("two texts or adapters have the same name, so that results would be overwritten")
    all_results, full, loaded = {}, {}, None
    for adapter, (settings, tensors, overrides) in zip(o.adapter or [None], adapters):
        if settings.get("chunk", 1) != 1:
            raise SystemExit(f"{adapter or o.model} has chunks of several tokens, which are not computed here")
        way = json.dumps(overrides, sort_keys=True)
        if loaded != way:
            model = None  # frees its memory first
            model, loaded = load_model(o.model, overrides, DEVICE), way
        changes = changed_weights(model, settings, tensors)
        layers = [NAME.format(n) for n in range(model.config.num_hidden_layers)]
        scorers = [tensors[name].to(DEVICE) for name in layers if name in tensors]
        windows = settings.get("window", 32), settings.get("localWindow", settings.get("local_window"))
        results = {"model": str(o.model), "adapter": str(adapter), "window": windows[0], "localWindow": windows[1]}
        results |= {"configOverrides": overrides} if overrides else {}
        all_results[str(adapter)] = results
        for test in tests:
            if (way, test.name) not in full:
                full[way, test.name] = test.run(model, None)
            result = measure(model, test, full[way, test.name], scorers, windows, changes, o)
            results[test.name] = result
            each = {key: f"{np.mean(x):.4f}, {shown(x, result['full'], test.is_text)}"
                    for key, x in result.items() if key != "share"}
            print(o.model.name, adapter and adapter.name, test.name, len(result["full"]), json.dumps(each),
                  result.get("share"), flush=True)
            o.out.parent.mkdir(parents=True, exist_ok=True)
            o.out.write_text(json.dumps(all_results if len(o.adapter) > 1 else results) + "\n")
    compare(tests, all_results)


if __name__ == "__main__":
    main()
