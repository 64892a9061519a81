"""Runs the Triton kernels of the authors of Neural Attention Search over the vectors.

    git clone https://github.com/automl/NeuralAttentionSearch && git -C NeuralAttentionSearch checkout d6be630
    python3 authors_cases.py > cases.json
    npx natsearch vectors --recipes cases.json --format npz --out vectors
    python3 authors_kernels.py vectors --repo NeuralAttentionSearch --out outputs    # PyTorch 2.11, Triton 3.6, a GPU
    for each in outputs/*; do                                                        # such as outputs/token-bf16
        npx natsearch verify $each --vectors vectors --dtype ${each##*-} --tensors forward,backward,dg,dl,dw \\
            --only $(ls $each | sed 's/.npz//' | paste -sd,)
    done

The same with the vectors of `--suite tiles --only tiles-128-d32,tiles-256-d64,tiles-384-d128,tiles-512-d64`
and `--tensors forward,backward`, as those have gradients of the types by the rule `exact`.

`token` is flashattention_mask_on_chip.py, `chunk` is nats_chunk_attention.py, and `dense` is a masked
softmax with autograd in PyTorch through the same steps, so that a mistake of this script shows. The
files are read from the clone and never written: PATCHES and `ready` say all that is changed to run them.
Each is compiled for every window, group size, d, chunk size and dtype, one process for each. `probe`
runs parts as they are published, and prints what happens.
"""

import argparse
import importlib.util
import multiprocessing
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np
import torch

import natsearch_vectors as vectors
from numpy_attention import Pairs

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
FOLDER = "src/nats/models/transformer/triton"
FILES = {"token": "flashattention_mask_on_chip.py", "chunk": "nats_chunk_attention.py"}
LN2 = 0.6931471805599453

CONSTANT = "fp16_dtype = tl.float16 if fp_16_type == 'float16' else tl.bfloat16"
# (why, what stands in the file, what replaces it); {type} is Triton's name of the dtype.
PATCHES = (
    ("the rest of the package is not needed", "from nats.utils import check_fp16_dtype\n", ""),
    ("nor is einops", "from einops import reduce, repeat, rearrange\n", ""),
    ("the dtype is that of the case", "fp_16_type = check_fp16_dtype()", "fp_16_type = '{type}'"),
    ("some Tritons let kernels read constants alone, 3.6 does not mind", CONSTANT, "fp16_dtype = tl.constexpr(tl.{type})"),
)
# Used only where Triton refuses the file without it.
COMMA = (
    "a mask of the backward is in a tuple of one",
    "(offs_m[:, None] <= offs_n[None, :] + LOCAL_SEQ_MAX_LEN),\n",
    "(offs_m[:, None] <= offs_n[None, :] + LOCAL_SEQ_MAX_LEN)\n",
)


def load(args, kernel, dtype, patches):
    """The authors' file as a module, after the patches."""
    source = (pathlib.Path(args.repo) / FOLDER / FILES[kernel]).read_text(encoding="utf-8")
    for _, old, new in patches:
        source = source.replace(old, new.format(type={"f16": "float16", "bf16": "bfloat16"}[dtype]))
    path = pathlib.Path(tempfile.mkdtemp()) / FILES[kernel]  # Triton reads the source of a kernel from a file
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ready(module, d):
    """Leaves each autotuner one configuration, and replaces `_shift_end_seqs_idx` by what its docstring says."""
    fitting = [c for c in module._attn_fwd.configs if c.kwargs.get("BLOCK_N", 0) <= d]
    module._attn_fwd.configs = (fitting or module._attn_fwd.configs)[:1]
    module._attn_bwd.configs = [c for c in module._attn_bwd.configs if c.num_warps == 8][:1]
    module._shift_end_seqs_idx = Shift()
    return module


def shifted(ends):
    """(lower, upper) for ends [..., n], as the docstring of `_shift_end_seqs_idx` says."""
    last = np.full_like(ends[..., :1], ends.shape[-1] - 1)
    lower, upper = np.concatenate([ends[..., 1:], last], -1), np.empty_like(ends)
    for at in np.ndindex(ends.shape[:-1]):
        values = np.unique(ends[at])
        upper[at] = values[np.minimum(np.searchsorted(values, ends[at], "right"), len(values) - 1)]
    return lower, upper


class Shift:
    def __getitem__(self, grid):
        def run(ends, lower, upper, *rest, **options):
            for target, x in zip((lower, upper), shifted(ends.cpu().numpy())):
                target.copy_(torch.from_numpy(x))

        return run


def types_of(case):
    """Types [B,G,n] of the chunks; their kernels take whole chunks alone."""
    x = case.inputs()
    return x["types"] if "types" in x else case.expected()["types"]


def ends_of(types):
    """What their kernels take for e: the next GLOBAL chunk, itself if GLOBAL, the last one if none follows."""
    n = types.shape[-1]
    own = np.where(types == vectors.GLOBAL, np.arange(n), n - 1)
    return np.minimum.accumulate(own[..., ::-1], -1)[..., ::-1].astype(np.int64)


