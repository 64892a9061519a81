#!/usr/bin/env python3
"""Trains a small dense Llama with Hugging Face transformers, as an existing model for `natsearch finetune`.

    python3 train_base.py --text novels/train sotu/train --recall learn/*/questions.jsonl --heldout sotu/heldout \\
        moby-dick.txt --questions ask/*/questions.jsonl --out base

The model has full causal attention and no token types. OUT becomes a model folder as published on Hugging Face:
config.json, model.safetensors in BF16, and a byte-level tokenizer.json trained on the texts (or that of --tokenizer), in
which each digit is a token of its own. training.json beside them has versions, seed, losses, and results under full attention and under
sliding windows: bits per byte of the held-out texts in contexts of N tokens, and the share of questions of `natsearch
recall write` whose whole answer is right.
Every window starts with the token that starts texts. Training starts with short windows of noise that occurs twice, and
later the share --repeats of all windows is such noise. Recall rests on copying what was seen once (induction), and a
model of this size does not learn that from text alone in this time. The share --share of the later windows is cut from
the recall documents: questions.jsonl, of which the tokens of answers count --answer-weight times, or plain text. With
--seconds, the learning rate follows the clock instead of --steps. From the share --long-from of training on, windows are
--context tokens long, and before that --short.
"""
import argparse
import copy
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

BOS = "<|endoftext|>"


def read(paths):
    """The documents in text files and in folders of .txt files."""
    files = [f for p in map(Path, paths) for f in (sorted(p.glob("*.txt")) if p.is_dir() else [p])]
    return [f.read_text(encoding="utf-8") for f in files]


