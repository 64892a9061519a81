"""Prints recipes of cases that the authors' Triton kernels can run: lengths of whole blocks of 128, d from 32 on.

    python3 authors_cases.py > cases.json
    npx natsearch vectors --recipes cases.json --format npz --out vectors

authors_kernels.py runs the kernels on them. A kernel is compiled for each window, group size and d, so
the cases come in families that share these. W is what their code calls local_seq_max_length.
"""

import json

TRAINING = {"scores": "spread", "noise": True, "forced": "ends"}


def case(name, why, family, tokens, **more):
    types = more.pop("types", TRAINING)
    return {"name": name, "why": why, **family, "tokens": tokens, "types": types, **more}


def letters(*pattern):
    return {"pattern": list(pattern)}


def family(queryHeads, kvHeads, headDim, window, **more):
    return {"queryHeads": queryHeads, "kvHeads": kvHeads, "headDim": headDim, "window": window, **more}


def by_token():
    near = family(2, 2, 64, 4)  # the window that their functions have by default
    wide, narrow = family(4, 1, 64, 64), family(4, 2, 32, 64)
    deep, deepest = family(2, 1, 128, 100), family(2, 1, 256, 32)
    for n in (128, 256, 384, 512):
        yield case(f"near-{n}", "two heads, types as in training", near, n)
    yield case("near-global", "plain causal attention", near, 256, types=letters("G"))
    yield case("near-window", "plain sliding window", near, 256, types=letters("W"))
    yield case("near-flat", "all scores 0", near, 256, logits="flat")
    yield case("near-sharp", "scores of some tens: rounding before the product", near, 256, logits="sharp")
    yield case("near-rising", "scores climb by 64 to the newest key", near, 256, logits="rising", scale=0.5)
    for spread in (4, 8, 16, 32, 64, 128):
        why = f"scores fall by {spread} along the keys, most of which are hidden: the maximum is a hidden key's"
        yield case(f"falling-{spread}", why, near, 256, logits="falling", scale=spread / 128, types=letters("W"))
    long = letters("G" + "L" * 199, "G" + "LLW" * 50 + "L" * 250)
    yield case("long-locals", "LOCAL tokens that live for more than a block of 128", near, 512, types=long)
    yield case("one-passage", "a GLOBAL token at the beginning alone", near, 512, types=letters("G" + "L" * 511))
    yield case("exact-flat", "no hidden key above the visible ones", near, 256, logits="flat", rule="exact")
    yield case("exact-256", "hidden keys above the visible ones", near, 256, rule="exact")
    for n in (128, 256, 1024):
        yield case(f"wide-{n}", "four query heads of one KV head", wide, n)
    yield case("wide-sharp", "the same with scores of some tens", wide, 256, logits="sharp")
    for n in (256, 640):
        yield case(f"narrow-{n}", "two groups of two query heads, d = 32", narrow, n)
    yield case("narrow-batch", "a batch", narrow, 256, batch=3)
    for n in (128, 256, 512):
        yield case(f"deep-{n}", "d = 128", deep, n)
    for n in (128, 256):
        yield case(f"deepest-{n}", "d = 256", deepest, n)
    yield case("shallow-128", "d = 16, which their assertion admits", family(2, 1, 16, 64), 128)


def by_chunk():
    heads = family(4, 2, 64, 64)
    for chunk in (16, 32, 64, 128, 256):
        made = heads | {"chunk": chunk}
        yield case(f"chunk-{chunk}", "chunks, types as in training", made, 512)
        if chunk > 128:
            continue
        flat = {"logits": "flat", "rule": "exact"}
        yield case(f"chunk-{chunk}-flat", "chunks, all scores 0", made, 512, **flat)
        yield case(f"chunk-{chunk}-windows", "windows of chunks", made, 512, types=letters("GWWW", "W"))
        yield case(f"chunk-{chunk}-locals", "chunks without windows", made, 512, types=letters("GLL", "GLLL"))


if __name__ == "__main__":
    print(json.dumps([*by_token(), *by_chunk()], indent=1))
