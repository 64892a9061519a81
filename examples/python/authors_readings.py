"""Shows why the authors' kernels differ from the truths: computes what their files are read to do, and compares.

    python3 authors_readings.py vectors outputs bf16        # after authors_kernels.py; needs NumPy alone

Each line has a reading of their code, a case, and the largest differences of the kernel's numbers from
the truth and from the reading, as parts of the largest number. A reading is right where the second is a
rounding and the first is not.
"""

import pathlib
import sys

import numpy as np

import natsearch_vectors as vectors

LOG2E = 1.4426950408889634


def rounded(x, dtype):
    """To the nearest number of 16 bits, as float64."""
    if dtype == "f16":
        return x.astype(np.float16).astype(np.float64)
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


class Head:
    """One query head of batch 0 of a case, and its KV head; float64."""

    def __init__(self, folder, outputs, kernel, dtype, name, h=0):
        case = next(c for c in vectors.cases(folder) if c.name == name)
        p, x, truth = case.parameters, case.inputs(), case.expected()
        g = h // (p["queryHeads"] // p["kvHeads"])
        self.q, self.dout = x["q"][0, h], x["dout"][0, h]
        self.k, self.v = x["k"][0, g], x["v"][0, g]
        self.types = (x["types"] if "types" in x else truth["types"])[0, g]
        self.N, self.C, self.W, self.scale, self.dtype = p["tokens"], p["chunk"], p["window"], p["scale"], dtype
        self.seen, self.causal = case.visible[0, g], np.tri(self.N, dtype=bool)
        at = {"out": h, "lse": h, "dq": h}
        made = dict(np.load(f"{outputs}/{kernel}-{dtype}/{name}.npz"))
        self.truth = {n: t[0, at.get(n, g)].astype(np.float64) for n, t in truth.items() if n in made}
        self.made = {n: t[0, at.get(n, g)].astype(np.float64) for n, t in made.items()}
        n, j = len(self.types), np.arange(len(self.types))
        self.ends = np.minimum.accumulate(np.where(self.types == 0, j, n - 1)[::-1])[::-1]
        self.S = self.scale * self.q @ self.k.T
        self.lse, self.out = self.truth["lse"], self.truth["out"]

    def dM(self, weight):
        return weight * (self.dout @ self.v.T - (self.dout * self.out).sum(-1, keepdims=True)) * self.causal

    def attend(self, seen):
        """(out, P) where queries see these keys."""
        E = np.where(seen, np.exp(self.S - np.where(seen, self.S, -np.inf).max(-1, keepdims=True)), 0)
        P = E / E.sum(-1, keepdims=True)
        return P @ self.v, P

    def windows(self, block, square=None):
        """The pairs of a window that counts from the start of a block of keys, in diagonal squares of rows if given."""
        i, j = np.arange(self.N)[:, None], np.arange(self.N)[None, :]
        late = self.causal & (i <= j // block * block + self.W + self.C - 1)
        if square:
            late &= i // square == j // square
        return self.seen | (late & (self.types[j // self.C] == 2))

    def say(self, reading, name, tensor, predicted):
        made, truth = self.made[tensor], self.truth[tensor]
        size = np.abs(truth).max()
        off = [np.abs(made - x).max() / size for x in (truth, predicted)]
        print(f"{reading}: {tensor} of {name} differs by {off[0]:.1e} from the truth, by {off[1]:.1e} from this reading")


def main(folder, outputs, dtype):
    def head(kernel, name, h=0):
        return Head(folder, outputs, kernel, dtype, name, h)

    for kernel in ("token", "chunk"):
        x = head(kernel, "near-sharp")
        k = rounded(x.k * x.scale * LOG2E, dtype)
        P = np.where(x.seen, np.exp2(x.q @ k.T - x.lse[:, None] * LOG2E), 0)
        P = P if kernel == "token" else np.minimum(P, 1)
        x.say(f"{kernel}: k * scale * log2(e) in 16 bits in the backward", "near-sharp", "dv", P.T @ x.dout)
    for name in ("near-512", "long-locals", "one-passage"):
        x = head("token", name)
        nu = np.log(np.where(x.causal, np.exp(x.S), 0).sum(-1))
        dM, dl, i = x.dM(np.exp(x.S - nu[:, None])), np.zeros(x.N), np.arange(x.N)
        for first in range(0, x.N, 128):
            least = x.ends[first : first + 128].min()
            rows = (i >= first) & (i < first + 128) & (least >= first + 15) | (i >= first + 128) & (least >= first + 159)
            for j in range(first, first + 128):
                dl[j] = dM[rows & (i <= x.ends[j]), j].sum()
        x.say("token: dl of a block of 128 keys if the least end lies beyond its first rows", name, "dl", dl)
    for name in ("one-passage", "long-locals"):
        x = head("chunk", name)
        dM, dl = x.dM(np.minimum(1, np.exp(x.S - x.lse[:, None]))), np.zeros(x.N)
        for first in range(0, x.N, 128):
            j, after = np.arange(first, first + 128), first + 128
            ends = np.where(x.ends[j] == j, x.N, j + x.W + 1)
            last = np.where(x.types[j] == 1, np.maximum(x.ends[j] + 1, after + x.W), ends).max()
            steps = -(-(last - after) // 32)
            rows = [*range(first, min(after + 32 * steps, x.N)), *range(after + 16 * steps, x.N)]
            for n in j:
                dl[n] = sum(dM[row, n] for row in rows if row <= x.ends[n])
        x.say("chunk: rows of the second stage counted again in the third, P at most 1", name, "dl", dl)
    for name in ("near-256", "exact-256"):
        x = head("chunk", name)
        i, j = np.arange(x.N)[:, None], np.arange(x.N)[None, :]
        dM = x.dM(np.minimum(1, np.exp(x.S - x.lse[:, None])))
        x.say("chunk: P at most 1 over the visible keys' sum", name, "dw", (dM * (i <= j + x.W)).sum(0))
    for C in (16, 32):
        dw = 0
        for x in (head("chunk", f"chunk-{C}-flat", h) for h in range(2)):  # the query heads of KV head 0
            pairs = x.dM(np.exp(x.S - x.lse[:, None])) * (np.arange(x.N)[:, None] <= np.arange(x.N) // C * C + C - 1 + x.W)
            dw += np.add.reduceat(pairs.sum(0), np.arange(0, x.N, C)) / C
        x.say(f"chunk: the mean over the C = {C} tokens of a chunk, not their sum", f"chunk-{C}-flat", "dw", dw)
    for C in (64, 128):
        x = head("chunk", f"chunk-{C}-windows")
        x.say(f"chunk: windows of C = {C} count from blocks of 32", f"chunk-{C}-windows", "out", x.attend(x.windows(32))[0])
    x = head("chunk", "chunk-32-windows", 2)
    late, P = x.windows(16, square=128), np.exp(x.S - x.lse[:, None])
    x.say("chunk: windows of C = 32 count from blocks of 16 on the diagonal", "chunk-32-windows", "dq", x.scale * x.dM(P * late) @ x.k)
    for kernel in ("token", "chunk"):
        gaps = []
        for name in ("falling-4", "falling-8", "falling-16", "falling-32", "falling-64", "falling-128", "near-sharp"):
            x = head(kernel, name)
            gap = np.where(x.causal, x.S, -np.inf).max(-1) - np.where(x.seen, x.S, -np.inf).max(-1)
            off = np.abs(x.made["out"] - x.truth["out"]).max(-1) / np.abs(x.truth["out"]).max()
            gaps += zip(gap, np.where(np.isnan(off), np.inf, off))
        nan = min((gap for gap, error in gaps if error == np.inf), default=np.inf)
        gaps, limit = sorted(gaps), 2.0 ** (-6 if dtype == "bf16" else -9)
        off = [gap for gap, error in gaps if error > limit]
        said = f"{len(off)}, with the hidden maximum {off[0]:.1f} nats or more above the visible one" if off else "none"
        print(f"{kernel}: rows of out further off than {limit} of the largest number, of {len(gaps)}, up to {gaps[-1][0]:.0f} nats: {said}; NaN from {nan:.1f} on")
    files = sorted(pathlib.Path(f"{outputs}/token-{dtype}").glob("*.npz"))
    print(f"token: dl is 0 for every token in {sum(not np.load(file)['dl'].any() for file in files)} of {len(files)} cases")


if __name__ == "__main__":
    main(*sys.argv[1:])
