/**
 * Writes a model folder of random BF16 weights in the shape of TinyLlama (1.1 billion parameters, 2.2 GB), in shards:
 *
 *     node examples/make-random-llama.mjs OUT [--layers 22]
 *
 * The model cannot write sensible text; it shows the time and memory of loading, inspecting and decoding a model of
 * this size. It has no tokenizer, so give it token ids.
 */
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { positionals, values } = parseArgs({
  allowPositionals: true, options: { layers: { type: 'string', default: '22' } },
});
const [out] = positionals;
if (out === undefined) {
  console.error('usage: node examples/make-random-llama.mjs OUT [--layers 22]');
  process.exit(2);
}
const config = {
  architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', vocab_size: 32000, hidden_size: 2048,
  intermediate_size: 5632, num_hidden_layers: Number(values.layers), num_attention_heads: 32, num_key_value_heads: 4,
  max_position_embeddings: 2048, rms_norm_eps: 1e-5, rope_theta: 10000, tie_word_embeddings: false, bos_token_id: 1,
  eos_token_id: 2, torch_dtype: 'bfloat16',
};
const { vocab_size: V, hidden_size: D, intermediate_size: F, num_key_value_heads: G } = config;
const KV = G * (D / config.num_attention_heads);
const tensors = [['model.embed_tokens.weight', [V, D]]];
for (let n = 0; n < config.num_hidden_layers; n++) {
  const shapes = {
    input_layernorm: [D], 'self_attn.q_proj': [D, D], 'self_attn.k_proj': [KV, D], 'self_attn.v_proj': [KV, D],
    'self_attn.o_proj': [D, D], post_attention_layernorm: [D], 'mlp.gate_proj': [F, D], 'mlp.up_proj': [F, D],
    'mlp.down_proj': [D, F],
  };
  for (const [name, shape] of Object.entries(shapes)) tensors.push([`model.layers.${n}.${name}.weight`, shape]);
}
tensors.push(['model.norm.weight', [D]], ['lm_head.weight', [V, D]]);

const bytesOf = (shape) => 2 * shape.reduce((a, b) => a * b, 1);
const shards = [[]];
let size = 0;
for (const tensor of tensors) {
  if (size + bytesOf(tensor[1]) > 500e6) {
    shards.push([]);
    size = 0;
  }
  shards.at(-1).push(tensor);
  size += bytesOf(tensor[1]);
}

/** Random BF16 numbers of either sign, from 2^-9 to 2^-5. Weights of norms are 1. */
const part = new Uint16Array(1 << 20);
let state = 0x9e3779b9;
function fill(count, isNorm) {
  for (let n = 0; n < count; n++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    part[n] = isNorm ? 0x3f80 : (state & 0x807f) | ((118 + ((state >>> 8) & 3)) << 7);
  }
  return new Uint8Array(part.buffer, 0, 2 * count);
}

await mkdir(out, { recursive: true });
const weightMap = {};
let total = 0;
for (const [n, list] of shards.entries()) {
  const number = (k) => String(k).padStart(5, '0');
  const file = `model-${number(n + 1)}-of-${number(shards.length)}.safetensors`;
  const header = {};
  let at = 0;
  for (const [name, shape] of list) {
    header[name] = { dtype: 'BF16', shape, data_offsets: [at, at += bytesOf(shape)] };
    weightMap[name] = file;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const handle = await open(join(out, file), 'w');
  await handle.write(length);
  await handle.write(json);
  for (const [name, shape] of list) {
    for (let left = bytesOf(shape) / 2; left > 0; left -= part.length) {
      await handle.write(fill(Math.min(left, part.length), name.includes('norm')));
    }
  }
  await handle.close();
  total += at;
}
await writeFile(join(out, 'model.safetensors.index.json'), JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }));
await writeFile(join(out, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
console.log(`${out}: ${(total / 2).toLocaleString('en-US')} parameters in ${shards.length} shards`);
