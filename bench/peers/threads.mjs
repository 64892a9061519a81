/**
 * This package on one thread and on several, in turns: medians of the time on the clock, to which other load on the
 * machine adds, and of the CPU time of the busiest thread, to which it does not: with a free core for each thread, that
 * is about the time on the clock. CPU time of threads is read from Linux.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createEngine, DEFAULT_TRAIN_OPTIONS, loadModel, parseConfig, parsePolicy, Trainer } from '../../dist/index.js';

const [PREFILL, DECODED] = [256, 64];
const random = (length) => Float32Array.from({ length }, () => Math.random() * 2 - 1);
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const short = (x) => Number(x.toPrecision(3));

/** CPU milliseconds so far of each thread of this process. */
const cpuOfThreads = () => new Map(readdirSync('/proc/self/task').map((id) => {
  return [id, Number(readFileSync(`/proc/self/task/${id}/schedstat`, 'utf8').split(' ')[0]) / 1e6];
}));

function product([M, K, N]) {
  return async (engine) => {
    const [x, w] = [engine.tensor(random(M * K), [M, K]), engine.tensor(random(N * K), [N, K])];
    const repeats = Math.ceil(1e9 / (M * K * N)); // the CPU time of threads is exact to a few milliseconds
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
    const repeats = N < 4096 ? 4 : 1;
    return async () => {
      for (let n = 0; n < repeats; n++) {
        const made = backward ? engine.attentionBackward({ ...inputs, ...forward, dOut }) : engine.attention(inputs);
        for (const tensor of Object.values(made)) tensor.dispose();
      }
      return repeats;
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
  console.log(`${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}; medians of ${rounds} rounds in turns\n`);
  const titles = ['time on the clock', 'CPU time of the busiest thread'].flatMap((title) => [...engines.map(({ name }) => `${title}: ${name}`), 'times as fast']);
  console.log(`| | ${titles.join(' | ')} |\n|${'---|'.repeat(titles.length + 1)}`);
  for (const [what, make] of cases) {
    const runs = [];
    for (const engine of engines) runs.push({ run: await make(engine), clock: [], busiest: [] });
    for (let round = -2; round < rounds; round++) {
      for (const { run, clock, busiest } of runs) {
        const [before, start] = [cpuOfThreads(), performance.now()];
        const done = await run();
        const [after, end] = [cpuOfThreads(), performance.now()];
        if (round < 0) continue;
        clock.push((end - start) / done);
        busiest.push(Math.max(...[...after].map(([id, ms]) => ms - (before.get(id) ?? 0))) / done);
      }
    }
    const shown = (kind) => {
      const found = runs.map((run) => median(run[kind]));
      const values = what.endsWith('ms') ? found : found.map((ms) => 1000 / ms);
      return `${values.map(short).join(' | ')} | ${(found[0] / found.at(-1)).toFixed(2)}`;
    };
    console.log(`| ${what} | ${shown('clock')} | ${shown('busiest')} |`);
  }
  engines.forEach((engine) => engine.dispose());
}
