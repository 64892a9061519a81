/**
 * Decoding with all layers in one call, whose commands are kept, and with the same engine layer by layer.
 * @module
 */
import { openWgslEngine } from '../../gpu/wgsl/open.ts';
import type { Engine } from '../../src/core/engine.ts';

/** Calls `work` with an engine that takes all layers at once, and with the same one layer by layer. */
export async function bothWays<T>(
  work: (engine: Engine, taken: () => number) => Promise<T>,
): Promise<[kept: T, single: T]> {
  const engine: Engine = await openWgslEngine({ testing: true, width: 64 });
  const { layers, ...others } = engine.forms!;
  let taken = 0;
  const counted: typeof layers = (inputs) => {
    const made = layers!(inputs);
    if (made) taken++;
    return made;
  };
  const set = (forms: Engine['forms']): object => Object.defineProperty(engine, 'forms', { value: forms, configurable: true });
  set({ ...others, layers: counted });
  const kept = await work(engine, () => taken);
  set(others);
  const single = await work(engine, () => taken);
  engine.dispose();
  return [kept, single];
}
