#!/usr/bin/env python3
"""Teaches a frozen base to find facts that lie further back than it was trained for, by low-rank changes of q and k.

    python3 train_far.py --adapter models/adapters/long-0.1-w32 --base models/base --text runs/sotu/train \\
        --seconds 1800 --out models/adapters/far-0.1-w32

--adapter is a folder that `natsearch finetune` wrote for --base: its scorers stay as they are, and its config_overrides
give the context and how positions are turned (YaRN). Rows of so many tokens are filled with documents as those of
`natsearch recall write` (pass keys and pairs; recall_rows.py writes them) with long filler: facts, often in the first
part of a document, and questions about each at its end. What counts is the loss of the answers' tokens, and a little
that of some others. From --types-from on, every second step hides what the types of the scorers do not keep, so that q
and k learn to find what is there under both. With --text-rows, some rows are windows of plain text, so that the model
goes on predicting it as well. Products are computed in bfloat16.

On the CPU (PyTorch from 1.13 on), one row is computed after the other. On a GPU, --batch rows are computed at once, and
processes write them (PyTorch from 2.3 on):

    python3 train_far.py --device cuda --workers 12 --batch 16 --warm-up 100 --text-rows 0.25 --test-every 500 \\
        --adapter models/adapters/long-0.1-w32 --factor 6 --base models/base --text runs/sotu/train \\
        --heldout runs/sotu/heldout --seconds 400 --out runs/far

The low-rank changes are written beside the scorers, as `natsearch finetune --low-rank` writes them; with SIGTERM, too.
The first layer is not changed without --first-layer.
"""
import argparse
import contextlib
import hashlib
import json
import math
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from far_base import Base
from far_rows import Workers, asking_row, text_row, whole_answers
from recall_rows import Writer, encoder, split_sentences
from tensors_file import read_tensors, write_tensors


def predicted(model, group, device, window):
    """
    Of each Row of a group, as tensors: the losses of its answers' tokens [A] and of the other predicted ones [O], and
    which of the answers' tokens are right [A], as 0 or 1. Also the share of pairs that is kept.
    """
    length, starts, order, sizes = len(group[0].ids) - 1, [], [], []
    for n, row in enumerate(group):
        order.append(sum(map(sum, sizes)) + np.argsort(~row.answer, kind="stable"))
        starts.append(n * length + row.rows)
        sizes.append((int(row.answer.sum()), int((~row.answer).sum())))
    ids = np.stack([row.ids for row in group]).astype(np.int64)
    rows, order = np.concatenate(starts), np.concatenate(order)
    targets = ids[:, 1:].reshape(-1)[rows]
    ids, rows, order, targets = (sent(x, device) for x in (ids, rows, order, targets))
    with kernels(device):
        logits, kept = model.forward(ids[:, :-1], rows, window)
    each = F.cross_entropy(logits, targets, reduction="none")[order].split([n for pair in sizes for n in pair])
    right = (logits.argmax(-1) == targets)[order].float().split([n for pair in sizes for n in pair])
    return [(each[n], each[n + 1], right[n]) for n in range(0, len(each), 2)], kept


def sent(array, device):
    """A tensor on the device, without waiting for what CUDA is doing."""
    x = torch.from_numpy(np.ascontiguousarray(array))
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x


def kernels(device):
    """On CUDA, only attention that does not hold scores of all pairs."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION])


def groups_of(rows, model, size):
    """The rows that are computed at once: one on the CPU."""
    size = size if model.fused else 1
    return [rows[n:n + size] for n in range(0, len(rows), size)]


def mean(values):
    """The mean of numbers and tensors of one, or None if there are none."""
    values = [float(x) for x in values if x is not None]
    return sum(values) / len(values) if values else None


@torch.no_grad()
def test(model, rows, device, size, window, stopped):
    """The shares of held-out answers that are right, of all and of far ones, all tokens of each, and others' loss."""
    right, far, others, shares = [], [], [], []
    for group in groups_of(rows, model, size):
        if stopped:
            return None
        found, kept = predicted(model, group, device, window)
        whole = [whole_answers(row, each.cpu().numpy()) for row, (_, _, each) in zip(group, found)]
        right += [x for each, _ in whole for x in each]
        far += [x for each, is_far in whole for x in each[is_far]]
        others += [other.mean() for _, other, _ in found]
        shares.append(kept)
    return {"right": mean(right), "rightFar": mean(far), "other": mean(others), "kept": mean(shares)}


