#!/usr/bin/env node
/**
 * Writes a Llama with random weights in float16, twice: as a folder in Hugging Face's layout, and as a GGUF file for
 * llama.cpp. Both hold the same numbers, so that speeds compare, and greedy tokens too.
 *
 *     node bench/peers/random-llama.mjs --out runs/llama-1b  # the shape of TinyLlama: 1.1 B weights, 2.2 GB each
 *     node bench/peers/random-llama.mjs --out runs/tiny --layers 2 --hidden 64 --heads 4 --intermediate 128
 *
 * GGUF stores the rows of q and k of each head in another order, since llama.cpp rotates neighbouring pairs where
 * Hugging Face rotates halves. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes the format.
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({ options: {
  out: { type: 'string' }, layers: { type: 'string', default: '22' }, hidden: { type: 'string', default: '2048' },
  intermediate: { type: 'string', default: '5632' }, heads: { type: 'string', default: '32' },
  'kv-heads': { type: 'string', default: '4' }, vocabulary: { type: 'string', default: '32000' },
  context: { type: 'string', default: '40960' }, seed: { type: 'string', default: '1' },
} });
const number = (name) => {
  const value = Number(flags[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`);
  return value;
};
if (!flags.out) throw new Error('--out is missing: name the folder to write');
const [layers, D, F, H, G, V] = ['layers', 'hidden', 'intermediate', 'heads', 'kv-heads', 'vocabulary'].map(number);
const d = D / H;
if (!Number.isInteger(d) || d % 2 || H % G) throw new Error('--hidden must be an even multiple of --heads, and --heads a multiple of --kv-heads');
if (V < 259) throw new Error('--vocabulary must be 259 or more: three special tokens and 256 bytes');

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

/** The rows of each head, of which the first half alternates with the second. */
function neighbours(data, heads, columns) {
  const rows = data.length / columns / heads;
  const out = new Uint16Array(data.length);
  for (let h = 0; h < heads; h++) {
    for (let r = 0; r < rows; r++) {
      const from = (h * rows + (r % 2) * (rows / 2) + (r >> 1)) * columns;
      out.set(data.subarray(from, from + columns), (h * rows + r) * columns);
    }
  }
  return out;
}

// ---- tensors: Hugging Face's name, llama.cpp's name, shape, and the heads whose rows llama.cpp orders otherwise -----
const tensors = [['model.embed_tokens.weight', 'token_embd.weight', [V, D]]];
for (let n = 0; n < layers; n++) {
  const [from, to] = [`model.layers.${n}`, `blk.${n}`];
  tensors.push(
    [`${from}.input_layernorm.weight`, `${to}.attn_norm.weight`, [D]],
    [`${from}.self_attn.q_proj.weight`, `${to}.attn_q.weight`, [D, D], H],
    [`${from}.self_attn.k_proj.weight`, `${to}.attn_k.weight`, [G * d, D], G],
    [`${from}.self_attn.v_proj.weight`, `${to}.attn_v.weight`, [G * d, D]],
    [`${from}.self_attn.o_proj.weight`, `${to}.attn_output.weight`, [D, D]],
    [`${from}.post_attention_layernorm.weight`, `${to}.ffn_norm.weight`, [D]],
    [`${from}.mlp.gate_proj.weight`, `${to}.ffn_gate.weight`, [F, D]],
    [`${from}.mlp.up_proj.weight`, `${to}.ffn_up.weight`, [F, D]],
    [`${from}.mlp.down_proj.weight`, `${to}.ffn_down.weight`, [D, F]],
  );
}
tensors.push(['model.norm.weight', 'output_norm.weight', [D]], ['lm_head.weight', 'output.weight', [V, D]]);
const count = (shape) => shape.reduce((a, b) => a * b);

// ---- GGUF -----------------------------------------------------------------------------------------------------------
const U32 = 4, F32 = 6, STRING = 8, LIST = 9, I32 = 5;
const u32 = (x) => Buffer.from(Uint32Array.of(x).buffer);
const u64 = (x) => Buffer.from(BigUint64Array.of(BigInt(x)).buffer);
const f32 = (x) => Buffer.from(Float32Array.of(x).buffer);
const text = (x) => { const bytes = Buffer.from(x); return Buffer.concat([u64(bytes.length), bytes]); };
const scalar = { [U32]: u32, [I32]: (x) => Buffer.from(Int32Array.of(x).buffer), [F32]: f32, [STRING]: text };
const entry = (key, type, value) => Buffer.concat([text(key), u32(type), scalar[type](value)]);
const list = (key, type, values) =>
  Buffer.concat([text(key), u32(LIST), u32(type), u64(values.length), ...values.map(scalar[type])]);