def tensors(case, dtype, device):
    names = ("q", "k", "v", "dout") if case.has_gradients else ("q", "k", "v")
    x = case.inputs()
    return [torch.from_numpy(x[n].astype(np.float32)).to(device, DTYPES[dtype]) for n in names]


def run_triton(kernel, module, case, dtype, device):
    """The outputs of one case by name."""
    p, types = case.parameters, types_of(case)
    q, k, v, dout = tensors(case, dtype, device)
    chosen = torch.from_numpy(np.eye(3, dtype=np.float32)[types]).to(device, DTYPES[dtype])
    ends = torch.from_numpy(ends_of(types)).to(device)
    given = [t.requires_grad_() for t in (q, k, v, chosen)]
    options = {"n_rep": p["queryHeads"] // p["kvHeads"], "local_seq_max_length": p["window"]}
    if kernel == "token":
        out = module.nats_attention(*given, ends, True, p["scale"], **options)
    else:
        out = module.nats_chunk_attention(*given, ends, True, p["scale"], p["chunk"], **options)
    made = {"out": out, "lse": out.grad_fn.saved_tensors[6].clone() * LN2}  # theirs is in powers of 2
    dq, dk, dv, d_types = torch.autograd.grad(out, given, dout)
    return made | {"dq": dq, "dk": dk, "dv": dv} | dict(zip(("dg", "dl", "dw"), d_types.unbind(-1)))


def run_dense(case, dtype, device):
    """The same outputs from a masked softmax; the gradient of the types is section 5 of docs/algorithm.md."""
    p, types = case.parameters, types_of(case)
    q, k, v, dout = tensors(case, dtype, device)
    N, R = p["tokens"], p["queryHeads"] // p["kvHeads"]
    pairs = [[Pairs(head, N, p["window"], p["chunk"]) for head in heads] for heads in types]
    mask = torch.from_numpy(np.stack([[pair.M for pair in heads] for heads in pairs])).to(device)
    mask, causal = mask.repeat_interleave(R, 1), torch.ones(N, N, dtype=torch.bool, device=device).tril()
    given = [t.requires_grad_() for t in (q, k, v)]
    key, value = (t.repeat_interleave(R, 1) for t in given[1:])
    S = q.float() @ key.float().transpose(-1, -2) * p["scale"]
    lse = S.masked_fill(~mask, -torch.inf).logsumexp(-1)
    out = torch.softmax(S.masked_fill(~mask, -torch.inf), -1).to(v.dtype) @ value
    made = {"out": out, "lse": lse}
    dq, dk, dv = torch.autograd.grad(out, given, dout)
    with torch.no_grad():
        hidden = S.masked_fill(~causal, -torch.inf)
        weight = torch.exp(hidden - (lse if p["rule"] == "exact" else hidden.logsumexp(-1))[..., None])
        D = (dout.float() * out.float()).sum(-1, keepdim=True)
        dM = weight * (dout.float() @ value.float().transpose(-1, -2) - D)
        dM = dM.unflatten(1, (-1, R)).sum(2).double().cpu().numpy()
    d_types = [[pair.type_gradients(x) for pair, x in zip(*heads)] for heads in zip(pairs, dM)]
    dg, dl, dw = torch.from_numpy(np.array(d_types)).unbind(-1)
    return made | {"dq": dq, "dk": dk, "dv": dv, "dg": dg, "dl": dl, "dw": dw}


class Kernel:
    """One file, loaded once for a dtype and d."""

    def __init__(self, args, kernel, dtype, d):
        self.args, self.kernel, self.dtype, self.d, self.notes = args, kernel, dtype, d, []
        self.module = ready(load(args, kernel, dtype, PATCHES), d)

    def run(self, case):
        given = (case, self.dtype, self.args.device)
        try:
            return run_triton(self.kernel, self.module, *given)
        except Exception as error:
            other = ready(load(self.args, self.kernel, self.dtype, (*PATCHES, COMMA)), self.d)
            made = run_triton(self.kernel, other, *given)  # else what it says now counts
            self.module = other
            self.notes.append(f"{COMMA[0]}, without which it runs ({refusal(error)})")
            return made


def refusal(error):
    """The last lines of what Triton or Python says, in one."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' / '.join(said[-2:])[:300]}"


def work(args, kernel, dtype, cases, deadline):
    """One process: one kernel, compiled once."""
    warnings.filterwarnings("ignore", message=".*tl.where with a non-boolean condition.*")
    begin, done, loaded, notes = time.time(), 0, None, []
    for case in cases:
        if time.time() > deadline:
            notes.append(f"out of time before {case.name}")
            break
        try:
            if kernel == "dense":
                made = run_dense(case, dtype, args.device)
            else:
                loaded = loaded or Kernel(args, kernel, dtype, case.parameters["headDim"])
                made = loaded.run(case)
        except Exception as error:  # of any kind: that a kernel does not run is a result
            notes.append(f"{case.name} does not run: {refusal(error)}")
            continue
        stored = np.float16 if dtype == "f16" else np.float32
        made = {n: t.detach().float().cpu().numpy().astype(np.float32 if n == "lse" else stored) for n, t in made.items()}
        case.save(pathlib.Path(args.out) / f"{kernel}-{dtype}", **made)
        done += 1
    p = cases[0].parameters
    of = "" if kernel == "dense" else f" W={p['window']} R={p['queryHeads'] // p['kvHeads']} d={p['headDim']} C={p['chunk']}"
    print(f"{kernel} {dtype}{of}: {done} of {len(cases)} cases, {time.time() - begin:.0f} s", *notes, *(loaded.notes if loaded else ()), sep="; ", flush=True)


def probe(args):
    """What happens without the changes that are more than names: the last of PATCHES and COMMA, and Shift."""
    print(f"on {torch.cuda.get_device_name()}", flush=True)
    case = vectors.cases(args.vectors[0], lambda c: c.parameters["chunk"] == 1 and c.parameters["headDim"] == 64)[0]
    for kernel in FILES:
        module = ready(load(args, kernel, "bf16", PATCHES[:-1]), 64)
        try:
            run_triton(kernel, module, case, "bf16", args.device)
            print(f"probe {kernel}: runs with its dtype as published", flush=True)
        except Exception as error:
            print(f"probe {kernel}, its dtype as published: {refusal(error)}", flush=True)
    for kernel in FILES:
        for heads, n in ((2, 256), (6, 64)):
            shift = load(args, kernel, "bf16", PATCHES)._shift_end_seqs_idx
            shift.configs = shift.configs[:1]
            types = np.random.default_rng(n).integers(0, 3, (1, heads, n))
            ends = torch.from_numpy(ends_of(types)).to(args.device)
            whole = torch.full((2, 1, 64 + heads, n), -7, device=args.device)  # more rows than there are heads
            lower, upper = whole[0, :, :heads], whole[1, :, :heads]
            rows = shift.configs[0].kwargs["BLOCK_M"]
            try:
                shift[(-(-heads // rows),)](ends, lower, upper, *ends.stride(), 1, heads, n, BLOCK_N=n)
                right = [int((got.cpu().numpy() == x).sum()) for got, x in zip((lower, upper), shifted(ends.cpu().numpy()))]
                beyond = int((whole[:, :, heads:] != -7).sum())
                print(f"probe {kernel} _shift_end_seqs_idx, {heads} heads of {n}, {rows} rows a block: of {heads * n}, "
                      f"{right} are as its docstring says (lower, upper); {beyond} written beyond the heads", flush=True)
            except Exception as error:
                print(f"probe {kernel} _shift_end_seqs_idx: {refusal(error)}", flush=True)


def tasks(args):
    """(kernel, dtype, cases): one for each kernel that is compiled."""
    many = [c for folder in args.vectors for c in vectors.cases(folder, lambda c: c.has_gradients)]
    many = [c for c in many if c.parameters["tokens"] % 128 == 0 and c.parameters["tokens"] % c.parameters["chunk"] == 0]
    for dtype in args.dtypes.split(","):
        for kernel in args.kernels.split(","):
            groups = {}
            for case in many:
                p = case.parameters
                if kernel == "token" and p["chunk"] > 1:
                    continue
                key = (p["window"], p["queryHeads"] // p["kvHeads"], p["headDim"], p["chunk"])
                groups.setdefault(() if kernel == "dense" else key, []).append(case)
            yield from ((kernel, dtype, group) for group in groups.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", nargs="+")
    parser.add_argument("--repo", required=True, help="a clone of automl/NeuralAttentionSearch")
    parser.add_argument("--out", default="outputs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--kernels", default="token,chunk,dense")
    parser.add_argument("--dtypes", default="bf16,f16")
    parser.add_argument("--jobs", type=int, default=4, help="kernels compiled at a time")
    parser.add_argument("--seconds", type=float, default=600, help="leave out cases after this time")
    args = parser.parse_args()
    torch.set_float32_matmul_precision("highest")
    said = [f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, NumPy {np.__version__}"]
    if {"token", "chunk"} & set(args.kernels.split(",")):
        import triton

        said.append(f"Triton {triton.__version__}")
    print(", ".join(said), flush=True)
    fork = multiprocessing.get_context("fork")  # PyTorch is loaded once, and no process has touched the GPU yet
    deadline = time.time() + args.seconds
    waiting = [(work, (args, *task, deadline)) for task in tasks(args)]
    if args.device == "cuda":
        waiting.insert(0, (probe, (args,)))
    running = []
    while waiting or running:
        running = [each for each in running if each.is_alive()]
        while waiting and len(running) < args.jobs:
            target, given = waiting.pop(0)
            running.append(fork.Process(target=target, args=given))
            running[-1].start()
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
