/**
 * This package on one thread and on several, in turns. Times are those on the clock, so other load on the machine adds
 * to them: beside medians there are the best of all rounds, which come closest to having the cores for themselves.
 */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createEngine, DEFAULT_TRAIN_OPTIONS, loadModel, parseConfig, parsePolicy, Trainer } from '../../dist/index.js';

const [PREFILL, DECODED] = [256, 32];
const random = (length) => Float32Array.from({ length }, () => Math.random() * 2 - 1);
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const short = (x) => Number(x.toPrecision(3));

function product([M, K, N]) {
  return async (engine) => {
    const [x, w] = [engine.tensor(random(M * K), [M, K]), engine.tensor(random(N * K), [N, K])];
    const repeats = Math.ceil(2e7 / (M * K * N));
    return async () => {
      for (let n = 0; n < repeats; n++) engine.linear(x, w).dispose();
      return repeats;
    };
  };
}

function attention(N, backward) {
  return async (engine) => {
    const [q, k, v, dOut] = [1, 2, 3, 4].map(() => engine.tensor(random(4 * N * 64), [1, 4, N, 64]));
    const last = engine.integers(new Int32Array(4 * N).fill(N - 1), [1, 4, N]);
    const inputs = { q, k, v, last, scale: 0.125 };
    const forward = engine.attention(inputs);
    return async () => {
      const made = backward ? engine.attentionBackward({ ...inputs, ...forward, dOut }) : engine.attention(inputs);
      for (const tensor of Object.values(made)) tensor.dispose();
      return 1;
    };
  };
}

/** Prefill, or one decoded token after it, of a model in a folder. */
function ofModel(folder, decode) {
  return async (engine) => {
    const model = await loadModel(folder, { engine });
    const ids = Array.from({ length: PREFILL }, (_, n) => 3 + ((n * 7919) % 251));
    let session;
    let token = 5;
    const prefill = async () => {
      session?.dispose();
      session = model.session({ policy: parsePolicy('full') });
      for (let n = 0; n < PREFILL; n += 64) await session.step(ids.slice(n, n + 64), { logits: 'none' });
      return PREFILL;
    };
    if (!decode) return prefill;
    await prefill();
    return async () => {
      for (let n = 0; n < DECODED; n++) [token] = await session.next([token]);
      return DECODED;
    };
  };
}

function training(policy) {
  return async (engine) => {
    const raw = JSON.parse(readFileSync(new URL(`../../models/${policy}/config.json`, import.meta.url), 'utf8'));
    const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 1, context: 512 };
    const tokens = Int32Array.from(readFileSync(new URL('../../examples/moby-dick.txt', import.meta.url)).subarray(0, 20_000));
    const trainer = new Trainer(engine, parseConfig(raw), options, tokens);
    return async () => {
      await trainer.next();
      return 512;
    };
  };
}

export async function threads(count, rounds, llama) {
  const cases = [
    ...[[512, 512, 512], [64, 768, 2048], [1, 768, 2048], [1, 768, 32000]].map((sizes) => [`product ${sizes.join(' x ')}, ms`, product(sizes)]),
    ...[1024, 4096].map((N) => [`attention, N = ${N}, 4 heads of 64, ms`, attention(N)]),
    ['its gradients, N = 1024, ms', attention(1024, true)],
    ...['models/nats', 'models/base', ...(llama ? [llama] : [])].flatMap((folder) => [
      [`prefill of ${PREFILL} tokens, ${folder}, tokens/s`, ofModel(folder)], [`decoding, ${folder}, tokens/s`, ofModel(folder, true)],
    ]),
    ...['full', 'nats'].map((policy) => [`training ${policy}, context 512, tokens/s`, training(policy)]),
  ];
  const engines = [];
  for (const each of [1, count]) engines.push(await createEngine({ engine: 'wasm', threads: each }));
  console.log(`${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}; ${rounds} rounds in turns: medians, and the best\n`);
  console.log(`| | ${engines.map(({ name }) => name).join(' | ')} | times as fast | ${engines.map(() => 'best').join(' | ')} | times as fast |`);
  console.log(`|${'---|'.repeat(2 * engines.length + 3)}`);
  for (const [what, make] of cases) {
    const runs = [];
    for (const engine of engines) runs.push({ run: await make(engine), times: [] });
    for (let round = -2; round < rounds; round++) {
      for (const { run, times } of runs) {
        const start = performance.now();
        const done = await run();
        if (round >= 0) times.push((performance.now() - start) / done);
      }
    }
    const shown = (pick) => {
      const found = runs.map(({ times }) => pick(times));
      const values = what.endsWith('ms') ? found : found.map((ms) => 1000 / ms);
      return `${values.map(short).join(' | ')} | ${(found[0] / found.at(-1)).toFixed(2)}`;
    };
    console.log(`| ${what} | ${shown(median)} | ${shown((times) => Math.min(...times))} |`);
  }
  engines.forEach((engine) => engine.dispose());
}
