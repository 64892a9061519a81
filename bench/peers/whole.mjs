/**
 * A whole Llama in a folder, as random-llama.mjs writes it or as models/base is: prefill of 256 tokens and greedy
 * decoding of 16, with this package (in the dtype of the file), node-llama-cpp (float16), onnxruntime-node and
 * onnxruntime-web (float32), one after the other in each round. ONNX and GGUF are written here, from the same weights.
 */
import { existsSync, mkdtempSync, openSync, readFileSync, readSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ortNode from 'onnxruntime-node';
import ortWeb from 'onnxruntime-web';
import { createEngine, loadModel, parsePolicy } from '../../dist/index.js';
import { llamaTensors, openGguf } from './gguf.mjs';
import { llama as llamaOnnx } from './onnx.mjs';

const [PREFILL, DECODED] = [256, 16];
const ids = Array.from({ length: PREFILL }, (_, n) => 3 + ((n * 7919) % 251));
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const cpu = async (work) => {
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return [(user + system) / 1e6, result];
};

/** float32 numbers of the bits of float16. */
const halves = Float32Array.from({ length: 65536 }, (_, h) => {
  const [e, m] = [(h >> 10) & 31, h & 1023];
  return (h >> 15 ? -1 : 1) * (e === 0 ? m * 2 ** -24 : (1 + m / 1024) * 2 ** (e - 15));
});
const widen = {
  F32: (bytes) => new Float32Array(bytes.buffer),
  F16: (bytes) => Float32Array.from(new Uint16Array(bytes.buffer), (bits) => halves[bits]),
  BF16: (bytes) => new Float32Array(Uint32Array.from(new Uint16Array(bytes.buffer), (bits) => bits << 16).buffer),
};

/** Reads weights of a safetensors file by name, as float32. A head that is absent is the embedding. */
function weightsOf(path) {
  const file = openSync(path, 'r');
  const size = Buffer.alloc(8);
  readSync(file, size, 0, 8, 0);
  const length = Number(size.readBigUInt64LE());
  const json = Buffer.alloc(length);
  readSync(file, json, 0, length, 8);
  const header = JSON.parse(json.toString());
  return (name) => {
    const { dtype, data_offsets: [from, to] } = header[name] ?? header['model.embed_tokens.weight'];
    const bytes = new Uint8Array(to - from);
    readSync(file, bytes, 0, bytes.length, 8 + length + from);
    return widen[dtype](bytes);
  };
}

/** Writes a GGUF file of the same weights in float16, in which those of bfloat16 are exact unless they are tiny. */
function writeGguf(path, config, weight) {
  const tensors = llamaTensors(config);
  const file = openGguf(path, config, tensors);
  const scratch = new DataView(new ArrayBuffer(4));
  const half = (x) => {
    scratch.setFloat32(0, x);
    const bits = scratch.getUint32(0);
    const exponent = ((bits >>> 23) & 255) - 112;
    const sign = (bits >>> 16) & 0x8000;
    if (exponent <= 0) return sign | Math.round(Math.abs(x) * 2 ** 24);
    return sign | (exponent << 10) | ((bits >>> 13) & 1023);
  };
  for (const tensor of tensors) {
    const numbers = weight(tensor[0]);
    file.write(tensor, tensor[2].length === 1 ? numbers : Uint16Array.from(numbers, half));
  }
  file.close();
}

async function ours(folder) {
  const engine = await createEngine({ engine: 'wasm', threads: 1 });
  const model = await loadModel(folder, { engine });
  return async () => {
    const session = model.session({ policy: parsePolicy('full') });
    const step = engine.prefillStep ?? 64;
    const [prefill, first] = await cpu(async () => {
      for (let n = 0; n + step < PREFILL; n += step) await session.step(ids.slice(n, n + step), { logits: 'none' });
      return (await session.next(ids.slice(-step)))[0];
    });
    const [decode, found] = await cpu(async () => {
      const found = [first];
      while (found.length <= DECODED) found.push((await session.next([found.at(-1)]))[0]);
      return found;
    });
    session.dispose();
    return { prefill, decode, found };
  };
}

async function onnx(ort, bytes, config) {
  const { layers, G, D, H, V } = config;
  const session = await ort.InferenceSession.create(bytes, {
    executionMode: 'sequential', intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3,
    ...(ort === ortWeb && { executionProviders: ['wasm'] }),
  });
  const step = async (tokens, past, seen) => {
    const feeds = {
      ids: new ort.Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]),
      seqlens: new ort.Tensor('int32', Int32Array.of(seen + tokens.length - 1), [1]),
      total: new ort.Tensor('int32', Int32Array.of(seen + tokens.length), []), ...past,
    };
    const out = await session.run(feeds);
    const row = out.logits.data.subarray(-V);
    let best = 0;
    for (let n = 1; n < V; n++) if (row[n] > row[best]) best = n;
    const kept = {};
    for (let n = 0; n < layers; n++) [kept[`pk.${n}`], kept[`pv.${n}`]] = [out[`nk.${n}`], out[`nv.${n}`]];
    return [best, kept];
  };
  const empty = {};
  for (let n = 0; n < layers; n++) for (const name of ['pk', 'pv']) {
    empty[`${name}.${n}`] = new ort.Tensor('float32', new Float32Array(0), [1, G, 0, D / H]);
  }
  return async () => {
    let past, token;
    const [prefill] = await cpu(async () => { [token, past] = await step(ids, empty, 0); });
    const found = [token];
    const [decode] = await cpu(async () => {
      for (let n = 0; n < DECODED; n++) {
        [token, past] = await step([token], past, PREFILL + n);
        found.push(token);
      }
    });
    return { prefill, decode, found };
  };
}

