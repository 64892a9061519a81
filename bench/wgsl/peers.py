"""What PyTorch takes for the work that the fast kernels are timed on: python3 bench/wgsl/peers.py.

Times are medians of CUDA-graph replays, so that they do not contain launches by Python.
"""
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

HEADS, GROUP, D = 8, 4, 128


def microseconds(work, least=2000.0):
    """The median of nine measurements, each of 2 ms or more."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

        def once(times):
            begin.record()
            for _ in range(times):
                graph.replay()
            end.record()
            torch.cuda.synchronize()
            return begin.elapsed_time(end) * 1000 / times

        once(1)
        times = max(1, min(2000, int(least / once(2)) + 1))
        return statistics.median(once(times) for _ in range(9))


def line(what, us, rate):
    print(f"{us:10.1f} us {rate:>14}  {what}", flush=True)


def attention(what, queries, keys, backend, causal):
    q = torch.randn(1, HEADS * GROUP, queries, D, device="cuda", dtype=torch.half)
    k = torch.randn(1, HEADS, keys, D, device="cuda", dtype=torch.half)
    v = torch.randn(1, HEADS, keys, D, device="cuda", dtype=torch.half)
    try:
        with sdpa_kernel(backend):
            us = microseconds(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True))
    except RuntimeError as error:
        print(f"         - {what}: {str(error).splitlines()[0]}", flush=True)
        return
    if causal:
        line(what, us, f"{2 * HEADS * GROUP * D * keys * keys / us / 1e6:.1f} TFLOP/s")
    else:
        line(what, us, f"{2 * HEADS * D * keys * 2 / us / 1000:.0f} GB/s")


def main():
    print(f"# {torch.cuda.get_device_name()}; PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    busy = torch.randn(8192, 8192, device="cuda", dtype=torch.half)
    for _ in range(50):
        busy @ busy
    torch.cuda.synchronize()
    del busy
    for dtype, name in [(torch.half, "f16"), (torch.float, "f32")]:
        a = torch.randn(4096, 4096, device="cuda", dtype=dtype)
        b = torch.randn(4096, 4096, device="cuda", dtype=dtype)
        us = microseconds(lambda: a @ b.t())
        line(f"cuBLAS {name}, 4096 cubed", us, f"{2 * 4096**3 / us / 1e6:.1f} TFLOP/s")
    for m, k in [(2048, 2048), (11264, 2048), (2048, 5632), (32000, 2048), (28672, 4096)]:
        copies = max(1, -(-250_000_000 // (2 * m * k)))
        weights = [torch.randn(m, k, device="cuda", dtype=torch.half) for _ in range(copies)]
        x = torch.randn(1, k, device="cuda", dtype=torch.half)
        us = microseconds(lambda: [x @ w.t() for w in weights]) / copies
        line(f"cuBLAS f16, [1,{k}] x [{m},{k}]", us, f"{2 * m * k / us / 1000:.0f} GB/s")
        del weights
    for keys in [1024, 3328, 16384, 32768, 131072]:
        for backend, name in [(SDPBackend.CUDNN_ATTENTION, "cuDNN"), (SDPBackend.FLASH_ATTENTION, "flash")]:
            attention(f"{name}, decode, {keys} keys", 1, keys, backend, False)
    for n in [4096, 16384, 32768]:
        for backend, name in [(SDPBackend.CUDNN_ATTENTION, "cuDNN"), (SDPBackend.FLASH_ATTENTION, "flash")]:
            attention(f"{name}, prefill, causal {n}", n, n, backend, True)


main()
