#!/usr/bin/env python3
"""Gradients of Neural Attention Search by PyTorch's autograd, in float64: goldens for the tests.

Takes only inputs and parameters from the vectors of `natsearch vectors`:

    npx natsearch vectors --format npz --out vectors
    python3 torch_goldens.py vectors --device cuda

The mask is that of section 5, a function of one-hot types treated as real numbers; attention
multiplies by it and divides by the sum. No derivative is written out here: autograd computes them
all, also through hidden keys. Rule `bounded` is not a derivative. By its definition (section 4) it
is autograd's dM with each row multiplied by exp(lse - log-sum-exp over all causal keys), and
autograd continues from there to the types.

Letters: B batch, G KV heads, R query heads of each, N tokens, d head size, C chunk size,
n = ceil(N / C) chunks, b(j) = floor(j / C). Section numbers refer to docs/algorithm.md.
"""

import argparse
import json
import pathlib
import platform
import sys

import numpy as np
import torch

from tensors_file import write_tensors

GLOBAL = 0
# From the small suite: sizes, groups, windows, chunks, places of GLOBAL, scores, price, rules.
CASES = [
    "odd-31", "tile-65", "head-5", "group-3", "batch", "window-0", "window-mixed", "chunk-2",
    "chunk-4", "chunk-window", "global-adjacent", "global-absent", "temperature-half",
    "price-chunks", "rule-exact", "rule-bounded",
]
HERE = pathlib.Path(__file__).resolve()


def choose_types(x, p):
    """Section 6: one-hot types [B,G,n,3] with straight-through gradients, and the scores if any."""
    if "types" in x:
        types, scores = x["types"].long(), None
    else:
        scores = x["scores"].requires_grad_()
        z = scores + x.get("noise", 0)
        highest = z == z.amax(-1, keepdim=True)
        types = highest.to(torch.uint8).argmax(-1)  # the first among equals
    forced = x["forced"].bool()[:, None].expand_as(types) if "forced" in x else None
    if forced is not None:
        types = types.masked_fill(forced, GLOBAL)
    if p["tokens"] % p["chunk"] != 0:
        types[..., -1] = GLOBAL  # an unfinished chunk counts as GLOBAL
    hard = torch.nn.functional.one_hot(types, 3).double()
    if scores is None:
        return hard.requires_grad_(), None
    y = torch.softmax(z / p["temperature"], -1)
    soft = hard + (y - y.detach())
    return (soft if forced is None else torch.where(forced[..., None], hard, soft)), scores


def relaxed_mask(T, p):
    """Section 5: M [B,G,N,N] of the types T, and what each type makes visible, [3,B,G,N,N]."""
    N, W, C = p["tokens"], p["window"], p["chunk"]
    g, l, w = T.unbind(-1)
    n = T.shape[2]
    chunk = torch.arange(n, device=T.device)
    # Rows of prod (1 - g) over the chunks strictly between b(j) and b(i), each from the one before.
    rows = [torch.ones_like(g)]
    for c in range(1, n):
        rows.append(torch.where(chunk < c - 1, rows[-1] * (1 - g[..., c - 1, None]), 1.0))
    j = torch.arange(N, device=T.device)
    b = j // C
    open_ = torch.stack(rows, -2)[..., b, :][..., b]
    near = (j[:, None] <= (b + 1) * C - 1 + W).double().expand_as(open_)
    causal = (j <= j[:, None]).double()
    each = torch.stack([torch.ones_like(open_), open_, near]) * causal
    M = g[..., None, b] * each[0] + l[..., None, b] * each[1] + w[..., None, b] * each[2]
    return M, each.detach()


def price(T, each, p):
    """Section 7: the price of the types, linear in them: K for each kept pair (i, j) with i > j."""
    kept = each.sum(-2) - 1
    kept = torch.nn.functional.pad(kept, (0, T.shape[2] * p["chunk"] - p["tokens"]))
    kept = kept.unflatten(-1, (T.shape[2], p["chunk"])).sum(-1)
    return p["price"] * (T * kept.movedim(0, -1)).sum()


