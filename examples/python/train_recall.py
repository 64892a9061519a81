#!/usr/bin/env python3
"""Teaches a small dense Llama to bind values to names, with dense documents before and beside long ones.

    python3 train_recall.py --begin models/base --layers 6 --text novels/train sotu/train --questions ask/*/questions.jsonl \\
        --heldout sotu/heldout moby-dick.txt --seconds 300 --out base --types-text types.txt

recall_rows.py writes the documents while the model is trained. A dense row has --dense tokens of documents with hardly
any filler and a question about every name: of 2 names at first, later of 4 and of up to 6, and of hops from 1 up to 4. A
long row has --context tokens of documents with filler; beside long rows are windows of text and of noise that occurs
twice (train_base.py). Mostly tokens of answers count. --types-text becomes documents of which no wording is tested,
from which `natsearch finetune` can learn token types.
With --hop-levels, hops are three documents in ten, and have levels instead, from one hop whose name is asked for at once to
four hops (chains() of recall_rows.py): the next level begins when 90% of the first digits of answers at this one are right.
"""
import argparse
import json
import math
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np

from recall_rows import Writer, encoder, frequent_words, row, split_sentences

TASKS = ("passkey", "pairs", "needle", "multikey", "hops", "tracking", "common")
OFTEN = np.array([0.05, 0.14, 0.14, 0.34, 0.05, 0.2, 0.08])
OFTEN_WITH_LEVELS = np.array([0.05, 0.1, 0.12, 0.28, 0.3, 0.1, 0.05])
LEVELS = 5


def curriculum(done):
    """The most names, and the most hops, at a share of training."""
    return (2, 1) if done < 0.15 else (4, 2) if done < 0.4 else (4, 3) if done < 0.65 else (6, 4)


def documents(writer, done, level, long):
    """Documents without end, of all tasks in turn. Level -1: hops have no levels."""
    names, hops = curriculum(done)
    if level >= 0:
        names = 2 if done < 0.05 else 4 if done < 0.3 else 6
    while True:
        for n in writer.rng.choice(len(TASKS), 4, p=OFTEN if level < 0 else OFTEN_WITH_LEVELS):
            task, most = TASKS[n], hops if TASKS[n] in ("hops", "tracking") else names
            if level >= 0 and task == "hops":
                other = int(writer.rng.integers(min(level + 2, LEVELS)))
                task, most = "chains", level if writer.rng.random() < 0.7 else other
            filler = writer.rng.integers(200, 2800) if long else writer.rng.integers(0, 200) * (writer.rng.random() < 0.4)
            yield writer.document(task, most, filler, 6 if long else 99)


