"""Adapters as `natsearch finetune` writes them, for PyTorch: config overrides and low-rank changes of q and k.

They follow docs/models.md ("Other values") and docs/finetuning.md ("Changes of q and k").
"""
import json
import math
import re

import torch

from tensors_file import read_tensors

CHANGE = re.compile(r"base_model\.model\.(model\.layers\.\d+\.self_attn\.[qk]_proj)\.lora_([AB])\.weight")


def read_adapter(folder):
    """The settings of an adapter's folder, and its tensors by their names, as float32."""
    return json.loads((folder / "adapter_config.json").read_text()), read_tensors(folder / "adapter_model.safetensors")


def patched(value, patch):
    """JSON with a JSON Merge Patch (RFC 7396): fields of objects are replaced one by one, and null removes a field."""
    if not isinstance(patch, dict):
        return patch
    value = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if part is None:
            value.pop(name, None)
        else:
            value[name] = patched(value.get(name), part)
    return value


def load_model(folder, overrides, device):
    """The Llama of a folder in float32, as if its config.json had the fields of `overrides`."""
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig.from_dict(patched(json.loads((folder / "config.json").read_text()), overrides))
    model = LlamaForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).to(device).eval()
    rope = getattr(model.config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "yarn" and not rope.keys() & {"attention_factor", "mscale", "mscale_all_dim"}:
        expected, found = 0.1 * math.log(rope["factor"]) + 1, model.model.rotary_emb.attention_scaling
        if abs(found - expected) > 1e-6:  # some versions use max_position_embeddings / original_max_position_embeddings
            raise SystemExit(f"this version of transformers does not use the factor {rope['factor']} of YaRN, whose "
                             f"attention_factor is {expected:.6f}, not {found:.6f}: use transformers 5")
    return model


def merged(weight, a, b, scale):
    """W + scale B A of W [rows, D], A [r, D], B [rows, r], on the CPU in float64 and rounded once to float32."""
    weight, a, b = (x.detach().cpu().double() for x in (weight, a, b))
    total = torch.zeros_like(weight)
    for k in range(len(a)):  # the order of natsearch, which gives the same bits
        total += (scale * b[:, k])[:, None] * a[k][None]
    return (weight + total).float()


def changed_weights(model, settings, tensors):
    """The merged weights of q and k on the CPU, by the names of the model's parameters; none without changes."""
    parts = {}
    for name in (name for name in tensors if ".lora_" in name):
        match = CHANGE.fullmatch(name)
        if match is None:
            raise SystemExit(f"the adapter holds {name}, which is no change of q or k")
        parts.setdefault(match[1] + ".weight", {})[match[2]] = tensors[name]
    weights, results, rank = dict(model.named_parameters()), {}, settings.get("r")
    for name, part in parts.items():
        rows, width = weights[name].shape if name in weights else (0, 0)
        shapes = {letter: tuple(x.shape) for letter, x in part.items()}
        if shapes != {"A": (rank, width), "B": (rows, rank)}:
            raise SystemExit(f"the adapter changes {name} by {shapes}, which does not fit this model and rank {rank}")
        results[name] = merged(weights[name], part["A"], part["B"], settings["lora_alpha"] / rank)
    return results


class Changed:
    """While it is entered, parameters of the model have other values."""

    def __init__(self, model, values):
        self.values = values
        self.parameters = {name: x for name, x in model.named_parameters() if name in values}

    def __enter__(self):
        self.before = {name: x.detach().clone() for name, x in self.parameters.items()}
        self.set(self.values)

    def __exit__(self, *_):
        self.set(self.before)

    @torch.no_grad()
    def set(self, values):
        for name, x in self.parameters.items():
            x.copy_(values[name])
