#!/usr/bin/env python3
"""Configurations in the style of published models, and what each means in transformers.

    python make-configs.py OUT

OUT/configs has every configuration as its makers published it, and OUT/configs-5 as transformers 5 writes it again.
OUT/configs-expected.json says what transformers 5 computes with: sizes, windows, rotary frequencies in float64, and the
weights of a model of one layer.
"""
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.mistral.modeling_mistral import MistralRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

ROTARY = {"llama": LlamaRotaryEmbedding, "mistral": MistralRotaryEmbedding, "qwen2": Qwen2RotaryEmbedding,
          "qwen3": Qwen3RotaryEmbedding}


def llama(**fields):
    return {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "initializer_range": 0.02, "model_type": "llama", "pretraining_tp": 1, "rms_norm_eps": 1e-05,
            "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, **fields}


def sizes(hidden, intermediate, layers, heads, kv, vocabulary, positions):
    return {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": vocabulary,
            "max_position_embeddings": positions}


def mistral(**fields):
    return {"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "initializer_range": 0.02, "model_type": "mistral", "rms_norm_eps": 1e-05, "tie_word_embeddings": False,
            "torch_dtype": "bfloat16", "use_cache": True, **fields}


def qwen(**fields):
    return {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
            "eos_token_id": 151645, "hidden_act": "silu", "initializer_range": 0.02, "model_type": "qwen2",
            "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
            "use_cache": True, "use_sliding_window": False, **fields}


LLAMA_3 = dict(attention_bias=False, attention_dropout=0.0, mlp_bias=False, bos_token_id=128000, rope_theta=500000.0)
LLAMA_3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                "rope_type": "llama3"}
CONFIGS = {
    "llama-1": llama(architectures=["LLaMAForCausalLM"], bos_token_id=0, eos_token_id=1, pad_token_id=-1,
                     rms_norm_eps=1e-06, max_sequence_length=2048, torch_dtype="float16",
                     transformers_version="4.27.0.dev0",
                     **{k: v for k, v in sizes(4096, 11008, 32, 32, 32, 32000, 2048).items()
                        if k not in ("num_key_value_heads", "max_position_embeddings")}),
    "llama-2-7b": llama(**sizes(4096, 11008, 32, 32, 32, 32000, 4096), _name_or_path="meta-llama/Llama-2-7b-hf",
                        rope_scaling=None, torch_dtype="float16", transformers_version="4.31.0.dev0"),
    "llama-2-70b": llama(**sizes(8192, 28672, 80, 64, 8, 32000, 4096), rope_scaling=None, pad_token_id=0,
                         torch_dtype="float16", transformers_version="4.32.0.dev0"),
    "llama-2-tensor-parallel": llama(**{**sizes(4096, 11008, 32, 32, 32, 32000, 4096), "pretraining_tp": 2}),
    "llama-3-8b": {**llama(**sizes(4096, 14336, 32, 32, 8, 128256, 8192)), **LLAMA_3, "eos_token_id": 128001,
                   "rope_scaling": None, "transformers_version": "4.40.0.dev0"},
    "llama-3.1-8b-instruct": {**llama(**sizes(4096, 14336, 32, 32, 8, 128256, 131072)), **LLAMA_3,
                              "eos_token_id": [128001, 128008, 128009],
                              "rope_scaling": {"factor": 8.0, **LLAMA_3_ROPE}, "transformers_version": "4.42.3"},
    "llama-3.2-1b": {**llama(**sizes(2048, 8192, 16, 32, 8, 128256, 131072)), **LLAMA_3, "eos_token_id": 128001,
                     "head_dim": 64, "rope_scaling": {"factor": 32.0, **LLAMA_3_ROPE}, "tie_word_embeddings": True,
                     "transformers_version": "4.45.0.dev0"},
    "tinyllama": llama(**sizes(2048, 5632, 22, 32, 4, 32000, 2048), attention_bias=False, rope_scaling=None,
                       rope_theta=10000.0, transformers_version="4.35.0"),
    "smollm2-135m": {**llama(**sizes(576, 1536, 30, 9, 3, 49152, 8192)), "attention_bias": False,
                     "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.041666666666666664,
                     "is_llama_config": True, "mlp_bias": False, "pad_token_id": 2, "rope_interleaved": False,
                     "rope_scaling": None, "rope_theta": 100000, "tie_word_embeddings": True,
                     "transformers_version": "4.42.3",
                     "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}}},
    "yi-6b": llama(**sizes(4096, 11008, 32, 32, 4, 64000, 4096), rope_scaling=None, rope_theta=5000000.0,
                   pad_token_id=0, attention_bias=False, transformers_version="4.34.0"),
    "yi-6b-200k": llama(**sizes(4096, 11008, 32, 32, 4, 64000, 200000), rope_theta=10000000.0,
                        auto_map={"AutoTokenizer": ["tokenization_yi.YiTokenizer", None]}),
    "deepseek-coder-1.3b": {**llama(**sizes(2048, 5504, 24, 16, 16, 32256, 16384)), "bos_token_id": 32013,
                            "eos_token_id": 32014, "rms_norm_eps": 1e-06,
                            "rope_scaling": {"factor": 4.0, "type": "linear"}, "rope_theta": 100000,
                            "transformers_version": "4.33.1"},
    "deepseek-r1-distill-llama-8b": {**llama(**sizes(4096, 14336, 32, 32, 8, 128256, 131072)), **LLAMA_3,
                                     "eos_token_id": 128001, "rope_scaling": {"factor": 8.0, **LLAMA_3_ROPE},
                                     "transformers_version": "4.43.0.dev0"},
    "mistral-7b-v0.1": mistral(**sizes(4096, 14336, 32, 32, 8, 32000, 32768), rope_theta=10000.0, sliding_window=4096,
                               transformers_version="4.34.0.dev0"),
    "mistral-7b-v0.2": mistral(**sizes(4096, 14336, 32, 32, 8, 32000, 32768), rope_theta=1000000.0,
                               sliding_window=None, attention_dropout=0.0, transformers_version="4.36.0"),
    "mistral-7b-v0.3": mistral(**sizes(4096, 14336, 32, 32, 8, 32768, 32768), rope_theta=1000000.0,
                               sliding_window=None, attention_dropout=0.0, transformers_version="4.42.0.dev0"),
    "mistral-nemo": mistral(**sizes(5120, 14336, 40, 32, 8, 131072, 1024000), head_dim=128, rope_theta=1000000.0,
                            sliding_window=None, attention_dropout=0.0),
    "qwen2-0.5b": {**qwen(**sizes(896, 4864, 24, 14, 2, 151936, 131072)), "max_window_layers": 24,
                   "sliding_window": 131072, "eos_token_id": 151643, "tie_word_embeddings": True,
                   "transformers_version": "4.40.1"},
    "qwen2.5-0.5b": {**qwen(**sizes(896, 4864, 24, 14, 2, 151936, 32768)), "eos_token_id": 151643,
                     "max_window_layers": 24, "sliding_window": 32768, "tie_word_embeddings": True, "use_mrope": False,
                     "transformers_version": "4.40.1"},
    "qwen2.5-7b-instruct-yarn": {**qwen(**sizes(3584, 18944, 28, 28, 4, 152064, 32768)), "max_window_layers": 28,
                                 "sliding_window": 131072, "transformers_version": "4.43.1",
                                 "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"}},
    "qwen2.5-7b-instruct-1m": {**qwen(**sizes(3584, 18944, 28, 28, 4, 152064, 1010000)), "rope_theta": 10000000.0,
                               "max_window_layers": 28, "sliding_window": 32768,
                               "dual_chunk_attention_config": {"chunk_size": 262144, "local_size": 8192,
                                                               "original_max_position_embeddings": 262144}},
    "qwen2-never-sliding": {**qwen(**sizes(896, 4864, 24, 14, 2, 151936, 32768)), "use_sliding_window": True,
                            "max_window_layers": 24, "sliding_window": 4096},
    "deepseek-r1-distill-qwen-1.5b": {**qwen(**sizes(1536, 8960, 28, 12, 2, 151936, 131072)), "bos_token_id": 151646,
                                      "eos_token_id": 151643, "max_window_layers": 21, "sliding_window": 4096,
                                      "rope_theta": 10000, "use_mrope": False, "transformers_version": "4.44.0"},
    "qwen3-0.6b": {**qwen(**sizes(1024, 3072, 28, 16, 8, 151936, 40960)), "architectures": ["Qwen3ForCausalLM"],
                   "model_type": "qwen3", "attention_bias": False, "head_dim": 128, "max_window_layers": 28,
                   "rope_scaling": None, "sliding_window": None, "tie_word_embeddings": True,
                   "transformers_version": "4.51.0"},
    "qwen3-8b-yarn": {**qwen(**sizes(4096, 12288, 36, 32, 8, 151936, 131072)), "architectures": ["Qwen3ForCausalLM"],
                      "model_type": "qwen3", "attention_bias": False, "head_dim": 128, "max_window_layers": 36,
                      "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
                      "sliding_window": None, "transformers_version": "4.51.0"},
}
# Configurations without the fields that have a default.
for kind in ROTARY:
    CONFIGS[f"{kind}-bare"] = {"model_type": kind, "hidden_size": 2048, "intermediate_size": 64, "num_hidden_layers": 2,
                               "num_attention_heads": 32, "vocab_size": 200}