def work(seed, sentences, names, tokenizer_file, progress, level, queue, long, rows, length):
    """A process that makes batches of rows."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer
    writer = Writer(sentences, np.random.default_rng(seed), names)
    encode = encoder(Tokenizer.from_file(tokenizer_file))
    plain, answer = (0.2, 20) if long else (0.02, 1)
    while True:
        made = [row(documents(writer, progress.value, level.value, long), encode, length, plain, answer)
                for _ in range(rows)]
        queue.put(tuple(np.stack(each) for each in zip(*made)))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--begin", type=Path, required=True)
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--heldout", nargs="+", required=True)
    parser.add_argument("--questions", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--types-text", type=Path)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--hop-levels", action="store_true")
    parser.add_argument("--dense", type=int, default=384)
    parser.add_argument("--tokens", type=int, default=65536, help="in a step")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--warm-up", type=int, default=100, help="steps")
    parser.add_argument("--test-every", type=int, default=1000, help="steps between tests of 16 questions each")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    o.yarn = None
    return o


def main():
    start, o = time.time(), options()
    say = lambda *what: print(f"{time.time() - start:.0f} s", *what, flush=True)
    files = [f for p in map(Path, o.text) for f in (sorted(p.glob("*.txt")) if p.is_dir() else [p])]
    texts = [f.read_text(encoding="utf-8") for f in files]
    sentences, names = split_sentences(texts), frequent_words(texts, 1500)
    tokenizer_file = str(o.begin / "tokenizer.json")
    say(len(sentences), "sentences", len(names), "names", names[:8])

    # The processes begin before CUDA does.
    process = multiprocessing.get_context("fork")
    progress, level = process.Value("d", 0.0), process.Value("i", 0 if o.hop_levels else -1)
    dense, long = process.Queue(48), process.Queue(24)
    dense_rows, long_rows = o.tokens // o.dense, o.tokens // o.context
    recall_rows = round(0.6 * long_rows)
    for n in range(o.workers):
        made = (long, True, recall_rows, o.context) if n % 3 == 0 else (dense, False, dense_rows, o.dense)
        args = (1000 * o.seed + n, sentences, names, tokenizer_file, progress, level, *made)
        process.Process(target=work, args=args, daemon=True).start()

    if o.types_text:
        writer, lines = Writer(sentences, np.random.default_rng(o.seed + 7), tested=False), []
        for n in range(4000):
            task = TASKS[n % len(TASKS)]
            task = "chains" if o.hop_levels and task == "hops" else task
            pieces = writer.document(task, 4, int(writer.rng.integers(400, 3000)), 1)
            lines.append("".join(text for text, _ in pieces).strip())
        o.types_text.parent.mkdir(parents=True, exist_ok=True)
        o.types_text.write_text("\n".join(lines) + "\n", encoding="utf-8")

    import torch
    import torch.nn.functional as F
    from tokenizers import Tokenizer
    from train_base import bits_per_byte, copying, encode, go_on, losses, noise, read, recall

    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    tokenizer = Tokenizer.from_file(tokenizer_file)
    text = encode(tokenizer, texts)
    held = {Path(p).name: read([p]) for p in o.heldout}
    held = {name: (encode(tokenizer, ["".join(docs)]), sum(len(d.encode()) for d in docs)) for name, docs in held.items()}
    model = go_on(o).cuda()
    groups = [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=o.lr, betas=(0.9, 0.95), fused=True)
    torch.set_float32_matmul_precision("high")
    compiled = torch.compile(
        lambda ids, counts: (losses(model, ids)[0] * counts[:, 1:]).sum() / counts[:, 1:].sum(), dynamic=False)
    say("begins", len(text), "tokens of text")

    def batch(is_dense):
        if is_dense:
            ids, counts = dense.get()
        else:
            ids, counts = long.get()
            twice = max(1, round(0.1 * long_rows))
            places = rng.integers(0, len(text) - o.context - 1, long_rows - len(ids) - twice)
            cut = np.stack([text[p:p + o.context + 1] for p in places])
            others = np.concatenate([cut, noise(twice, o.context, model.config.vocab_size, rng)])
            others[:, 0] = 0
            ids, counts = np.concatenate([ids, others]), np.concatenate([counts, np.full(others.shape, 0.5)])
        return torch.from_numpy(ids.astype(np.int64)).cuda(), torch.from_numpy(counts.astype(np.float32)).cuda()

    writer, tests = Writer(sentences, np.random.default_rng(o.seed + 9), names), []
    for n in range(LEVELS if o.hop_levels else 0):
        endless = (writer.document("chains", n, 0, 99) for _ in iter(int, 1))
        made = [row(endless, encoder(tokenizer), o.dense, 0, 1) for _ in range(16)]
        ids, counts = (torch.from_numpy(np.stack(each)).cuda() for each in zip(*made))
        tests.append((ids.long(), (counts[:, 1:] > 0) & (counts[:, :-1] == 0)))

    @torch.no_grad()
    def first_digits():
        """The share of answers about hops whose first digit is right, for each level."""
        model.eval()
        with torch.autocast("cuda", torch.bfloat16):
            right = [(losses(model, ids)[1].argmax(-1) == ids[:, 1:])[first].float().mean().item()
                     for ids, first in tests]
        model.train()
        return right

    def results(most):
        model.eval()
        name, (stream, size) = next(iter(held.items()))
        found = {"bits": bits_per_byte(model, stream, size, o.context), "copy": copying(model, 2048, rng),
                 "recall": {p.parent.name: recall(model, tokenizer, p, most=most) for p in o.questions}}
        model.train()
        return found

    log, step, done, tokens, shown = [], 0, 0.0, 0, 0.0
    while done < 1:
        step += 1
        done = (time.time() - start) / o.seconds
        progress.value = done
        is_dense = rng.random() < (0.85 if done < 0.45 else 0.55 if done < 0.75 else 0.3)
        ids, counts = batch(is_dense)
        for group in optimiser.param_groups:
            group["lr"] = o.lr * min(step / o.warm_up, 0.05 + 0.475 * (1 + math.cos(math.pi * min(1, done))))
        with torch.autocast("cuda", torch.bfloat16):
            loss = compiled(ids, counts)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        tokens += ids[:, 1:].numel()
        if step % 50 == 0:
            log.append({"step": step, "tokens": tokens, "dense": is_dense, "loss": loss.item(),
                        "seconds": time.time() - start})
            if time.time() - shown > 10 or done >= 1:
                say(json.dumps(log[-1]))
                shown = time.time()
        if o.hop_levels and step % 100 == 0:
            right = first_digits()
            log[-1] |= {"level": level.value, "firstDigits": right}
            if level.value < LEVELS - 1 and right[level.value] > 0.9:
                level.value += 1
                say("hops: level", level.value, right)
        if step % o.test_every == 0:
            log.append({"step": step, **results(16)})
            say(json.dumps(log[-1]))
    model.eval()
    model = model.to(torch.bfloat16)
    o.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(o.out)
    (o.out / "generation_config.json").unlink(missing_ok=True)
    (o.out / "tokenizer.json").write_bytes((o.begin / "tokenizer.json").read_bytes())
    say("saved", step, "steps", tokens, "tokens")
    final = {"steps": step, "tokens": tokens, "log": log,
             "options": {k: str(v) for k, v in vars(o).items()}, "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}
    write = lambda: (o.out / "training.json").write_text(json.dumps(final, indent=1) + "\n")
    write()  # before the questions, which take a while
    final["results"] = results(60)
    write()
    say(json.dumps(final["results"]))
    for child in multiprocessing.active_children():
        child.terminate()
    os._exit(0)  # the queues are full, and would wait for readers


if __name__ == "__main__":
    main()