def digest(value):
    """The hash by which an adapter knows the config of its base."""
    text = json.dumps(value, separators=(",", ":")).replace("1e-05", "0.00001")  # as JavaScript writes it
    return hashlib.sha256(text.encode()).hexdigest()


def texts(*folders):
    return [f.read_text(encoding="utf-8") for folder in folders for f in sorted(folder.glob("*.txt"))]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="folder of .txt files for filler")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--factor", type=int, help="of YaRN, instead of that of config_overrides")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--first-layer", action="store_true", help="change the first layer, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that write rows; 0: this one writes them")
    parser.add_argument("--batch", type=int, default=2, help="rows in a step")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--steps", type=int, help="instead of --seconds")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warm-up", type=int, default=10, help="steps")
    parser.add_argument("--plain", type=float, default=0.3, help="what the loss of other tokens counts")
    parser.add_argument("--others", type=int, default=256, help="how many of them are predicted in each row")
    parser.add_argument("--text-rows", type=float, default=0, help="share of rows that are plain text")
    parser.add_argument("--more-text", type=Path, nargs="*", default=[], help="more folders of it, beside --text")
    parser.add_argument("--pass-keys", type=float, default=0.3, help="share of documents with a pass key, not pairs")
    parser.add_argument("--far", type=float, default=0.7, help="share of rows that begin with early facts")
    parser.add_argument("--test-every", type=int, default=0, help="steps between tests of 32 rows; 0: never")
    parser.add_argument("--heldout", type=Path, help="folder of .txt files for their filler, instead of --text")
    parser.add_argument("--types-from", type=float, default=0.4, help="share of training before types hide keys")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    for name in ("factor", "rank", "batch", "seconds", "steps", "warm_up", "others"):
        if getattr(o, name) is not None and getattr(o, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} is {getattr(o, name)}: it must be above 0")
    if o.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, but PyTorch finds no GPU here: leave it out to train on the CPU")
    return o


