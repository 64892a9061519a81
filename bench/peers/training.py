"""
The speed of training in PyTorch, for comparison with `npm run bench -- --gpu --only training`.

    python bench/peers/training.py                       # the shipped configuration, float32
    python bench/peers/training.py --bf16 --layers 12 --hidden 768 --intermediate 2048 --heads 12 --kv-heads 12 \
        --vocabulary 32000 --context 1024 --batch 8      # 110 M weights in mixed precision

One step is a forward and backward of a Llama under full causal attention (PyTorch's fused kernel), clipping by the global
norm, and AdamW. Prints JSON: the median of tokens per second of several rounds after a warm-up, eager and compiled.
"""
import argparse
import json
import statistics
import time

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
for name, default in [('layers', 4), ('hidden', 128), ('intermediate', 352), ('heads', 4), ('kv-heads', 2),
                      ('vocabulary', 258), ('context', 1024), ('batch', 16), ('steps', 10), ('rounds', 5)]:
    parser.add_argument(f'--{name}', type=int, default=default)
parser.add_argument('--bf16', action='store_true', help='autocast to bfloat16')
parser.add_argument('--no-compile', action='store_true')
options = parser.parse_args()
device = 'cuda' if torch.cuda.is_available() else 'cpu'
torch.manual_seed(0)


def tokens_per_second(compiled):
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=options.vocabulary, hidden_size=options.hidden, intermediate_size=options.intermediate,
        num_hidden_layers=options.layers, num_attention_heads=options.heads, num_key_value_heads=options.kv_heads,
        max_position_embeddings=options.context, tie_word_embeddings=True, attn_implementation='sdpa')).to(device)
    run = torch.compile(model) if compiled else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.95), fused=device == 'cuda')
    ids = torch.randint(0, options.vocabulary, (options.batch, options.context), device=device)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=options.bf16):
            loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def wait():
        if device == 'cuda':
            torch.cuda.synchronize()

    for _ in range(5):
        step()
    wait()
    rates = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        for _ in range(options.steps):
            step()
        wait()
        rates.append(options.steps * options.batch * options.context / (time.perf_counter() - start))
    return statistics.median(rates)


result = {
    'peer': 'PyTorch', 'torch': torch.__version__, 'transformers': transformers.__version__,
    'device': torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
    'precision': 'bfloat16 autocast' if options.bf16 else 'float32', 'eager': tokens_per_second(False),
}
if not options.no_compile:
    result['compiled'] = tokens_per_second(True)
print(json.dumps(result, indent=2))
