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


def write_tensors(path, tensors):
    """Writes float32 tensors, in the order of their names."""
    header, parts, at = {}, [], 0
    for name in sorted(tensors):
        data = tensors[name].contiguous().float().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