def train_tokenizer(documents, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=size, special_tokens=[BOS], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def encode(tokenizer, documents):
    """One stream of tokens, with BOS before each document."""
    parts = [[tokenizer.token_to_id(BOS), *e.ids] for e in tokenizer.encode_batch(documents, add_special_tokens=False)]
    return np.concatenate([np.array(p, dtype=np.int32) for p in parts])


def encode_questions(tokenizer, paths, weight, rng):
    """Documents of `natsearch recall write` with their answers, shuffled, and how much each token counts."""
    asked = [json.loads(line) for p in paths for line in p.read_text(encoding="utf-8").splitlines()]
    rng.shuffle(asked)
    prompts, answers = (tokenizer.encode_batch([q[part] for q in asked], add_special_tokens=False) for part in ("prompt", "answer"))
    end, start = tokenizer.encode(".\n", add_special_tokens=False).ids, tokenizer.token_to_id(BOS)
    ids, counts = [], []
    for prompt, answer in zip(prompts, answers):
        ids.append(np.array([start, *prompt.ids, *answer.ids, *end], dtype=np.int32))
        count = np.ones(len(ids[-1]), dtype=np.float32)
        count[1 + len(prompt.ids):1 + len(prompt.ids) + len(answer.ids)] = weight
        counts.append(count)
    return np.concatenate(ids), np.concatenate(counts)


def noise(rows, context, vocabulary, rng):
    """[rows, context + 1] of random pieces, each of which occurs twice, in some cases with other noise in between."""
    parts, length = [], 0
    while length <= context:
        each, few = (int(math.exp(rng.uniform(math.log(least), math.log(most))))
                     for least, most in ((4, context // 3), (16, vocabulary)))  # of few tokens, one does not determine the next
        chosen = rng.integers(1, vocabulary, (rows, few))
        piece = np.take_along_axis(chosen, rng.integers(0, few, (rows, each)), 1)
        between = rng.integers(1, vocabulary, (rows, rng.integers(0, each + 1) * rng.integers(0, 2)))
        parts += [piece, between, piece]
        length += 2 * each + between.shape[1]
    return np.concatenate(parts, 1)[:, :context + 1]


def windows(streams, shares, batch, context, vocabulary, rng):
    """[batch, context + 1] of windows cut from the streams (each with what its tokens count) at random places, and of
    noise; the first token is BOS. Then what each token counts."""
    *cuts, twice = rng.multinomial(batch, shares)
    places = [(*stream, at) for stream, count in zip(streams, cuts)
              for at in rng.integers(0, len(stream[0]) - context - 1, count)]
    rows = [ids[at:at + context + 1][None] for ids, _, at in places]
    counts = [counts[at:at + context + 1][None] for _, counts, at in places]
    if twice:
        rows.append(noise(twice, context, vocabulary, rng))
        counts.append(np.ones_like(rows[-1], dtype=np.float32))
    ids = np.concatenate(rows).astype(np.int64)
    ids[:, 0] = 0
    return [torch.from_numpy(x).pin_memory().cuda(non_blocking=True) for x in (ids, np.concatenate(counts))]


def drop(model, p):
    """Adds dropout to the outputs of attention and feed-forward, which Hugging Face's Llama does not have."""
    for layer in model.model.layers:
        for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
            part.register_forward_hook(lambda module, _, out: F.dropout(out, p, module.training))


def go_on(o):
    """The model in o.begin, with o.layers layers and a longer context. Added layers begin without any effect."""
    config = LlamaConfig.from_pretrained(o.begin)
    if o.yarn:
        config.rope_parameters = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": o.yarn,
                                  "original_max_position_embeddings": config.max_position_embeddings}
    config.max_position_embeddings = o.context
    model = LlamaForCausalLM.from_pretrained(o.begin, config=config, dtype=torch.float32)
    layers = model.model.layers
    while len(layers) < o.layers:
        added = copy.deepcopy(layers[len(layers) // 2])
        added.self_attn.layer_idx = len(layers)
        for part in (added.self_attn.o_proj, added.mlp.down_proj):
            torch.nn.init.zeros_(part.weight)
        layers.append(added)
    model.config.num_hidden_layers = len(layers)
    return model


def losses(model, ids, mask=None):
    """The loss in nats of each token of ids [B,N+1] except the first, and the logits."""
    hidden = model.model(input_ids=ids[:, :-1], attention_mask=mask, use_cache=False)[0]
    logits = F.linear(hidden, model.lm_head.weight).float()
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1), logits


def window_mask(n, width, sink=0):
    """The additive mask for queries that see the `width` tokens before them and the first `sink`; None if they see all."""
    if width is None:
        return None
    i, j = torch.arange(n, device="cuda")[:, None], torch.arange(n, device="cuda")[None]
    seen = (j <= i) & ((i - j <= width) | (j < sink))
    return torch.zeros(1, 1, n, n, device="cuda", dtype=torch.bfloat16).masked_fill_(~seen, float("-inf"))


@torch.no_grad()
def bits_per_byte(model, stream, byte_count, context, width=None, sink=0):
    """Bits per byte over whole contexts of the stream, each starting with BOS, cut as `natsearch eval` does."""
    n = (len(stream) - 1) // context
    body = torch.from_numpy(stream[1:1 + n * context].astype(np.int64)).view(n, context).cuda()
    ids = F.pad(body, (1, 0))
    mask = window_mask(context, width, sink)
    with torch.autocast("cuda", torch.bfloat16):
        total = sum(losses(model, part, mask)[0].sum().item() for part in ids.split(32))
    return total / math.log(2) / (byte_count * (n * context) / (len(stream) - 1))


@torch.no_grad()
def copying(model, vocabulary, rng):
    """The loss in nats per token of 32 random tokens, and that of the same tokens when they are repeated."""
    piece = rng.integers(1, vocabulary, (64, 32))
    ids = torch.from_numpy(np.concatenate([np.zeros((64, 1), int), piece, piece], 1)).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        each = losses(model, ids)[0]
    return each[:, :32].mean().item(), each[:, 33:].mean().item()


@torch.no_grad()
def recall(model, tokenizer, path, width=None, sink=0, most=200):
    """The share of questions for which every token of the answer is the most likely one."""
    right = asked = 0
    for line in path.read_text().splitlines()[:most]:
        question = json.loads(line)
        prompt, answer = (tokenizer.encode(question[part], add_special_tokens=False).ids for part in ("prompt", "answer"))
        ids = torch.tensor([[0, *prompt, *answer]]).cuda()
        with torch.autocast("cuda", torch.bfloat16):
            _, logits = losses(model, ids, window_mask(ids.shape[1] - 1, width, sink))
        right += bool((logits[0, -len(answer):].argmax(-1) == ids[0, -len(answer):]).all())
        asked += 1
    return right / asked


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--recall", nargs="*", default=[])
    parser.add_argument("--heldout", nargs="+", required=True)
    parser.add_argument("--questions", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.4, help="share of windows cut from --recall")
    parser.add_argument("--repeats", type=float, default=0.2, help="share of windows of noise")
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--warm-up", type=int, default=6000, help="at most so many steps of noise first, until the model copies it")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json to use instead of training one")
    parser.add_argument("--answer-weight", type=float, default=8, help="how much tokens of answers count")
    parser.add_argument("--seconds", type=float, help="how long to train, instead of --steps")
    parser.add_argument("--long-from", type=float, default=0, help="share of training after which windows have --context tokens")
    parser.add_argument("--short", type=int, help="the tokens of windows before that; default: a half of --context")
    parser.add_argument("--begin", type=Path, help="a model folder to go on from, instead of noise; --layers may be more than it has")
    parser.add_argument("--yarn", type=float, help="stretches the positions of --begin so many times")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--intermediate", type=int, default=768)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warm-lr", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()

    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    texts = read(o.text)
    tokenizer = Tokenizer.from_file(str(o.tokenizer)) if o.tokenizer else train_tokenizer(texts, o.vocabulary)
    streams = [encode(tokenizer, texts)]
    recalls = [Path(p) for p in o.recall]
    lines = [line + "\n" for text in read(p for p in recalls if p.suffix != ".jsonl") for line in text.splitlines()]
    if lines:
        rng.shuffle(lines)  # so that windows mix all lengths and kinds
        streams.append(encode(tokenizer, lines))
    streams = [(ids, np.ones(len(ids), dtype=np.float32)) for ids in streams]
    if not lines and recalls:
        streams.append(encode_questions(tokenizer, recalls, o.answer_weight, rng))
    questions = [Path(p) for p in o.questions]
    own = [o.share] if o.recall else []
    shares = [1 - sum(own) - o.repeats, *own, o.repeats]
    held = {Path(p).name: read([p]) for p in o.heldout}
    held = {name: (encode(tokenizer, ["".join(docs)]), sum(len(d.encode()) for d in docs)) for name, docs in held.items()}
    print("tokens:", [len(s) for s, _ in streams], {name: len(s) for name, (s, _) in held.items()}, flush=True)

    model = go_on(o).cuda() if o.begin else LlamaForCausalLM(LlamaConfig(
        vocab_size=o.vocabulary, hidden_size=o.hidden, intermediate_size=o.intermediate, num_hidden_layers=o.layers,
        num_attention_heads=o.heads, num_key_value_heads=o.kv_heads, max_position_embeddings=o.context,
        rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        attn_implementation="sdpa")).cuda()
    drop(model, o.dropout)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=o.lr, betas=(0.9, 0.95),
        fused=True)
    torch.set_float32_matmul_precision("high")
    compiled = torch.compile(
        lambda ids, counts: (losses(model, ids)[0] * counts[:, 1:]).sum() / counts[:, 1:].sum(), dynamic=False)
    log, start = [], time.time()

    def update(ids, lr):
        for group in optimiser.param_groups:
            group["lr"] = lr
        with torch.autocast("cuda", torch.bfloat16):
            loss = compiled(*ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss

    def note(entry):
        log.append(entry)
        print(f"{time.time() - start:.0f} s", json.dumps(entry), flush=True)
        model.train()

    # First the model learns copying, in short windows: few different tokens, and twice as many each time they are copied.
    several, short = 64, min(128, o.context // 8)
    for step in range(1, (0 if o.begin else o.warm_up) + 1):
        loss = update(windows([], [1], 256, short, several, rng), o.warm_lr * min(1, step / 200))
        if step % 100 == 0:
            model.eval()
            once, again = copying(model, several, rng)
            note({"step": step, "tokens": several, "loss": loss.item(), "copy": [once, again]})
            if again < 0.5:
                if several == o.vocabulary:
                    break
                several = min(2 * several, o.vocabulary)
    step, done, began, seen = 0, 0.0, time.time(), 0
    while done < 1:
        step += 1
        done = (time.time() - began) / (o.seconds - (began - start)) if o.seconds else step / o.steps
        rate = min(step / 200, 0.1 + 0.45 * (1 + math.cos(math.pi * min(1, done))))
        context = o.context if done >= o.long_from else o.short or o.context // 2
        batch = o.batch * o.context // context
        loss = update(windows(streams, shares, batch, context, o.vocabulary, rng), o.lr * rate)
        seen += batch * context
        if step % 500 == 0 or done >= 1:
            model.eval()
            stream, count = next(iter(held.values()))
            note({"step": step, "tokens": seen, "loss": loss.item(), "copy": copying(model, o.vocabulary, rng),
                  "bitsPerByte": bits_per_byte(model, stream, count, o.context),
                  "recall": {p.parent.name: recall(model, tokenizer, p, most=16) for p in questions}})
    model.eval()
    model = model.to(torch.bfloat16)
    o.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(o.out)
    (o.out / "generation_config.json").unlink(missing_ok=True)
    # Texts start with BOS, as all windows did; for training, encode() put it there.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B:1", special_tokens=[(BOS, tokenizer.token_to_id(BOS))])
    tokenizer.save(str(o.out / "tokenizer.json"))
    widths = [(None, 0), (256, 0), (64, 0)]
    results = {}
    for width, sink in widths:
        of = "full" if width is None else f"streaming:{sink}+{width}" if sink else f"window:{width}"
        results[of] = {name: bits_per_byte(model, s, n, o.context, width, sink) for name, (s, n) in held.items()}
        if width is None:
            results[of] |= {p.parent.name: recall(model, tokenizer, p, width, sink, 60) for p in questions}
        print(of, json.dumps(results[of]), flush=True)
    (o.out / "training.json").write_text(json.dumps({
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__, "gpu": torch.cuda.get_device_name(),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(o).items()},
        "tokens": [len(s) for s, _ in streams], "log": log, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
