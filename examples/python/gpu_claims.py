"""Attention whose products take TF32 or fp8 on a GPU, to be judged by the claims that cover them.

    npx natsearch vectors --format npz --out vectors
    npx natsearch vectors --format npz --suite fp8 --out vectors-fp8
    python3 gpu_claims.py vectors vectors-fp8 --out outputs     # needs PyTorch 2.5, Triton, and a GPU with fp8
    npx natsearch verify outputs/tf32 --vectors vectors --dtype f32 --products tf32 --tensors forward,backward
    npx natsearch verify outputs/e4m3 --vectors vectors-fp8 --dtype f32 --products e4m3 --tensors forward,backward

Without --products both must fail. Both have a forward in Triton with an online softmax over tiles of
32 keys. `tf32` multiplies P by v in TF32 there, and P and dS of its backward by products in Triton,
whatever their size: PyTorch itself takes TF32 for large products alone. `e4m3` converts P to
float8e4nv before its product with v, and has a backward whose products of P and dS are
torch._scaled_mm on float8_e4m3fn. q k^T and dout v^T take float16 or float32, in which they are
exact but for sums: the fp8 units of an H100 add products with some 14 bits, which is too few for S.
"""

import argparse
import pathlib

import torch
import triton
import triton.language as tl

import natsearch_vectors as vectors


@triton.jit
def forward(
    q, k, v, mask, out, lse, scale, N, d: tl.constexpr, R: tl.constexpr, BLOCK: tl.constexpr, EIGHT: tl.constexpr
):
    """One tile of BLOCK rows of one query head; q [H,N,d], k, v [G,N,d], mask [G,N,N], N a multiple of BLOCK."""
    h, c, lanes = tl.program_id(1), tl.arange(0, d), tl.arange(0, BLOCK)
    i = tl.program_id(0) * BLOCK + lanes
    g = h // R
    x = tl.load(q + (h * N + i[:, None]) * d + c[None, :])
    m, Z, o = tl.full([BLOCK], -1e30, tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK, d], tl.float32)
    for first in range(0, N, BLOCK):
        j = first + lanes
        y = tl.load(k + (g * N + j[None, :]) * d + c[:, None])
        seen = tl.load(mask + (g * N + i[:, None]) * N + j[None, :]) != 0
        S = tl.where(seen, tl.dot(x, y, input_precision="ieee") * scale, -1e30)
        top = tl.maximum(m, tl.max(S, 1))
        E = tl.where(seen, tl.exp(S - top[:, None]), 0.0)
        alpha = tl.exp(m - top)
        Z = Z * alpha + tl.sum(E, 1)
        value = tl.load(v + (g * N + j[:, None]) * d + c[None, :])
        if EIGHT:
            o = o * alpha[:, None] + tl.dot(E.to(tl.float8e4nv), value.to(tl.float8e4nv), out_dtype=tl.float32)
        else:
            o = o * alpha[:, None] + tl.dot(E, value, input_precision="tf32")
        m = top
    tl.store(out + (h * N + i[:, None]) * d + c[None, :], o / Z[:, None])
    tl.store(lse + h * N + i, m + tl.log(Z))


@triton.jit
def multiply(a, b, c, n, d: tl.constexpr, BLOCK: tl.constexpr):
    """c = a @ b in TF32, a [m,n], b [n,d]; m and n multiples of BLOCK."""
    i, lanes, columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK), tl.arange(0, d)
    total = tl.zeros([BLOCK, d], tl.float32)
    for first in range(0, n, BLOCK):
        x = tl.load(a + i[:, None] * n + first + lanes[None, :])
        y = tl.load(b + (first + lanes[:, None]) * d + columns[None, :])
        total += tl.dot(x, y, input_precision="tf32")
    tl.store(c + i[:, None] * d + columns[None, :], total)


def product_tf32(a, b):
    c = torch.empty(a.shape[0], b.shape[1], device=a.device)
    multiply[(a.shape[0] // 32,)](a.contiguous(), b.contiguous(), c, a.shape[1], d=b.shape[1], BLOCK=32)
    return c


def product8(a, b):
    """a @ b on the fp8 units, a [m,n] and b [n,k] rounded to e4m3."""
    one = torch.ones((), device=a.device)
    a, b = a.clamp(-448, 448).to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)
    b = b.t().contiguous().t()  # the second factor lies column by column
    return torch._scaled_mm(a.contiguous(), b, scale_a=one, scale_b=one, out_dtype=torch.float32, use_fast_accum=False)


def attention(case, product):
    """The outputs of one case by name, with products of P and dS by `product`."""
    eight = product is product8
    p, given = case.parameters, case.inputs()
    N, d, H, G, scale = p["tokens"], p["headDim"], p["queryHeads"], p["kvHeads"], p["scale"]
    R, size, width = H // G, -(-N // 32) * 32, max(32, triton.next_power_of_2(d))
    results = {name: [] for name in ("out", "lse", "dq", "dk", "dv")}
    for b in range(p["batch"]):
        stored = torch.float16 if eight else torch.float32
        x = {n: torch.zeros(H if n in ("q", "dout") else G, size, width, device="cuda", dtype=stored) for n in ("q", "k", "v", "dout")}
        for n, t in x.items():
            if n in given:
                t[:, :N, :d] = torch.from_numpy(given[n][b]).cuda()
        mask = torch.eye(size, dtype=torch.bool, device="cuda").repeat(G, 1, 1)  # rows beyond N see themselves
        mask[:, :N, :N] = torch.from_numpy(case.visible[b]).cuda()
        out, lse = torch.empty(H, size, width, device="cuda"), torch.empty(H, size, device="cuda")
        forward[(size // 32, H)](x["q"], x["k"], x["v"], mask.to(torch.int8), out, lse, scale, size, d=width, R=R, BLOCK=32, EIGHT=eight)
        grads = {n: torch.zeros_like(x[n], dtype=torch.float32) for n in ("q", "k", "v")}
        for h in range(H):
            g = h // R
            q, k, v, dout = (x[n][i].float() for n, i in (("q", h), ("k", g), ("v", g), ("dout", h)))
            P = torch.where(mask[g], torch.exp(q @ k.t() * scale - lse[h, :, None]), 0.0)
            dS = P * (dout @ v.t() - (dout * out[h]).sum(1, keepdim=True))
            grads["v"][g] += product(P.t(), dout)
            grads["q"][h] += product(dS, k) * scale
            grads["k"][g] += product(dS.t(), q) * scale
        results["out"].append(out[:, :N, :d])
        results["lse"].append(lse[:, :N])
        for n in ("q", "k", "v"):
            results[f"d{n}"].append(grads[n][:, :N, :d])
    wanted = results if case.has_gradients else ("out", "lse")
    return {n: torch.stack(results[n]).cpu().numpy() for n in wanted}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors")
    parser.add_argument("vectors_fp8")
    parser.add_argument("--out", default="outputs")
    args = parser.parse_args()
    print(f"PyTorch {torch.__version__}, Triton {triton.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}")
    out = pathlib.Path(args.out)
    torch.set_float32_matmul_precision("highest")  # of q k^T and dout v^T
    finite = vectors.cases(args.vectors, lambda case: not case.entry["notCompared"] and "hidden-" not in case.name)
    for case in finite:
        case.save(out / "tf32", **attention(case, product_tf32))
    print(f"tf32: {len(finite)} cases")
    eight = vectors.cases(args.vectors_fp8)
    for case in eight:
        case.save(out / "e4m3", **attention(case, product8))
    print(f"e4m3: {len(eight)} cases")


if __name__ == "__main__":
    main()
