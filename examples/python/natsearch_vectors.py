"""Reads the vectors of `natsearch vectors` with NumPy alone, in the layouts that kernels take.

    for case in cases("vectors"):                       # natsearch vectors --format npz --out vectors
        x = case.inputs()                               # q, dout [B,H,N,d], k, v [B,G,N,d], types [B,G,n], ...
        case.save(out=out, lse=lse)                     # then: natsearch verify vectors

`tokens_first` gives [B,N,H,d]. `pack` lays cases of equal heads behind one another, as kernels for
sequences of variable length want them (cu_seqlens), and `unpack` takes the outputs apart again.
`paged` cuts keys and values into pages of a pool, in a shuffled order, with the table that finds
them. The truths stay the same: a layout moves numbers and changes none.
"""

import json
import pathlib

import numpy as np

GLOBAL, LOCAL, WINDOW = 0, 1, 2
FOREVER = 2147483647


class Case:
    """One case of a folder: its parameters, inputs and truths."""

    def __init__(self, folder, entry):
        self.folder, self.entry = pathlib.Path(folder), entry
        self.name, self.why, self.parameters = entry["name"], entry["why"], entry["parameters"]

    def _arrays(self):
        path = self.folder / self.entry["file"]
        if path.suffix != ".npz":
            raise ValueError(f"{path} is not .npz: natsearch vectors --format npz")
        return dict(np.load(path))

    def inputs(self):
        return {name: x for name, x in self._arrays().items() if not name.startswith("expected.")}

    def expected(self):
        prefix = "expected."
        return {n[len(prefix) :]: x for n, x in self._arrays().items() if n.startswith(prefix)}

    @property
    def has_gradients(self):
        return "dout" in self.entry["inputs"]

    @property
    def last(self):
        """The last query that may see each token, [B,G,N] (section 2)."""
        return self.expected()["last"]

    @property
    def visible(self):
        """Whether query i of a KV head sees key j, [B,G,N,N]."""
        i = np.arange(self.parameters["tokens"])
        causal = i[:, None] >= i[None, :]
        return causal & (self.last[:, :, None, :] >= i[:, None])

    def save(self, folder=None, **outputs):
        """Writes a kernel's outputs where `natsearch verify` finds them."""
        home = pathlib.Path(folder or self.folder / "outputs")
        home.mkdir(parents=True, exist_ok=True)
        np.savez(home / f"{self.name}.npz", **{n: np.asarray(x) for n, x in outputs.items()})


def cases(folder, only=None):
    """The cases of a folder, in order; `only` is a function of a case."""
    manifest = json.loads((pathlib.Path(folder) / "manifest.json").read_text())
    if not manifest["complete"]:
        raise ValueError(f"{folder} is incomplete: run natsearch vectors again")
    every = (Case(folder, entry) for entry in manifest["cases"])
    return [case for case in every if only is None or only(case)]


def tokens_first(x):
    """[B,H,N,...] as [B,N,H,...], and back."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2))


def alike(many):
    """Groups of cases that one call can take packed: equal heads, d, window, chunk and scale."""
    keys = ("queryHeads", "kvHeads", "headDim", "window", "chunk", "scale")
    groups = {}
    for case in many:
        groups.setdefault(tuple(case.parameters[key] for key in keys), []).append(case)
    return list(groups.values())


def pack(many):
    """Sequences behind one another: (q, k, v, last, dout) by [total, heads, ...], and cu_seqlens.

    `last` counts from the beginning of its own sequence. `dout` is 0 where a case has no gradients.
    """
    parts = {name: [] for name in ("q", "k", "v", "last", "dout")}
    lengths = []
    for case in many:
        x = case.inputs() | {"last": case.last}
        x.setdefault("dout", np.zeros_like(x["q"]))
        for b in range(case.parameters["batch"]):
            lengths.append(case.parameters["tokens"])
            for name, part in parts.items():
                part.append(np.swapaxes(x[name][b], 0, 1))
    packed = {name: np.concatenate(part) for name, part in parts.items()}
    return packed, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def unpack(many, cu_seqlens, **outputs):
    """What each case may save, from outputs by [total, heads, ...]."""
    at = 0
    for case in many:
        B = case.parameters["batch"]
        spans = [slice(cu_seqlens[at + b], cu_seqlens[at + b + 1]) for b in range(B)]
        at += B
        yield case, {
            name: np.stack([np.swapaxes(x[span], 0, 1) for span in spans])
            for name, x in outputs.items()
        }


def paged(case, page=16, seed=0):
    """(k_pool, v_pool) [pages, page, G, d] and a table [B, pages of a sequence] into them.

    The pool has more pages than are used, in a shuffled order, and NaN where nothing belongs.
    """
    x, N = case.inputs(), case.parameters["tokens"]
    B, each = case.parameters["batch"], -(-N // page)
    order = np.random.default_rng(seed).permutation(B * each + 2)
    table = order[: B * each].reshape(B, each).astype(np.int32)
    pools = []
    for name in "kv":
        G, d = x[name].shape[1], x[name].shape[3]
        pool = np.full((len(order), page, G, d), np.nan, x[name].dtype)
        for b in range(B):
            for n, at in enumerate(table[b]):
                rows = x[name][b, :, n * page : (n + 1) * page]
                pool[at, : rows.shape[1]] = np.swapaxes(rows, 0, 1)
        pools.append(pool)
    return pools[0], pools[1], table


def padded(x, multiple):
    """x [..., d] with zeros up to the next multiple of d. Scores do not change, as 0 adds nothing.

    Pass the scale of the case: 1 / sqrt of the padded d would be wrong. Cut the outputs to d again.
    """
    rest = -x.shape[-1] % multiple
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rest)])
