#!/usr/bin/env python3
"""Neural Attention Search in NumPy: dense N x N matrices, written from the paper's equations.

Reads the vectors of `natsearch vectors --format npz`, computes every output in its own way, and
writes them where `natsearch verify` finds them:

    npx natsearch vectors --format npz --out vectors
    python3 numpy_attention.py vectors
    npx natsearch verify vectors --dtype f64

Letters: B batch, H query heads, G KV heads (R = H / G query heads each), N tokens, d head size,
C chunk size, n = ceil(N / C) chunks. `M[i, j]` is true if query i may see key j. Section numbers
refer to docs/algorithm.md.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

GLOBAL, LOCAL, WINDOW = 0, 1, 2


def choose_types(x, tau):
    """Section 6: types [B,G,n] and probabilities y [B,G,n,3], from scores, noise and `forced`."""
    z = x["scores"] + x.get("noise", 0)
    types = z.argmax(-1)  # the first among equals; rounding could make y tie where z does not
    if "forced" in x:
        types = np.where(x["forced"][:, None] == 1, GLOBAL, types)
    e = np.exp((z - z.max(-1, keepdims=True)) / tau)
    return types, e / e.sum(-1, keepdims=True)


class Pairs:
    """Boolean [i, j] matrices of one KV head: the pairs each type makes visible (sections 2, 5)."""

    def __init__(self, types, N, W, C):
        j = np.arange(N)
        self.C, self.chunk = C, j // C
        full = (np.arange(len(types)) + 1) * C <= N
        self.types = np.where(full, types, GLOBAL)  # an unfinished chunk counts as GLOBAL
        globals_before = np.concatenate([[0], np.cumsum(self.types == GLOBAL)])
        i, j = j[:, None], j[None, :]
        self.causal = j <= i
        # Number of GLOBAL chunks strictly between those of j and i: zeros in section 5's product.
        between = globals_before[self.chunk][:, None] - globals_before[self.chunk + 1][None, :]
        self.between = np.where(self.chunk[None, :] < self.chunk[:, None], between, 0)
        self.open = self.causal & (self.between == 0)
        self.near = self.causal & (i <= (self.chunk[None, :] + 1) * C - 1 + W)
        own = self.types[self.chunk]
        self.M = np.where(own == GLOBAL, self.causal, np.where(own == LOCAL, self.open, self.near))

    def per_chunk(self, x):
        """Sums x[..., j] over the tokens of each chunk."""
        return np.add.reduceat(x, np.arange(0, x.shape[-1], self.C), axis=-1)

    def type_gradients(self, dM):
        """Section 5: (dg, dl, dw) [n,3], the derivative of sum(dM * M) through the relaxed mask.

        A product of factors (1 - g) has a non-zero derivative by g_n only if every OTHER factor is
        1: by all of the factors if none is 0, and if exactly one is 0, by that one alone.
        """
        g, l, w = (
            self.per_chunk((dM * pairs).sum(0)) for pairs in (self.causal, self.open, self.near)
        )
        local = dM * (self.causal & (self.types[self.chunk] == LOCAL))
        none, one = (  # [c(j), c(i)]
            self.per_chunk(self.per_chunk(local * (self.between == zeros)).T) for zeros in (0, 1)
        )
        n = len(self.types)
        for c in range(n):
            g[c] -= none[:c, c + 1 :].sum()
            if self.types[c] == GLOBAL:
                previous = np.flatnonzero(self.types[:c] == GLOBAL)
                since = previous[-1] + 1 if len(previous) else 0
                following = np.flatnonzero(self.types[c + 1 :] == GLOBAL)
                until = c + 1 + following[0] if len(following) else n - 1
                g[c] -= one[since:c, c + 1 : until + 1].sum()
        return np.stack([g, l, w], -1)

    def kept(self):
        """Section 7: how many later queries would see each chunk's tokens, for each type: [n,3]."""
        return np.stack(
            [self.per_chunk(p.sum(0) - 1) for p in (self.causal, self.open, self.near)], -1
        )


def without_bad_rows(x):
    """x with its non-finite rows replaced by 0, and which rows those are."""
    bad = ~np.isfinite(x).all(-1)
    return np.where(bad[..., None], 0, x), bad


def log_sum_exp(S, visible):
    S = np.where(visible, S, -np.inf)
    m = S.max(-1, keepdims=True)
    return (m + np.log(np.exp(S - m).sum(-1, keepdims=True)))[..., 0]


def attention(q, k, v, M, scale):
    """Section 3 for one KV head: q [R,N,d], k and v [N,d] -> S and A [R,N,N], out, lse."""
    k, bad_k = without_bad_rows(k)
    v, bad_v = without_bad_rows(v)
    S = scale * (q @ k.T)
    lse = log_sum_exp(S, M)
    A = np.exp(np.where(M, S, -np.inf) - lse[..., None])
    out = A @ v
    sees_bad = (M & (bad_k | bad_v)).any(-1)
    out[:, sees_bad], lse[:, sees_bad] = np.nan, np.nan
    return S, A, out, lse


def gradients(q, k, v, do, pairs, S, A, out, lse, scale, rule):
    """Section 4 for one KV head: dq, dk, dv, and dM [N,N] summed over the query heads."""
    dP = do @ v.T - (do * out).sum(-1, keepdims=True)
    dS = scale * A * dP
    n = lse if rule == "exact" else log_sum_exp(S, pairs.causal)
    dM = np.exp(np.where(pairs.causal, S, -np.inf) - n[..., None]) * dP
    return dS @ k, (dS.swapaxes(1, 2) @ q).sum(0), (A.swapaxes(1, 2) @ do).sum(0), dM.sum(0)


