/**
 * Matrix products and attention of this package, onnxruntime-web, onnxruntime-node and jax-js, each on one thread. They
 * take turns, and what is compared is the CPU time of this process, since other load on the machine does not add to it.
 */
import * as jax from '@jax-js/jax';
import ortNode from 'onnxruntime-node';
import ortWeb from 'onnxruntime-web';
import { createEngine } from '../../dist/index.js';
import { attention, plainAttention, product } from './onnx.mjs';

ortWeb.env.wasm.numThreads = 1;
await jax.init('wasm');
jax.defaultDevice('wasm');
const { numpy: np, nn } = jax;
const engine = await createEngine({ engine: 'wasm', threads: 1 });

const random = (length) => Float32Array.from({ length }, () => Math.random() * 2 - 1);
const one = { executionMode: 'sequential', intraOpNumThreads: 1, interOpNumThreads: 1 };
const quiet = { ...one, logSeverityLevel: 3 };

/** Runs a model of onnxruntime on the same inputs each time. */
async function session(ort, bytes, feeds) {
  const made = await ort.InferenceSession.create(bytes, { ...quiet, ...(ort === ortWeb && { executionProviders: ['wasm'] }) });
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, [data, shape]]) => [name, new ort.Tensor('float32', data, shape)]));
  return async () => void await made.run(inputs);
}

// Node 20 lacks the helpers of iterators, which jax-js uses.
const iterators = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
iterators.map ??= function* map(of) { for (const each of this) yield of(each); };
iterators.filter ??= function* filter(keep) { for (const each of this) if (keep(each)) yield each; };
iterators.toArray ??= function toArray() { return [...this]; };

const PRODUCTS = [[512, 512, 512], [64, 768, 2048], [1, 768, 32000]];
const LENGTHS = [1024, 4096];
const [H, d] = [4, 64];

/** jax-js compiles with the first call, which fails once onnxruntime-web has started: every shape is called before. */
const ofJax = {};
for (const [M, K, N] of PRODUCTS) {
  const [a, b] = [np.array(random(M * K)).reshape([M, K]), np.array(random(K * N)).reshape([K, N])];
  const multiply = jax.jit((p, q) => np.matmul(p, q));
  ofJax[`${M} ${K} ${N}`] = async () => void await multiply(a.ref, b.ref).data();
}
for (const N of LENGTHS) {
  const [a, b, c] = [1, 2, 3].map(() => np.array(random(H * N * d)).reshape([1, N, H, d]));
  const dot = jax.jit((x, y, z) => nn.dotProductAttention(x, y, z, { isCausal: true }));
  ofJax[N] = async () => void await dot(a.ref, b.ref, c.ref).data();
}
for (const run of Object.values(ofJax)) await run().catch((error) => console.error(`jax-js: ${error.message}`));

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** The median CPU milliseconds of each function, in turns. One that fails is left out. */
export async function inTurns(functions, rounds) {
  const times = functions.map(([name, run]) => ({ name, run, all: [] }));
  for (let round = -2; round < rounds; round++) {
    for (const each of times) {
      if (each.error) continue;
      const before = process.cpuUsage();
      await each.run().catch((error) => { each.error = error.message; });
      const { user, system } = process.cpuUsage(before);
      if (round >= 0) each.all.push((user + system) / 1000);
    }
  }
  return Object.fromEntries(times.map(({ name, all, error }) => [name, error ?? median(all)]));
}

async function ours(run) {
  const made = run();
  await engine.read(made[0]);
  made.forEach((each) => each.dispose());
}