def solve(p, x):
    """Every gradient of a case, by the names of its truths."""
    B, H, G, N, d = (p[name] for name in ("batch", "queryHeads", "kvHeads", "tokens", "headDim"))
    R = H // G
    q = x["q"].reshape(B, G, R, N, d).requires_grad_()
    k, v = x["k"].requires_grad_(), x["v"].requires_grad_()
    T, scores = choose_types(x, p)
    M, each = relaxed_mask(T, p)
    leaf = M.detach()[:, :, None].expand(B, G, R, N, N).contiguous().requires_grad_()
    S = p["scale"] * (q @ k[:, :, None].mT)
    causal = torch.ones(N, N, dtype=torch.bool, device=q.device).tril()
    S = S.masked_fill(~causal, -torch.inf)
    highest = S.masked_fill(leaf == 0, -torch.inf).amax(-1, keepdim=True).detach()
    E = leaf * torch.exp(S - highest)
    Z = E.sum(-1, keepdim=True)
    out = (E / Z) @ v[:, :, None]
    loss = (out * x["dout"].reshape(B, G, R, N, d)).sum()
    dq, dk, dv, dM = torch.autograd.grad(loss, [q, k, v, leaf])
    if p["rule"] == "bounded":
        lse = highest + torch.log(Z)
        dM = dM * torch.exp(lse - torch.logsumexp(S, -1, keepdim=True))
    dM = dM.sum(2).detach()
    (dT,) = torch.autograd.grad(M, T, dM, retain_graph=True)
    made = {"dv": dv, "dq": dq.reshape(B, H, N, d), "dk": dk}
    made |= {"dw": dT[..., 2], "dl": dT[..., 1], "dg": dT[..., 0]}
    if scores is not None:
        cost = price(T, each, p)
        cotangents = [dM, torch.ones_like(cost)]
        (made["dscores"],) = torch.autograd.grad([M, cost], scores, cotangents)
    return made


def main():
    parser = argparse.ArgumentParser(description="Writes goldens of gradients, by autograd.")
    parser.add_argument(
        "vectors", type=pathlib.Path, help="folder that `natsearch vectors --format npz` wrote"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=HERE.parents[2] / "test/fixtures/goldens/autograd.safetensors",
        help="file to write (default: that of the tests, %(default)s)",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    args = parser.parse_args()
    path = args.vectors / "manifest.json"
    if not path.is_file():
        parser.error(
            f"{path} does not exist: run `npx natsearch vectors --format npz --out {args.vectors}`"
        )
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") != "natsearch-vectors" or manifest.get("version") != 1:
        parser.error(f"{path} is not a manifest of version 1: write it with this natsearch version")
    if manifest["fileFormat"] != "npz":
        parser.error(f"{path} is of {manifest['fileFormat']}: run `natsearch vectors --format npz`")
    cases = {case["name"]: case for case in manifest["cases"]}
    made = {}
    for name in CASES:
        if name not in cases:
            parser.error(f"{path} has no case {name}: write the small suite")
        case = cases[name]
        with np.load(args.vectors / case["file"], allow_pickle=False) as file:
            x = {key: torch.from_numpy(file[key]).to(args.device) for key in case["inputs"]}
        x = {key: each.double() if each.is_floating_point() else each for key, each in x.items()}
        for key, value in solve(case["parameters"], x).items():
            made[f"{name}.{key}"] = value.detach().cpu().numpy()
    cuda = args.device == "cuda"
    about = {
        "made_by": "examples/python/torch_goldens.py",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if cuda else f"cpu ({platform.machine()})",
        "suite": manifest["suite"],
        "seed": str(manifest["seed"]),
        "natsearch": manifest["packageVersion"],
    }
    write_tensors(args.out, made, np.float64, about)
    print(f"{len(CASES)} cases, {len(made)} tensors in {args.out}: {about}", file=sys.stderr)


if __name__ == "__main__":
    main()
