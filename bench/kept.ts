/**
 * `npm run bench -- --gpu=wgsl --only kept`: decoding the shipped models with all layers in one call, whose commands
 * are kept, and layer by layer on the same engine, with as many steps in flight.
 * @module
 */
import { existsSync } from 'node:fs';
import type { Engine } from '../src/core/engine.ts';
import { loadModel, parsePolicy } from '../src/index.ts';
import { type Measurement, type Settings, timeInTurns } from './measure.ts';

const [PROMPT, AHEAD] = [64, 4];

/** Folders of models and adapters, and the policies that each is measured under. */
const MODELS = [
  ['models/nats', undefined, ['nats', 'streaming:4+60']],
  ['models/base', 'models/adapters/keep-0.1-w32', ['nats', 'streaming:4+60']],
] as const;

export async function keptCase({ quick, repeats, openEngine }: Settings): Promise<Measurement[]> {
  if (!openEngine) return [];
  const engine = await openEngine();
  const { forms } = engine;
  const found: Measurement[] = [];
  if (!forms?.layers) process.stderr.write(`${engine.name} keeps no commands of all layers: nothing to compare... `);
  else {
    const ways = [['kept commands', forms], ['layer by layer', { ...forms, layers: undefined }]] as const;
    for (const [folder, adapter, policies] of MODELS) {
      if (!existsSync(folder) || (adapter && !existsSync(adapter))) continue;
      const model = await loadModel(folder, { engine, ...(adapter && { adapter }) });
      const [tokens, context] = quick ? [4, 8] : [100, PROMPT];
      for (const policy of policies) {
        const sessions = await Promise.all(ways.map(async () => {
          const session = model.session({ policy: parsePolicy(policy) });
          await session.step(Int32Array.from({ length: context }, (_, n) => 32 + (n * 7919) % 90), { logits: 'none' });
          return session;
        }));
        const times = await timeInTurns(ways.map(([, taken], n) => async () => {
          use(engine, taken);
          let done = 0;
          for await (const each of sessions[n].greedy([97], { steps: tokens, ahead: AHEAD })) done += each.length;
          if (done !== tokens) throw new Error(`${done} of ${tokens} tokens were decoded`);
        }), { rounds: repeats });
        const name = `${folder}${adapter ? ` with ${adapter}` : ''}, ${policy}`;
        times.forEach((ms, n) => found.push({ what: `${name}: ${ways[n][0]}`, value: (1000 * tokens) / ms, unit: 'tokens/s' }));
        sessions.forEach((session) => session.dispose());
      }
      model.dispose();
    }
  }
  engine.dispose();
  return found;
}

/** Lets an engine have other forms. */
function use(engine: Engine, forms: Engine['forms']): void {
  Object.defineProperty(engine, 'forms', { value: forms, configurable: true });
}
