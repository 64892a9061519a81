"""Runs PyTorch's attention on a GPU over the vectors, as a kernel that nobody here wrote.

    npx natsearch vectors --format npz --out vectors
    python3 gpu_attention.py vectors --out outputs           # needs PyTorch 2.5 and a GPU
    for each in outputs/*; do                                # such as outputs/math-bf16
        npx natsearch verify $each --vectors vectors --tensors out,backward --dtype ${each##*-} \\
            --only $(ls $each | sed 's/.npz//' | paste -sd,) # the cases that this kernel takes
    done

For each implementation and dtype it writes a folder: `dense` is autograd through a masked softmax,
`math`, `efficient` and `flash` are the backends of scaled_dot_product_attention, and `flex` is
FlexAttention, compiled by Triton, which also gives lse. Flash takes no mask, so it runs the cases in
which every query sees all keys before it. It prints the versions it ran with, and the cases that a
backend refuses. d is padded to 16, the least that Triton's products take: see `padded`.
"""

import argparse
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import natsearch_vectors as vectors

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
FLEX = ("tile-65", "group-3", "batch", "all-window", "head-64", "tiles-causal", "tiles-batch")


def masks(case, device):
    """[B,H,N,N]: whether a query sees a key."""
    R = case.parameters["queryHeads"] // case.parameters["kvHeads"]
    return torch.from_numpy(case.visible).to(device).repeat_interleave(R, 1)


def dense(q, k, v, mask, scale):
    R = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(R, 1) for x in (k, v))
    S = q.float() @ k.float().transpose(-1, -2) * scale  # a product in 16 bits would round S to 16 bits
    return torch.softmax(S.masked_fill(~mask, -torch.inf), -1).to(v.dtype) @ v


def sdpa(backend, q, k, v, mask, scale):
    R = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(R, 1) for x in (k, v))
    N, width = q.shape[2], -(-q.shape[2] // 8) * 8  # the efficient backend wants rows of a mask aligned
    bias = torch.zeros(*mask.shape[:3], width, dtype=q.dtype, device=q.device)[..., :N]
    bias = bias.masked_fill_(~mask, -torch.inf)
    with sdpa_kernel([backend]):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def math(q, k, v, mask, scale):
    return sdpa(SDPBackend.MATH, q, k, v, mask, scale)


def efficient(q, k, v, mask, scale):
    return sdpa(SDPBackend.EFFICIENT_ATTENTION, q, k, v, mask, scale)


def flash(q, k, v, mask, scale):
    R = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(R, 1) for x in (k, v))
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)


torch._dynamo.config.recompile_limit = 1000  # each shape and dtype is compiled; beyond the limit it would run uncompiled
COMPILED = torch.compile(flex_attention, dynamic=False)


def flex(q, k, v, mask, scale):
    B, H, N, _ = q.shape
    block = create_block_mask(lambda b, h, i, j: mask[b, h, i, j], B, H, N, N, device=str(q.device))
    out, lse = COMPILED(q, k, v, block_mask=block, scale=scale, enable_gqa=True, return_lse=True)
    return out, lse


def run(kernel, case, dtype, device):
    """The outputs of one case by name, as float32, which holds every number of 16 bits."""
    d, x = case.parameters["headDim"], case.inputs()
    given = {n: torch.from_numpy(vectors.padded(x[n], 16)).to(device, dtype) for n in ("q", "k", "v")}
    q, k, v = (given[n].requires_grad_(case.has_gradients) for n in ("q", "k", "v"))
    made = kernel(q, k, v, masks(case, device), case.parameters["scale"])
    out, lse = made if isinstance(made, tuple) else (made, None)
    results = {"out": out[..., :d]}
    if lse is not None:
        results["lse"] = lse
    if case.has_gradients:
        dout = torch.from_numpy(vectors.padded(x["dout"], 16)).to(device, dtype)
        for name, grad in zip(("dq", "dk", "dv"), torch.autograd.grad(out, (q, k, v), dout)):
            results[name] = grad[..., :d]
    return {n: t.detach().float().cpu().numpy() for n, t in results.items()}


def takes(kernel, case, dtype):
    """Whether an implementation is to run a case."""
    if kernel == "flash":
        N = case.parameters["tokens"]
        return dtype != "f32" and bool((case.visible == np.tril(np.ones((N, N), bool))).all())
    return kernel != "flex" or case.name in FLEX


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors")
    parser.add_argument("--out", default="outputs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--kernels", default="dense,math,efficient,flash,flex")
    parser.add_argument("--dtypes", default="f32,f16,bf16")
    parser.add_argument("--seconds", type=float, default=600, help="leave out cases after this time")
    args = parser.parse_args()
    torch.set_float32_matmul_precision("highest")  # not TF32, which a claim of float32 does not cover
    name = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {name}, NumPy {np.__version__}")
    begin = time.monotonic()
    finite = vectors.cases(args.vectors, lambda case: not case.entry["notCompared"] and "hidden-" not in case.name)
    for kernel in args.kernels.split(","):
        for dtype in args.dtypes.split(","):
            chosen = [case for case in finite if takes(kernel, case, dtype)]
            done, refused = 0, []
            for case in chosen:
                if time.monotonic() - begin > args.seconds:
                    print(f"{kernel} {dtype}: out of time before {case.name}")
                    break
                try:
                    outputs = run(globals()[kernel], case, DTYPES[dtype], args.device)
                except RuntimeError as error:
                    if "No available kernel" not in str(error):
                        raise
                    refused.append(case.name)
                    continue
                case.save(pathlib.Path(args.out) / f"{kernel}-{dtype}", **outputs)
                done += 1
            said = f", refused {', '.join(refused)}" if refused else ""
            print(f"{kernel} {dtype}: {done} of {len(chosen)} cases{said}, {time.monotonic() - begin:.0f} s so far", flush=True)


if __name__ == "__main__":
    main()
