/**
 * `node dist/bench/token.js DIR`: where a decoded token and a prompt of a Llama go, kernel by kernel, and how long the
 * host records them.
 * @module
 */
import { parseArgs } from 'node:util';
import { createEngine, loadModel, parsePolicy } from '../../src/index.ts';
import { DAWN } from './device.ts';
import { Profile } from './profile.ts';

const { values: flags, positionals: [folder] } = parseArgs({ allowPositionals: true, options: {
  after: { type: 'string', default: '1024' }, policy: { type: 'string', default: 'full' },
  tokens: { type: 'string', default: '8' }, step: { type: 'string' }, compute: { type: 'string', default: 'f32' },
} });
if (!folder) throw new Error('name a folder with a Llama, such as bench/peers/random-llama.mjs writes');
const [after, tokens] = [Number(flags.after), Number(flags.tokens)];
const profile = new Profile();
profile.install(DAWN);
const engine = await createEngine({ gpu: 'wgsl', compute: flags.compute as 'f32' | 'f16' });
const model = await loadModel(folder, { engine });
const step = Number(flags.step ?? engine.prefillStep);
const prompt = Array.from({ length: after }, (_, n) => 3 + ((n * 7919) % 251));

function print(what: string, per: number): void {
  const all = profile.take();
  const sum = all.reduce((us, one) => us + one.us, 0);
  const count = all.reduce((n, one) => n + one.count, 0);
  process.stdout.write(`${what}: ${(sum / per).toFixed(0)} us of GPU in ${(count / per).toFixed(1)} dispatches\n`);
  for (const { name, count, us } of all.slice(0, 24)) {
    process.stdout.write(`  ${(us / per).toFixed(1).padStart(9)} us  ${(count / per).toFixed(1).padStart(6)} x ${(us / count).toFixed(1).padStart(8)} us  ${name}\n`);
  }
}

process.stdout.write(`${engine.name}\n`);
for (const round of [0, 1]) {
  const session = model.session({ policy: parsePolicy(flags.policy) });
  for (let n = 0; n < after; n += step) {
    await session.step(prompt.slice(n, n + step), { logits: 'none' });
    await profile.collect(round === 1);
  }
  if (round === 1) print(`prompt of ${after}, ${flags.policy}, per step of ${step}`, Math.ceil(after / step));
  let [token] = await session.next([5]);
  for (let n = 0; n < tokens + 4; n++) {
    await profile.collect(n > 4 && round === 1);
    [token] = await session.next([token]);
  }
  await profile.collect(round === 1);
  if (round === 1) print(`token after ${after}, ${flags.policy}`, tokens);
  session.dispose();
}
model.dispose();
engine.dispose();