def cache_run(q, k, v, types, steps, scale, W, C):
    """Section 8 for one KV head: takes the steps with a cache, and records what happens to it."""
    N = len(k)
    held, last, open_ = np.zeros(0, int), np.full(N, N), np.zeros(N, bool)
    closed_by, evicted_at = np.full(N, -1), np.full(N, -1)
    live, size, out, seen = [], [], [], 0
    for r, T in enumerate(steps):
        held = np.append(held, np.arange(seen, seen + T))
        for c in range(seen // C, (seen + T) // C):  # this step completes it: its type now applies
            chunk, end = slice(c * C, (c + 1) * C), (c + 1) * C - 1
            if types[c] == GLOBAL:
                last[open_] = closed_by[open_] = end
                open_[:] = False
            elif types[c] == LOCAL:
                open_[chunk] = True
            else:
                last[chunk] = end + W
        i = np.arange(seen, seen + T)[:, None]
        M = (held <= i) & (i <= last[held])
        out.append(attention(q[:, seen : seen + T], k[held], v[held], M, scale)[2])
        seen += T
        dead = last[held] < seen
        evicted_at[held[dead]] = r
        held = held[~dead]
        live.append(np.isin(np.arange(N), held))
        size.append(k[held].nbytes + v[held].nbytes)
    return {
        "cache_closed_by": closed_by,
        "cache_evicted_at": evicted_at,
        "cache_live": np.stack(live),
        "cache_bytes": np.array(size),
        "cache_out": np.concatenate(out, 1),
    }


def solve(p, x):
    """Computes every output of a case from its parameters and inputs."""
    B, H, G, N, W, C = (
        p[name] for name in ("batch", "queryHeads", "kvHeads", "tokens", "window", "chunk")
    )
    R, scale = H // G, p["scale"]
    out = {}
    types = x.get("types")
    if types is None:
        types, y = choose_types(x, p["temperature"])
        out["types"] = types
    heads = []
    for b in range(B):
        for g in range(G):
            q, k, v = x["q"][b, g * R : (g + 1) * R], x["k"][b, g], x["v"][b, g]
            pairs = Pairs(types[b, g], N, W, C)
            S, A, o, lse = attention(q, k, v, pairs.M, scale)
            # One range of queries sees a key, so the last of them in the mask is its lifetime.
            head = {"mask": pairs.M, "last": N - 1 - pairs.M[::-1].argmax(0), "out": o, "lse": lse}
            if "dout" in x:
                do = x["dout"][b, g * R : (g + 1) * R]
                head["dq"], head["dk"], head["dv"], dM = gradients(
                    q, k, v, do, pairs, S, A, o, lse, scale, p["rule"]
                )
                head["dm_rows"] = dM.sum(1)
                head["dTypes"], head["kept"] = pairs.type_gradients(dM), pairs.kept()
            if p["steps"]:
                head.update(cache_run(q, k, v, types[b, g], p["steps"], scale, W, C))
            heads.append(head)
    for name in heads[0]:
        every = np.stack([head[name] for head in heads])
        every = every.reshape(B, G, *every.shape[1:])
        if name in ("out", "lse", "dq", "cache_out"):
            every = every.reshape(B, H, *every.shape[3:])  # the query heads of a group are adjacent
        if name in ("cache_live", "cache_bytes"):
            every = np.moveaxis(every, 2, 0)  # the steps come first
        out[name] = every
    if "dTypes" in out:
        dt, kept = out.pop("dTypes"), out.pop("kept")
        out["dg"], out["dl"], out["dw"] = np.moveaxis(dt, -1, 0)
        if "scores" in x:
            dt = dt + p["price"] * kept
            out["dscores"] = y * (dt - (y * dt).sum(-1, keepdims=True)) / p["temperature"]
            if "forced" in x:
                out["dscores"][np.broadcast_to(x["forced"][:, None] == 1, types.shape)] = 0
    if N > 300:
        del out["mask"]  # such cases have none
    return out


def stored(value, dtype):
    if value.dtype == bool:
        return value.astype(np.uint8)
    return value.astype(dtype if value.dtype.kind == "f" else np.int32)


def main():
    parser = argparse.ArgumentParser(
        description="Computes the outputs of natsearch's vectors with NumPy."
    )
    parser.add_argument(
        "vectors", type=pathlib.Path, help="folder that `natsearch vectors --format npz` wrote"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, help="folder for the outputs (default: VECTORS/outputs)"
    )
    parser.add_argument(
        "--case", action="append", metavar="NAME", help="only this case; may be repeated"
    )
    parser.add_argument(
        "--dtype",
        choices=["float64", "float32"],
        default="float64",
        help="dtype of arithmetic, outputs and cache",
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
        parser.error(
            f"{args.vectors} holds {manifest['fileFormat']}: run `natsearch vectors --format npz`"
        )
    unknown = set(args.case or []) - {case["name"] for case in manifest["cases"]}
    if unknown:
        parser.error(f"{path} has no case {', '.join(sorted(unknown))}")
    out = args.out or args.vectors / "outputs"
    out.mkdir(parents=True, exist_ok=True)
    cases = [case for case in manifest["cases"] if not args.case or case["name"] in args.case]
    for case in cases:
        with np.load(args.vectors / case["file"], allow_pickle=False) as file:
            inputs = {name: file[name] for name in case["inputs"]}
        inputs = {
            name: x.astype(args.dtype) if x.dtype.kind == "f" else x for name, x in inputs.items()
        }
        with np.errstate(over="raise", divide="raise"):
            outputs = solve(case["parameters"], inputs)
        np.savez(
            out / f"{case['name']}.npz",
            **{name: stored(x, args.dtype) for name, x in outputs.items()},
        )
    print(f"{len(cases)} cases in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