export async function products(rounds) {
  const rows = [];
  for (const [M, K, N] of PRODUCTS) {
    const [x, w] = [random(M * K), random(K * N)];
    const bytes = product(w, M, K, N);
    const X = engine.tensor(x, [M, K]);
    const turned = new Float32Array(w.length);
    for (let k = 0; k < K; k++) for (let n = 0; n < N; n++) turned[n * K + k] = w[k * N + n];
    const W = engine.weight(new Uint8Array(turned.buffer), 'f32', [N, K]);
    rows.push([`product ${M} x ${K} x ${N}`, await inTurns([
      ['ours', () => ours(() => [engine.linear(X, W)])],
      ['onnxruntime-web', await session(ortWeb, bytes, { x: [x, [M, K]] })],
      ['jax-js', ofJax[`${M} ${K} ${N}`]],
      ['onnxruntime-node', await session(ortNode, bytes, { x: [x, [M, K]] })],
    ], rounds)]);
  }
  return rows;
}

/** Types of which about 10% of the pairs are visible: 2% GLOBAL, 28% LOCAL, 70% WINDOW(N / 20), as in npm run bench. */
function sparse(N) {
  let state = 5;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % 100;
  };
  const type = (n) => (n < 2 ? 0 : n < 30 ? 1 : 2);
  const types = engine.integers(Array.from({ length: H * N }, () => type(draw())), [1, H, N]);
  return engine.lifetime(types, N, { window: Math.floor(N / 20), chunk: 1 });
}

export async function attentions(rounds) {
  const rows = [];
  for (const N of LENGTHS) {
    const [q, k, v] = [random(H * N * d), random(H * N * d), random(H * N * d)];
    const [Q, K, V] = [q, k, v].map((x) => engine.tensor(x, [1, H, N, d]));
    const all = engine.lifetime(engine.integers(new Int32Array(H * N), [1, H, N]), N, { window: 0, chunk: 1 });
    const some = sparse(N);
    const scale = 1 / Math.sqrt(d);
    const flat = { q: [q, [1, N, H * d]], k: [k, [1, N, H * d]], v: [v, [1, N, H * d]] };
    const plain = { q: [q, [1, H, N, d]], kt: [k, [1, H, d, N]], v: [v, [1, H, N, d]] };
    const bytes = { fused: attention(N, N, H, d), plain: plainAttention(N, N, H, d) };
    rows.push([`attention, N = ${N}, 4 heads of 64`, await inTurns([
      ['ours', () => ours(() => Object.values(engine.attention({ q: Q, k: K, v: V, last: all, scale })))],
      ['ours, 10% visible', () => ours(() => Object.values(engine.attention({ q: Q, k: K, v: V, last: some, scale })))],
      ['onnxruntime-web', await session(ortWeb, bytes.fused, flat)],
      ['onnxruntime-web, plain', await session(ortWeb, bytes.plain, plain)],
      ['jax-js', ofJax[N]],
      ['onnxruntime-node', await session(ortNode, bytes.fused, flat)],
      ['onnxruntime-node, plain', await session(ortNode, bytes.plain, plain)],
    ], N > 2000 ? Math.ceil(rounds / 3) : rounds)]);
  }
  for (const N of [4096, 16_384]) {
    const [q, k, v] = [random(H * d), random(H * N * d), random(H * N * d)];
    const cache = engine.createCache({ batch: 1, kvHeads: H, headDim: d, blockSize: 16, window: 0, chunk: 1 });
    const [K, V] = [k, v].map((x) => engine.tensor(x, [1, H, N, d]));
    cache.append(K, V, engine.integers(new Int32Array(H * N), [1, H, N]));
    const token = engine.tensor(q, [1, H, 1, d]);
    const types = engine.integers(new Int32Array(H), [1, H, 1]);
    const flat = { q: [q, [1, 1, H * d]], k: [k, [1, N, H * d]], v: [v, [1, N, H * d]] };
    const bytes = attention(1, N, H, d);
    const scale = 1 / Math.sqrt(d);
    rows.push([`one query over ${N} keys, 4 heads of 64`, await inTurns([
      ['ours', () => ours(() => [cache.step({ q: token, k: token, v: token, types, scale })])],
      ['onnxruntime-web', await session(ortWeb, bytes, flat)],
      ['onnxruntime-node', await session(ortNode, bytes, flat)],
    ], 3 * rounds)]);
    cache.dispose();
  }
  return rows;
}
