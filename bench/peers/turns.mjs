#!/usr/bin/env node
/**
 * Decoding of one Llama by this engine and by llama.cpp in turns: both stay in memory, and one waits while the other
 * decodes, so that what else a machine does meets both. Both folders' formats are those of random-llama.mjs.
 *
 *     npm install --no-save --ignore-scripts node-llama-cpp@3.21.1 && npm run build
 *     node bench/peers/turns.mjs runs/llama-1b
 *
 * Prints tokens per second, as medians over rounds with the least and the most, and the ratios of neighbours: a round
 * of this engine over the round of llama.cpp that follows at once. Contexts grow with each round, on both sides alike.
 */
import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail, flagsOf, whole } from './arguments.mjs';

const flags = flagsOf(import.meta.url, {
  rounds: { type: 'string', default: '9' }, tokens: { type: 'string', default: '64' },
  dist: { type: 'string', default: 'dist' }, compute: { type: 'string', default: 'f32' },
  cache: { type: 'string', default: 'f32' }, short: { type: 'string', default: '512,1024' },
  long: { type: 'string', default: '30000' }, ahead: { type: 'string', default: '1' }, gpu: { type: 'string', default: 'vulkan' }, role: { type: 'string' },
}, { allowPositionals: true });
const [folder] = flags.positionals;
if (!folder) fail('a folder is missing: name one that random-llama.mjs has written');
if (!existsSync(`${folder}/model.gguf`)) fail(`${folder}/model.gguf is not there: name a folder that random-llama.mjs has written`);
const [rounds, tokens] = ['rounds', 'tokens'].map((name) => whole(flags, name));
const WARM_UP = 8;
const tenth = (length) => Math.max(1, Math.round(length / 10) - 4);
const shorts = flags.short.split(',').map(Number);
const long = Number(flags.long);
/** [length, what is kept by this engine; llama.cpp keeps everything] */
const CASES = [
  ...shorts.map((length) => [length, 'all']), [shorts.at(-1), 'a tenth'], [long, 'all'], [long, 'a tenth'],
];
const prompt = (length) => Array.from({ length }, (_, n) => 3 + ((n * 7919) % 251));

/** Answers each message with how long `tokens` tokens of a case took, in milliseconds. */
function answer(decodeOf) {
  process.on('message', async (n) => {
    await decodeOf[n](WARM_UP);
    const begin = performance.now();
    await decodeOf[n](tokens);
    process.send(performance.now() - begin);
  });
  process.send('ready');
}

async function ours() {
  const library = await import(pathToFileURL(resolve(flags.dist, 'index.js')).href);
  const engine = await library.createEngine({ gpu: 'wgsl', compute: flags.compute });
  const model = await library.loadModel(folder, { engine });
  const decodeOf = [];
  for (const [length, kept] of CASES) {
    const policy = library.parsePolicy(kept === 'all' ? 'full' : `streaming:4+${tenth(length)}`);
    const session = model.session({ policy, cache: flags.cache });
    const ids = prompt(length);
    const step = engine.prefillStep ?? 64;
    for (let n = 0; n < length; n += step) await session.step(ids.slice(n, n + step), { logits: 'none' });
    let last = 300;
    decodeOf.push(async (steps) => {
      for await (const [token] of session.greedy([last], { steps, ahead: whole(flags, 'ahead') })) last = token;
    });
  }
  answer(decodeOf);
}

async function llamaCpp() {
  const { getLlama } = await import('node-llama-cpp');
  const llama = await getLlama({ gpu: flags.gpu === 'false' ? false : flags.gpu, build: 'never', logLevel: 'error' });
  const model = await llama.loadModel({
    modelPath: `${folder}/model.gguf`, ...(llama.gpu && { gpuLayers: 'max' }),
  });
  const known = new Map();
  for (const length of new Set(CASES.map(([each]) => each))) {
    const contextSize = length + 4 * rounds * (tokens + WARM_UP) + 64;
    const context = await model.createContext({ contextSize, batchSize: 2048, flashAttention: true });
    const sequence = context.getSequence();
    await sequence.evaluateWithoutGeneratingNewTokens(prompt(length));
    let last = 300;
    known.set(length, async (steps) => {
      let count = 0;
      for await (const token of sequence.evaluate([last], { temperature: 0, yieldEogToken: true })) {
        last = token;
        if (++count === steps) break;
      }
    });
  }
  answer(CASES.map(([length]) => known.get(length)));
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const median = (values) => sorted(values)[values.length >> 1];
const spread = (values, digits) => {
  const [all, of] = [sorted(values), (x) => x.toFixed(digits)];
  return `${of(median(values))} (${of(all[0])} to ${of(all.at(-1))})`;
};

async function main() {
  const said = (child) => new Promise((done, wrong) => {
    child.once('message', done);
    child.once('exit', () => wrong(new Error('a side ended early; what it said is above')));
  });
  const sides = [];
  for (const role of ['ours', 'llama.cpp']) {
    const child = fork(process.argv[1], [...process.argv.slice(2), '--role', role]);
    await said(child);
    child.removeAllListeners('exit');
    sides.push(child);
  }
  const found = CASES.map(() => [[], []]);
  for (let round = 0; round <= rounds; round++) { // one to warm up
    for (let n = 0; n < CASES.length; n++) {
      for (const [side, child] of sides.entries()) {
        const answered = said(child);
        child.send(n);
        const rate = (1000 * tokens) / await answered;
        child.removeAllListeners('exit');
        if (round > 0) found[n][side].push(rate);
      }
    }
  }
  for (const child of sides) child.kill();
  console.log(`# ${rounds} rounds of ${tokens} tokens, --compute ${flags.compute} --cache ${flags.cache}`);
  const line = (what, values, digits) => console.log(`${what.padEnd(44)} ${spread(values, digits)}`);
  CASES.forEach(([length, kept], n) => {
    const [own, theirs] = found[n];
    line(`${length} tokens, ${kept} kept, tokens/s`, own, 0);
    line('  llama.cpp, all kept', theirs, 0);
    line('  ratio of neighbours', own.map((rate, round) => rate / theirs[round]), 2);
  });
  const [short, last] = [shorts.length, CASES.length - 1];
  line(`a tenth of ${long} over a tenth of ${shorts.at(-1)}`, found[last][0].map((rate, round) => rate / found[short][0][round]), 2);
}

const roles = { 'ours': ours, 'llama.cpp': llamaCpp };
await (roles[flags.role] ?? main)();
