/**
 * Writes a Llama as a GGUF file for llama.cpp: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. It stores the
 * rows of q and k of each head in another order, since llama.cpp rotates neighbouring pairs where Hugging Face rotates
 * halves. Matrices are float16, and norms float32, as llama.cpp wants them. Tokens have names, but no text is read.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

/** Tensors: Hugging Face's name, llama.cpp's name, shape, and the heads whose rows llama.cpp orders otherwise. */
export function llamaTensors({ layers, D, F, H, G, V, d, tied = false }) {
  const tensors = [['model.embed_tokens.weight', 'token_embd.weight', [V, D]]];
  for (let n = 0; n < layers; n++) {
    const [from, to] = [`model.layers.${n}`, `blk.${n}`];
    tensors.push(
      [`${from}.input_layernorm.weight`, `${to}.attn_norm.weight`, [D]],
      [`${from}.self_attn.q_proj.weight`, `${to}.attn_q.weight`, [H * d, D], H],
      [`${from}.self_attn.k_proj.weight`, `${to}.attn_k.weight`, [G * d, D], G],
      [`${from}.self_attn.v_proj.weight`, `${to}.attn_v.weight`, [G * d, D]],
      [`${from}.self_attn.o_proj.weight`, `${to}.attn_output.weight`, [D, H * d]],
      [`${from}.post_attention_layernorm.weight`, `${to}.ffn_norm.weight`, [D]],
      [`${from}.mlp.gate_proj.weight`, `${to}.ffn_gate.weight`, [F, D]],
      [`${from}.mlp.up_proj.weight`, `${to}.ffn_up.weight`, [F, D]],
      [`${from}.mlp.down_proj.weight`, `${to}.ffn_down.weight`, [D, F]],
    );
  }
  tensors.push(['model.norm.weight', 'output_norm.weight', [D]]);
  if (!tied) tensors.push(['lm_head.weight', 'output.weight', [V, D]]);
  return tensors;
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

const U32 = 4, F32 = 6, STRING = 8, LIST = 9, I32 = 5;
const u32 = (x) => Buffer.from(Uint32Array.of(x).buffer);
const u64 = (x) => Buffer.from(BigUint64Array.of(BigInt(x)).buffer);
const f32 = (x) => Buffer.from(Float32Array.of(x).buffer);
const text = (x) => { const bytes = Buffer.from(x); return Buffer.concat([u64(bytes.length), bytes]); };
const scalar = { [U32]: u32, [I32]: (x) => Buffer.from(Int32Array.of(x).buffer), [F32]: f32, [STRING]: text };
const entry = (key, type, value) => Buffer.concat([text(key), u32(type), scalar[type](value)]);
const list = (key, type, values) =>
  Buffer.concat([text(key), u32(LIST), u32(type), u64(values.length), ...values.map(scalar[type])]);
const padded = (length) => Math.ceil(length / 32) * 32;
const count = (shape) => shape.reduce((a, b) => a * b);

/** Opens a file, whose tensors are then written in order: float16 bits of a matrix, float32 numbers of a norm. */
export function openGguf(path, { layers, D, F, H, G, V, d, context, epsilon, theta }, tensors) {
  const byteTokens = Array.from({ length: 256 }, (_, n) => `<0x${n.toString(16).toUpperCase().padStart(2, '0')}>`);
  const words = Array.from({ length: V - 259 }, (_, n) => `▁word${n}`);
  const metadata = [
    entry('general.architecture', STRING, 'llama'), entry('general.name', STRING, 'compared'),
    entry('general.file_type', U32, 1), entry('general.alignment', U32, 32),
    entry('llama.vocab_size', U32, V), entry('llama.context_length', U32, context),
    entry('llama.embedding_length', U32, D), entry('llama.block_count', U32, layers),
    entry('llama.feed_forward_length', U32, F), entry('llama.rope.dimension_count', U32, d),
    entry('llama.attention.head_count', U32, H), entry('llama.attention.head_count_kv', U32, G),
    entry('llama.attention.layer_norm_rms_epsilon', F32, epsilon), entry('llama.rope.freq_base', F32, theta),
    entry('tokenizer.ggml.model', STRING, 'llama'),
    list('tokenizer.ggml.tokens', STRING, ['<unk>', '<s>', '</s>', ...byteTokens, ...words]),
    list('tokenizer.ggml.scores', F32, Array.from({ length: V }, (_, n) => -n)),
    list('tokenizer.ggml.token_type', I32, Array.from({ length: V }, (_, n) => (n === 0 ? 2 : n < 3 ? 3 : n < 259 ? 6 : 1))),
    entry('tokenizer.ggml.bos_token_id', U32, 1), entry('tokenizer.ggml.eos_token_id', U32, 2),
    entry('tokenizer.ggml.unknown_token_id', U32, 0),
  ];
  let at = 0;
  const infos = tensors.map(([, name, shape]) => {
    const norm = shape.length === 1;
    const info = Buffer.concat([
      text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(norm ? 0 : 1), u64(at),
    ]);
    at += padded(count(shape) * (norm ? 4 : 2));
    return info;
  });
  const head = Buffer.concat([
    Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length), ...metadata, ...infos,
  ]);
  const file = openSync(path, 'w');
  const write = (bytes) => {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    const rest = Buffer.alloc(padded(bytes.length) - bytes.length);
    if (rest.length > 0) writeSync(file, rest);
  };
  write(head);
  return {
    write([, , shape, heads], data) {
      const own = heads ? neighbours(data, heads, shape[1]) : data;
      write(new Uint8Array(own.buffer, own.byteOffset, own.byteLength));
    },
    close: () => closeSync(file),
  };
}