async function llamaCpp(path) {
  const { getLlama } = await import('node-llama-cpp');
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: 1 });
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({ contextSize: PREFILL + DECODED + 64, batchSize: PREFILL, threads: 1 });
  const sequence = context.getSequence();
  return async () => {
    await sequence.clearHistory();
    const [prefill] = await cpu(() => sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1)));
    const found = [];
    const [decode] = await cpu(async () => {
      for await (const token of sequence.evaluate([ids.at(-1)], { temperature: 0, yieldEogToken: true })) {
        found.push(token);
        if (found.length > DECODED) break;
      }
    });
    return { prefill, decode, found };
  };
}

export async function whole(folder, rounds) {
  const raw = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
  const config = {
    layers: raw.num_hidden_layers, D: raw.hidden_size, F: raw.intermediate_size, H: raw.num_attention_heads,
    G: raw.num_key_value_heads, V: raw.vocab_size, positions: 1024, epsilon: raw.rms_norm_eps,
    theta: raw.rope_theta ?? raw.rope_parameters.rope_theta, d: raw.hidden_size / raw.num_attention_heads,
    context: raw.max_position_embeddings, tied: raw.tie_word_embeddings,
  };
  const weight = weightsOf(`${folder}/model.safetensors`);
  const bytes = llamaOnnx(config, weight);
  let gguf = `${folder}/model.gguf`;
  if (!existsSync(gguf)) {
    gguf = join(mkdtempSync(join(tmpdir(), 'peers-')), 'model.gguf');
    writeGguf(gguf, config, weight);
  }
  const peers = [
    ['ours', () => ours(folder)], ['node-llama-cpp', () => llamaCpp(gguf)],
    ['onnxruntime-node', () => onnx(ortNode, bytes, config)], ['onnxruntime-web', () => onnx(ortWeb, bytes, config)],
  ];
  const ready = [];
  for (const [name, make] of peers) {
    try {
      ready.push({ name, run: await make(), prefill: [], decode: [], found: [] });
    } catch (error) {
      ready.push({ name, error: error.message });
    }
  }
  for (let round = -1; round < rounds; round++) {
    for (const each of ready) {
      if (each.error) continue;
      try {
        const { prefill, decode, found } = await each.run();
        each.found = found;
        if (round >= 0) {
          each.prefill.push(PREFILL / prefill);
          each.decode.push(DECODED / decode);
        }
      } catch (error) {
        each.error = error.message;
      }
    }
  }
  for (const { name, found } of ready) console.error(`${name}: greedy ${found?.join(' ') ?? 'none'}`);
  const column = (what) => Object.fromEntries(ready.map((each) => [each.name, each.error ?? median(each[what])]));
  return [[`prefill of ${PREFILL} tokens`, column('prefill')], [`decoding after ${PREFILL} tokens`, column('decode')]];
}