const byteTokens = Array.from({ length: 256 }, (_, n) => `<0x${n.toString(16).toUpperCase().padStart(2, '0')}>`);
const words = Array.from({ length: V - 259 }, (_, n) => `▁word${n}`);
const metadata = [
  entry('general.architecture', STRING, 'llama'), entry('general.name', STRING, 'random'),
  entry('general.file_type', U32, 1), entry('general.alignment', U32, 32),
  entry('llama.vocab_size', U32, V), entry('llama.context_length', U32, number('context')),
  entry('llama.embedding_length', U32, D), entry('llama.block_count', U32, layers),
  entry('llama.feed_forward_length', U32, F), entry('llama.rope.dimension_count', U32, d),
  entry('llama.attention.head_count', U32, H), entry('llama.attention.head_count_kv', U32, G),
  entry('llama.attention.layer_norm_rms_epsilon', F32, 1e-5), entry('llama.rope.freq_base', F32, 10_000),
  entry('tokenizer.ggml.model', STRING, 'llama'),
  list('tokenizer.ggml.tokens', STRING, ['<unk>', '<s>', '</s>', ...byteTokens, ...words]),
  list('tokenizer.ggml.scores', F32, Array.from({ length: V }, (_, n) => -n)),
  list('tokenizer.ggml.token_type', I32, Array.from({ length: V }, (_, n) => (n === 0 ? 2 : n < 3 ? 3 : n < 259 ? 6 : 1))),
  entry('tokenizer.ggml.bos_token_id', U32, 1), entry('tokenizer.ggml.eos_token_id', U32, 2),
  entry('tokenizer.ggml.unknown_token_id', U32, 0),
];
const padded = (length) => Math.ceil(length / 32) * 32;
let at = 0;
const infos = tensors.map(([, name, shape]) => {
  const norm = shape.length === 1; // llama.cpp wants norms in float32
  const info = Buffer.concat([
    text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(norm ? 0 : 1), u64(at),
  ]);
  at += padded(count(shape) * (norm ? 4 : 2));
  return info;
});
const head = Buffer.concat([
  Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length), ...metadata, ...infos,
]);

// ---- both files, tensor by tensor -----------------------------------------------------------------------------------
mkdirSync(flags.out, { recursive: true });
const gguf = openSync(`${flags.out}/model.gguf`, 'w');
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
write(hugging, Buffer.concat([u64(json.length + spaces.length), json, spaces]));
write(gguf, Buffer.concat([head, Buffer.alloc(padded(head.length) - head.length)]));
for (const [, , shape, heads] of tensors) {
  if (shape.length === 1) {
    write(hugging, bytesOf(new Uint16Array(shape[0]).fill(half(1))));
    const ones = bytesOf(new Float32Array(shape[0]).fill(1));
    write(gguf, Buffer.concat([ones, Buffer.alloc(padded(ones.length) - ones.length)]));
    continue;
  }
  const data = matrix(...shape);
  write(hugging, bytesOf(data));
  const own = bytesOf(heads ? neighbours(data, heads, shape[1]) : data);
  write(gguf, own);
  write(gguf, new Uint8Array(padded(own.length) - own.length));
}
closeSync(gguf);
closeSync(hugging);
writeFileSync(`${flags.out}/config.json`, `${JSON.stringify({
  architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: V, hidden_size: D, intermediate_size: F,
  num_hidden_layers: layers, num_attention_heads: H, num_key_value_heads: G, max_position_embeddings: number('context'),
  rms_norm_eps: 1e-5, rope_theta: 10_000, tie_word_embeddings: false, hidden_act: 'silu', torch_dtype: 'float16',
  bos_token_id: 1, eos_token_id: 2,
}, null, 2)}\n`);
const total = tensors.reduce((sum, [, , shape]) => sum + count(shape), 0);
process.stderr.write(`${(total / 1e9).toFixed(2)} B weights written to ${flags.out}\n`);