def main():
    start, o = time.time(), options()
    from tokenizers import Tokenizer
    torch.manual_seed(o.seed)
    settings = json.loads((o.adapter / "adapter_config.json").read_text())
    if "config_overrides" not in settings:
        raise SystemExit(f"{o.adapter} has no config_overrides, which give the context and its positions: "
                         "see docs/finetuning.md")
    if "localWindow" in settings:
        raise SystemExit(f"{o.adapter} was learned with a second window ({settings['localWindow']}), but one window is "
                         "computed here: name an adapter without localWindow")
    if "r" in settings:
        raise SystemExit(f"{o.adapter} changes q and k already, and those changes would be lost: name an adapter without "
                         "them")
    if settings["base_sha256"] != digest(settings["base"]):
        raise SystemExit(f"{o.adapter}/adapter_config.json was changed: base_sha256 is not the hash of base")
    for folder in (o.text, *o.more_text, *([o.heldout] if o.heldout else [])):
        if not list(folder.glob("*.txt")):
            raise SystemExit(f"{folder} holds no .txt files")
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
    context, tokenizer_file = given["max_position_embeddings"], str(o.base / "tokenizer.json")
    sentences = split_sentences(texts(o.text))
    asking = (context, o.others, o.pass_keys, o.far)
    if o.workers:  # before CUDA begins
        workers = Workers(o.workers, o.seed, 8 * o.batch, sentences, tokenizer_file, asking)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    tokenizer = Tokenizer.from_file(tokenizer_file)
    encode = encoder(tokenizer)
    device = torch.device(o.device)
    model = Base(o.base, given, scorers, o.rank, 0 if o.first_layer else 1, device)
    writer, text_rng = Writer(sentences, np.random.default_rng(o.seed)), np.random.default_rng([o.seed, 3])
    if o.text_rows:
        each = tokenizer.encode_batch(texts(o.text, *o.more_text), add_special_tokens=False)
        stream = np.concatenate([np.array([0, *one.ids], dtype=np.int32) for one in each])
    if o.test_every:
        others = split_sentences(texts(o.heldout)) if o.heldout else sentences
        tester = Writer(others, np.random.default_rng([o.seed, 2]))
        held = [asking_row(tester, encode, *asking) for _ in range(32)]
    optimiser = torch.optim.AdamW(model.parameters(), lr=o.lr, betas=(0.9, 0.95), weight_decay=0.0)
    log, step, done = [], 0, 0.0

    def save():
        o.out.mkdir(parents=True, exist_ok=True)
        name = lambda n, p, part: f"base_model.model.model.layers.{n}.self_attn.{p}_proj.lora_{part}.weight"
        changes = {name(n, p, part): x for (n, p), pair in model.changes.items() for part, x in zip("AB", pair)}
        for p in "" if o.first_layer else "qk":
            changes |= {name(0, p, part): torch.zeros_like(changes[name(1, p, part)]) for part in "AB"}
        write_tensors(o.out / "adapter_model.safetensors", tensors | {k: x.detach().cpu() for k, x in changes.items()})
        both = settings | {"version": 2, "peft_type": "LORA", "r": o.rank, "lora_alpha": 2 * o.rank,
                           "target_modules": ["q_proj", "k_proj"]}
        (o.out / "adapter_config.json").write_text(json.dumps(both, indent=2) + "\n")
        (o.out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        made = {"options": {k: str(v) for k, v in vars(o).items()}, "steps": step, "seconds": time.time() - start,
                "torch": torch.__version__, "threads": torch.get_num_threads(),
                "device": o.device, "gpu": torch.cuda.get_device_name() if o.device == "cuda" else None,
                "workers": o.workers}
        (o.out / "training.json").write_text(json.dumps(made, indent=1) + "\n")

    def tell(line):
        log.append(line | {"seconds": round(time.time() - start, 1)})
        print(json.dumps(log[-1]), flush=True)

    def tests():
        found = {name: test(model, held, device, o.batch, window, stopped)
                 for name, window in (("full", None), ("types", settings["window"]))}
        if not stopped:
            tell({"step": step, "test": found})

    if o.test_every:
        tests()
    while done < 1 and not stopped:
        plain = math.floor((step + 1) * o.batch * o.text_rows) - math.floor(step * o.batch * o.text_rows)
        rows = [workers.row(stopped) if o.workers else asking_row(writer, encode, *asking)
                for _ in range(o.batch - plain)]
        if None in rows:
            break
        rows += [text_row(stream, text_rng, context) for _ in range(plain)]
        step += 1
        rate = o.lr * min(step / o.warm_up, 0.05 + 0.475 * (1 + math.cos(math.pi * min(1, done))))
        for group in optimiser.param_groups:
            group["lr"] = rate
        window = settings["window"] if done > o.types_from and step % 2 == 0 else None
        sums = []  # of each row: the losses of answers and others, which answers are right, also far away, what is kept
        for group in groups_of(rows, model, o.batch):
            losses = []
            found, share = predicted(model, group, device, window)
            for row, (answers, others, right) in zip(group, found):
                answer = answers.mean() if len(answers) else None
                losses.append(o.plain * others.mean() + (0 if answer is None else answer))
                far = row.far[row.answer]
                sums.append([None if answer is None else answer.detach(), others.detach().mean(),
                             right.mean() if len(answers) else None,
                             (right * sent(far, device)).sum() / int(far.sum()) if far.any() else None, share])
            torch.stack(losses).sum().div(o.batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        done = step / o.steps if o.steps else (time.time() - start) / o.seconds
        if o.device == "cpu" or step % 20 < 2 or done >= 1:  # on CUDA, reading them waits for the step
            answer, other, right, far, kept = (mean(each) for each in zip(*sums))
            tell({"step": step, "kept": kept, "answers": answer, "other": other, "right": right, "rightFar": far,
                  "lr": rate})
        if step % (10 if o.device == "cpu" else 500) == 0 or done >= 1 or stopped:
            save()
        if o.test_every and (step % o.test_every == 0 or done >= 1):
            tests()
    save()


if __name__ == "__main__":
    main()
