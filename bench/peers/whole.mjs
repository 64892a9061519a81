/**
 * A whole Llama in a folder that random-llama.mjs wrote: prefill of 256 tokens and greedy decoding of 16, with this
 * package, node-llama-cpp (float16), onnxruntime-node and onnxruntime-web (float32), one after the other in each round.
 */
import { openSync, readFileSync, readSync } from 'node:fs';
import ortNode from 'onnxruntime-node';
import ortWeb from 'onnxruntime-web';
import { createEngine, loadModel, parsePolicy } from '../../dist/index.js';
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

/** Reads weights of a safetensors file in float16, by name, as float32. */
function weightsOf(path) {
  const file = openSync(path, 'r');
  const size = Buffer.alloc(8);
  readSync(file, size, 0, 8, 0);
  const length = Number(size.readBigUInt64LE());
  const json = Buffer.alloc(length);
  readSync(file, json, 0, length, 8);
  const header = JSON.parse(json.toString());
  const table = Float32Array.from({ length: 65536 }, (_, h) => {
    const [e, m] = [(h >> 10) & 31, h & 1023];
    return (h >> 15 ? -1 : 1) * (e === 0 ? m * 2 ** -24 : (1 + m / 1024) * 2 ** (e - 15));
  });
  return (name) => {
    const [from, to] = header[name].data_offsets;
    const bytes = Buffer.alloc(to - from);
    readSync(file, bytes, 0, bytes.length, 8 + length + from);
    return Float32Array.from(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), (h) => table[h]);
  };
}

async function ours(folder) {
  const engine = await createEngine({ engine: 'wasm' });
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
    G: raw.num_key_value_heads, V: raw.vocab_size, positions: 1024, epsilon: raw.rms_norm_eps, theta: raw.rope_theta,
  };
  const bytes = llamaOnnx(config, weightsOf(`${folder}/model.safetensors`));
  const peers = [
    ['ours', () => ours(folder)], ['node-llama-cpp', () => llamaCpp(`${folder}/model.gguf`)],
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
