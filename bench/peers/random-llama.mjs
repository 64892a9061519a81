#!/usr/bin/env node
/**
 * Writes a Llama with random weights in float16, twice: as a folder in Hugging Face's layout, and as a GGUF file for
 * llama.cpp. Both hold the same numbers, so that speeds compare, and greedy tokens too.
 *
 *     node bench/peers/random-llama.mjs --out runs/llama-1b  # the shape of TinyLlama: 1.1 B weights, 2.2 GB each
 *     node bench/peers/random-llama.mjs --out runs/tiny --layers 2 --hidden 64 --heads 4 --intermediate 128
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { fail, flagsOf, whole } from './arguments.mjs';
import { llamaTensors, openGguf } from './gguf.mjs';

const flags = flagsOf(import.meta.url, {
  out: { type: 'string' }, layers: { type: 'string', default: '22' }, hidden: { type: 'string', default: '2048' },
  intermediate: { type: 'string', default: '5632' }, heads: { type: 'string', default: '32' },
  'kv-heads': { type: 'string', default: '4' }, vocabulary: { type: 'string', default: '32000' },
  context: { type: 'string', default: '40960' }, seed: { type: 'string', default: '1' },
});
const number = (name) => whole(flags, name);
if (!flags.out) fail('--out is missing: name the folder to write');
const [layers, D, F, H, G, V] = ['layers', 'hidden', 'intermediate', 'heads', 'kv-heads', 'vocabulary'].map(number);
const d = D / H;
if (!Number.isInteger(d) || d % 2 || H % G) fail('--hidden must be an even multiple of --heads, and --heads a multiple of --kv-heads');
if (V < 259) fail('--vocabulary must be 259 or more: three special tokens and 256 bytes');

// ---- numbers --------------------------------------------------------------------------------------------------------
const convert = { float: new Float32Array(1) };
convert.bits = new Uint32Array(convert.float.buffer);
/** float16 of a normal float32, rounded towards zero: these are random numbers. */
function half(x) {
  convert.float[0] = x;
  const bits = convert.bits[0];
  const exponent = ((bits >>> 23) & 255) - 112;
  return exponent <= 0 ? 0 : ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 1023);
}

let state = number('seed') >>> 0;
/** xorshift32 */
function random() {
  state ^= state << 13; state >>>= 0;
  state ^= state >>> 17;
  state ^= state << 5; state >>>= 0;
  return state;
}
for (let n = 0; n < 16; n++) random();
const normal = () => Math.sqrt(-2 * Math.log((random() + 1) / 2 ** 32)) * Math.cos((2 * Math.PI * random()) / 2 ** 32);
const TABLE = 2 ** 16;
const standard = Float64Array.from({ length: TABLE }, normal);

/** [rows, columns] of normal numbers with deviation 1 / sqrt(columns), which keeps the scale of activations. */
function matrix(rows, columns, deviation = 1 / Math.sqrt(columns)) {
  const table = Uint16Array.from(standard, (x) => half(x * deviation));
  const data = new Uint16Array(rows * columns);
  for (let n = 0; n < data.length; n++) data[n] = table[random() >>> 16];
  return data;
}

const config = { layers, D, F, H, G, V, d, context: number('context'), epsilon: 1e-5, theta: 10_000 };
const tensors = llamaTensors(config);
const count = (shape) => shape.reduce((a, b) => a * b);

// ---- both files, tensor by tensor -----------------------------------------------------------------------------------
mkdirSync(flags.out, { recursive: true });
const gguf = openGguf(`${flags.out}/model.gguf`, config, tensors);
const hugging = openSync(`${flags.out}/model.safetensors`, 'w');
const write = (file, bytes) => { for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done); };
const bytesOf = (array) => new Uint8Array(array.buffer);

let offset = 0;
const header = Object.fromEntries(tensors.map(([name, , shape]) => {
  const begin = offset;
  offset += 2 * count(shape);
  return [name, { dtype: 'F16', shape, data_offsets: [begin, offset] }];
}));
const json = Buffer.from(JSON.stringify({ __metadata__: { format: 'pt' }, ...header }));
const spaces = Buffer.alloc((8 - (json.length % 8)) % 8, ' ');
const length = Buffer.from(BigUint64Array.of(BigInt(json.length + spaces.length)).buffer);
write(hugging, Buffer.concat([length, json, spaces]));
for (const tensor of tensors) {
  const [, , shape] = tensor;
  if (shape.length === 1) {
    write(hugging, bytesOf(new Uint16Array(shape[0]).fill(half(1))));
    gguf.write(tensor, new Float32Array(shape[0]).fill(1));
    continue;
  }
  const data = matrix(...shape);
  write(hugging, bytesOf(data));
  gguf.write(tensor, data);
}
gguf.close();
closeSync(hugging);
writeFileSync(`${flags.out}/config.json`, `${JSON.stringify({
  architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: V, hidden_size: D, intermediate_size: F,
  num_hidden_layers: layers, num_attention_heads: H, num_key_value_heads: G, max_position_embeddings: number('context'),
  rms_norm_eps: 1e-5, rope_theta: 10_000, tie_word_embeddings: false, hidden_act: 'silu', torch_dtype: 'float16',
  bos_token_id: 1, eos_token_id: 2,
}, null, 2)}\n`);
const total = tensors.reduce((sum, [, , shape]) => sum + count(shape), 0);
process.stderr.write(`${(total / 1e9).toFixed(2)} B weights written to ${flags.out}\n`);