class Widened:
    """A context in which transformers gets float64 where it asks for float32."""

    def __enter__(self):
        self.kept = torch.float32, torch.float, torch.Tensor.float
        torch.float32 = torch.float = torch.float64
        torch.Tensor.float = torch.Tensor.double

    def __exit__(self, *_):
        torch.float32, torch.float, torch.Tensor.float = self.kept


def facts(folder, fields):
    """What the configuration in `folder` means."""
    config = AutoConfig.from_pretrained(folder)
    kind = config.model_type
    with Widened():
        rotary = ROTARY[kind](config=config)
    types = getattr(config, "layer_types", None) if kind.startswith("qwen") else None
    windows = {config.sliding_window if each == "sliding_attention" else None for each in types} if types else \
        {getattr(config, "sliding_window", None) if kind == "mistral" else None}
    assert len(windows) == 1, windows
    one = {name: value for name, value in fields.items() if name not in ("layer_types", "auto_map")}
    small = AutoConfig.for_model(**{**one, "num_hidden_layers": 1, "max_window_layers": 1})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(small)
    return {
        "class": type(model).__name__,
        "layers": config.num_hidden_layers, "heads": config.num_attention_heads, "kvHeads": config.num_key_value_heads,
        "headDim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "maxPositions": config.max_position_embeddings, "rmsNormEpsilon": config.rms_norm_eps,
        "tieWordEmbeddings": config.tie_word_embeddings, "slidingWindow": windows.pop(),
        "bos": config.bos_token_id, "eos": config.eos_token_id,
        "frequencies": rotary.inv_freq.tolist(), "sharpness": float(rotary.attention_scaling),
        "weights": {name: list(parameter.shape) for name, parameter in model.named_parameters()},
    }


def main():
    out = Path(sys.argv[1])
    expected = {"transformers": transformers.__version__, "models": {}}
    (out / "configs").mkdir(parents=True)
    (out / "configs-5").mkdir()
    for name, fields in CONFIGS.items():
        folder = out / "scratch"
        folder.mkdir(exist_ok=True)
        text = json.dumps(fields, indent=2) + "\n"
        (out / "configs" / f"{name}.json").write_text(text)
        (folder / "config.json").write_text(text)
        found = facts(folder, fields)
        AutoConfig.from_pretrained(folder).save_pretrained(folder)
        again = json.loads((folder / "config.json").read_text())
        (out / "configs-5" / f"{name}.json").write_text(json.dumps(again, indent=2) + "\n")
        assert facts(folder, again) == found, name
        expected["models"][name] = found
        (folder / "config.json").unlink()
    (out / "scratch").rmdir()
    (out / "configs-expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
