"""A pytest for your kernel: one test per case of `natsearch vectors`, one per layout of the inputs.

    npx natsearch vectors --format npz --out vectors
    NATSEARCH_VECTORS=vectors pytest test_kernel.py -q

Replace `attention` by your kernel: the one here is NumPy, so that this file runs anywhere. The
kernel runs on every case first, and `natsearch verify --json` judges all of them in one process, so
that a failing test shows the diagnosis of its case. NATSEARCH names the command (npx natsearch).
"""

import json
import os
import shlex
import subprocess

import numpy as np
import pytest

import natsearch_vectors as vectors

HOME = os.environ.get("NATSEARCH_VECTORS", "vectors")
COMMAND = shlex.split(os.environ.get("NATSEARCH", "npx natsearch"))
CASES = vectors.cases(HOME)


def attention(q, k, v, last, scale):
    """Yours: out and lse of one sequence, from q [H,N,d], k, v [G,N,d] and last [G,N]."""
    H, N, _ = q.shape
    R = H // k.shape[0]
    i = np.arange(N)
    out, lse = np.zeros_like(q), np.zeros(q.shape[:2])
    for h in range(H):
        seen = (i[:, None] >= i[None, :]) & (last[h // R][None, :] >= i[:, None])
        for row in range(N):  # hidden keys may hold NaN, so they are left out and not multiplied by 0
            keys = np.flatnonzero(seen[row])
            S = scale * (k[h // R][keys] @ q[h, row])
            E = np.exp(S - S.max())
            out[h, row] = E @ v[h // R][keys] / E.sum()
            lse[h, row] = S.max() + np.log(E.sum())
    return out, lse


def run_batch(case):
    x, last, scale = case.inputs(), case.last, case.parameters["scale"]
    made = [attention(x["q"][b], x["k"][b], x["v"][b], last[b], scale) for b in range(len(last))]
    return {"out": np.stack([out for out, _ in made]), "lse": np.stack([lse for _, lse in made])}


def run_paged(case, page=16):
    """Keys and values from a pool of pages: a kernel for a paged cache reads them by the table."""
    k_pool, v_pool, table = vectors.paged(case, page)
    q, N, scale = case.inputs()["q"], case.parameters["tokens"], case.parameters["scale"]
    made = []
    for b, pages in enumerate(table):
        k, v = (np.swapaxes(pool[pages].reshape(-1, *pool.shape[2:])[:N], 0, 1) for pool in (k_pool, v_pool))
        made.append(attention(q[b], k, v, case.last[b], scale))
    return {"out": np.stack([out for out, _ in made]), "lse": np.stack([lse for _, lse in made])}


def run_packed(many):
    """Sequences of several lengths behind one another: a kernel finds them by cu_seqlens."""
    x, cu = vectors.pack(many)
    out, lse = np.zeros_like(x["q"]), np.zeros(x["q"].shape[:2])
    for start, end in zip(cu, cu[1:]):
        q, k, v, last = (np.swapaxes(x[name][start:end], 0, 1) for name in ("q", "k", "v", "last"))
        o, l = attention(q, k, v, last, many[0].parameters["scale"])
        out[start:end], lse[start:end] = np.swapaxes(o, 0, 1), np.swapaxes(l, 0, 1)
    return vectors.unpack(many, cu, out=out, lse=lse)


def verify(folder):
    """The report of every case, by its name."""
    command = [*COMMAND, "verify", str(folder), "--vectors", HOME, "--tensors", "forward", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return {report["case"]: report for report in json.loads(done.stdout)["reports"]}


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    home = tmp_path_factory.mktemp("outputs")
    for case in CASES:
        case.save(home / "batch", **run_batch(case))
        case.save(home / "paged", **run_paged(case))
    for many in vectors.alike(CASES):
        for case, outputs in run_packed(many):
            case.save(home / "packed", **outputs)
    return {layout: verify(home / layout) for layout in ("batch", "paged", "packed")}


@pytest.mark.parametrize("layout", ["batch", "paged", "packed"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernel(case, layout, reports):
    report = reports[layout][case.name]
    if report["pass"]:
        return
    diagnosis = report.get("diagnosis", {})
    where = ", ".join(diagnosis.get("where", []))
    pytest.fail(f"{case.why}\n{diagnosis.get('words', report)}\nfails {where or 'everywhere'}", pytrace=False)
