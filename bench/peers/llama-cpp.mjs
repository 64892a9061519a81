#!/usr/bin/env node
/**
 * The speed of llama.cpp on a GGUF file, through node-llama-cpp, which is no dependency of this package:
 *
 *     npm install --no-save --ignore-scripts node-llama-cpp@3.21.1
 *     node bench/peers/llama-cpp.mjs runs/llama-1b/model.gguf
 *
 * Prints JSON: tokens per second of a prefill, and of greedy decoding after several lengths of context, as medians; and
 * the first greedy tokens after the tokens 1, 2, ..., 8, to compare with those of this package on the same weights.
 */
import { existsSync } from 'node:fs';
import { fail, flagsOf, whole } from './arguments.mjs';

const flags = flagsOf(import.meta.url, {
  gpu: { type: 'string', default: 'vulkan' }, prefill: { type: 'string', default: '4096' },
  after: { type: 'string', default: '512,1024,30000' }, tokens: { type: 'string', default: '64' },
  rounds: { type: 'string', default: '3' }, threads: { type: 'string' },
}, { allowPositionals: true });
const [path] = flags.positionals;
if (!path) fail('a file is missing: name a GGUF file, such as random-llama.mjs writes');
if (!existsSync(path)) fail(`${path} is not there: name a GGUF file, such as random-llama.mjs writes`);
const [prefill, tokens, rounds] = ['prefill', 'tokens', 'rounds'].map((name) => whole(flags, name));
const after = flags.after.split(',').map(Number);
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

const { getLlama } = await import('node-llama-cpp').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  fail('node-llama-cpp is not installed: run npm install --no-save --ignore-scripts node-llama-cpp@3.21.1');
});
const llama = await getLlama({
  gpu: flags.gpu === 'false' ? false : flags.gpu, build: 'never', logLevel: 'error',
  ...(flags.threads && { maxThreads: Number(flags.threads) }), // more threads than free cores wait for one another
});
const model = await llama.loadModel({ modelPath: path, ...(llama.gpu && { gpuLayers: 'max' }) });
const contextSize = Math.max(prefill, ...after) + rounds * tokens + 64;
const batchSize = Math.min(2048, contextSize);
const context = await model.createContext({ contextSize, batchSize, flashAttention: true });
const sequence = context.getSequence();
const prompt = (length) => Array.from({ length }, (_, n) => 3 + ((n * 7919) % 251));

/** Decodes `count` greedy tokens after `last`, and returns them. */
async function decode(last, count) {
  const found = [];
  for await (const token of sequence.evaluate([last], { temperature: 0, yieldEogToken: true })) {
    found.push(token);
    if (found.length === count) break;
  }
  return found;
}

await sequence.evaluateWithoutGeneratingNewTokens([1, 2, 3, 4, 5, 6, 7]);
const greedy = await decode(8, 16);
const result = { peer: 'llama.cpp', through: 'node-llama-cpp', gpu: llama.gpu, greedy, prefill: {}, decode: {} };

const rates = [];
for (let round = 0; round < rounds; round++) {
  await sequence.clearHistory();
  const start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(prompt(prefill));
  rates.push((1000 * prefill) / (performance.now() - start));
}
result.prefill[prefill] = median(rates);

for (const length of after) {
  await sequence.clearHistory();
  await sequence.evaluateWithoutGeneratingNewTokens(prompt(length));
  await decode(300, 8); // warm-up
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await decode(300, tokens);
    times.push((1000 * tokens) / (performance.now() - start));
  }
  result.decode[length] = median(times);
}
console.log(JSON.stringify(result, null, 2));
await llama.dispose();
