/**
 * The engine of WGSL beside gpu.js on the same WebGPU, in turns, by the CPU time of this process: for drivers that
 * compute on the CPU, such as SwiftShader, where other load on the machine adds to a clock but not to CPU time. First
 * calls, which compile kernels, are printed apart.
 *
 *     npm run build
 *     VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json node bench/peers/gpujs.mjs [ROUNDS]
 */
import { readFileSync } from 'node:fs';
import { ByteTokenizer, createEngine, DEFAULT_TRAIN_OPTIONS, parseConfig, tokenizeDocuments, Trainer } from '../../dist/index.js';

const rounds = Number(process.argv[2] ?? 3);
const [HEADS, KV_HEADS, D] = [32, 8, 128];
const spent = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Milliseconds of CPU time of the two functions, in turns, the first calls apart. */
async function pair(what, functions) {
  const [first, all] = [[], functions.map(() => [])];
  for (let round = -1; round < rounds; round++) {
    for (const [n, run] of functions.entries()) {
      const before = spent();
      await run();
      if (round < 0) first.push(spent() - before);
      else all[n].push(spent() - before);
    }
  }
  const [wgsl, gpujs] = all.map(median);
  console.log(JSON.stringify({ what, wgsl, gpujs, ratio: wgsl / gpujs, first: { wgsl: first[0], gpujs: first[1] } }));
}

const shipped = JSON.parse(readFileSync('models/nats/config.json', 'utf8'));
const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
const open = () => Promise.all(['wgsl', 'gpujs:webgpu'].map((gpu) => createEngine({ gpu })));

for (const policy of ['full', 'nats']) {
  for (const context of [64, 256]) {
    const engines = await open();
    const config = parseConfig({ ...shipped, nats: { ...shipped.nats, policy } });
    const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 1, context };
    const trainers = engines.map((engine) => new Trainer(engine, config, options, tokens));
    await pair(`a step of training, ${policy}, 1 x ${context} tokens`, trainers.map((trainer) => () => trainer.next()));
    for (const each of [...trainers, ...engines]) each.dispose();
  }
}
for (const mixed of [false, true]) {
  const [N, engines] = [256, await open()];
  const numbers = (length) => Float32Array.from({ length }, (_, n) => Math.sin(13 * n));
  const kinds = mixed ? [0, 1, 1, 1, 2, 2, 2, 2, 2, 2] : [0];
  const types = Int32Array.from({ length: KV_HEADS * N }, (_, n) => kinds[(n * 7) % kinds.length]);
  const what = mixed ? '10% GLOBAL, 30% LOCAL, 60% WINDOW(64)' : 'all GLOBAL';
  await pair(`attention, ${what}, ${N} tokens`, engines.map((engine) => {
    const rows = (heads) => engine.tensor(numbers(heads * N * D), [1, heads, N, D]);
    const [q, k, v] = [HEADS, KV_HEADS, KV_HEADS].map(rows);
    const last = engine.lifetime(engine.integers(types, [1, KV_HEADS, N]), N, { window: 64, chunk: 1 });
    return async () => {
      const { out, lse } = engine.attention({ q, k, v, last, scale: D ** -0.5 });
      await engine.read(lse);
      for (const tensor of [out, lse]) tensor.dispose();
    };
  }));
  for (const engine of engines) engine.dispose();
}
for (const seen of [512, 1024]) {
  const engines = await open();
  await pair(`one decoded token of one layer, ${seen} GLOBAL tokens seen`, engines.map((engine) => {
    const row = (heads, length) => engine.tensor(
      Float32Array.from({ length: heads * length * D }, (_, n) => Math.sin(13 * n)), [1, heads, length, D],
    );
    const cache = engine.createCache({ batch: 1, kvHeads: KV_HEADS, headDim: D, window: 64, chunk: 1, blockSize: 64 });
    const globals = (length) => engine.integers(new Int32Array(KV_HEADS * length), [1, KV_HEADS, length]);
    const [k, v] = [row(KV_HEADS, seen), row(KV_HEADS, seen)];
    cache.append(k, v, globals(seen));
    cache.evict();
    const token = { q: row(HEADS, 1), k: row(KV_HEADS, 1), v: row(KV_HEADS, 1), types: globals(1), scale: D ** -0.5 };
    return async () => {
      const out = cache.step(token);
      await engine.read(out);
      out.dispose();
    };
  }));
  for (const engine of engines) engine.dispose();
}
