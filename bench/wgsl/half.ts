/**
 * `node dist/bench/half.js DIR`: how far the logits of a prompt are off if a GPU multiplies in float16, on a Llama.
 * Prompts of few tokens can be compared with the reference, too.
 * @module
 */
import { parseArgs } from 'node:util';
import { createEngine, type Engine, loadModel, parsePolicy } from '../../src/index.ts';
import { relativeError } from './device.ts';

const { values: flags, positionals: [folder] } = parseArgs({ allowPositionals: true, options: {
  lengths: { type: 'string', default: '64,1024' }, policies: { type: 'string', default: 'full,streaming:4+60' },
} });
if (!folder) throw new Error('name a folder with a Llama, such as bench/peers/random-llama.mjs writes');
const cases = flags.policies.split(',').flatMap((policy) => flags.lengths.split(',').map((n) => [policy, Number(n)] as const));

/** The logits after each prompt. */
async function logitsOn(engine: Engine): Promise<ArrayLike<number>[]> {
  const model = await loadModel(folder, { engine });
  const found: ArrayLike<number>[] = [];
  for (const [policy, length] of cases) {
    const session = model.session({ policy: parsePolicy(policy) });
    const prompt = Array.from({ length }, (_, n) => 3 + ((n * 7919) % 251));
    found.push(await session.step(prompt, { logits: 'last' }));
    session.dispose();
  }
  model.dispose();
  engine.dispose();
  return found;
}

const truth = await logitsOn(await createEngine({ gpu: 'wgsl' }));
const found = await logitsOn(await createEngine({ gpu: 'wgsl', compute: 'f16' }));
cases.forEach(([policy, length], n) => {
  const largest = Array.from(truth[n]).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const off = Array.from(truth[n]).reduce((a, b, i) => Math.max(a, Math.abs(b - found[n][i])), 0);
  process.stdout.write(`${policy}, prompt of ${length}: error ${relativeError(found[n], truth[n]).toExponential(1)}, at most ${(off / largest).toExponential(1)} of the largest logit\n`);
});
