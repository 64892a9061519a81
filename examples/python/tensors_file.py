"""Reads and writes .safetensors files of PyTorch's CPU tensors, without the package safetensors."""
import json
import struct

import numpy as np
import torch

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_tensors(path):
    """All tensors of a file by their names, as float32."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    body = np.frombuffer(data, dtype=np.uint8, offset=8 + size).copy()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        bytes_ = torch.from_numpy(body[begin:end].copy())
        tensors[name] = bytes_.view(KINDS[entry["dtype"]]).reshape(entry["shape"]).float()
    return tensors


def write_tensors(path, tensors, dtype=np.float32, about=None):
    """Writes arrays or tensors as `dtype`, in their order, with the texts `about` them if there are any."""
    header, parts, at = {} if about is None else {"__metadata__": about}, [], 0
    for name, x in tensors.items():
        parts.append(np.ascontiguousarray(x, dtype=dtype).tobytes())
        end = at + len(parts[-1])
        kind = {np.float32: "F32", np.float64: "F64"}[dtype]
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
