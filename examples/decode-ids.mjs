/**
 * Loads a model folder, decodes ten tokens from ids, and prints the times and the peak memory, also as a multiple of
 * the memory of the weights:
 *
 *     node examples/decode-ids.mjs DIR
 */
import { createEngine, loadModel } from 'neural-attention-search';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node examples/decode-ids.mjs DIR');
  process.exit(2);
}
const engine = createEngine();
const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
const begin = performance.now();
let shown = begin;
const model = await loadModel(folder, {
  engine,
  onProgress: (done, total) => {
    if (!process.stderr.isTTY && performance.now() - shown < 2000 && done < total) return;
    shown = performance.now();
    process.stderr.write(`read ${(done / 2 ** 20).toFixed(0)} of ${(total / 2 ** 20).toFixed(0)} MiB\n`);
  },
});
const held = 4 * model.parameters; // weights are held as float32, in which every BF16 and F16 is exact
console.log(`loaded ${model.parameters.toLocaleString('en-US')} parameters in ${seconds(begin)} s`);

const session = model.session();
const { vocabSize, bosTokenId } = model.config;
const start = performance.now();
const tokens = [bosTokenId];
while (tokens.length <= 10) {
  const logits = await session.step([tokens.at(-1)]);
  tokens.push(logits.indexOf(logits.reduce((most, x) => Math.max(most, x), -Infinity)));
}
console.log(`ten tokens of ${vocabSize} in ${seconds(start)} s: ${tokens.slice(1).join(' ')}`);
const peak = 1024 * process.resourceUsage().maxRSS;
console.log(`peak memory ${(peak / 2 ** 20).toFixed(0)} MiB, ${(peak / held).toFixed(3)} times the ${(held / 2 ** 20).toFixed(0)} MiB of the weights as held`);
