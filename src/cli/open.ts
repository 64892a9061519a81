/**
 * What `start`, `eval` and `generate` do with a model before they use it.
 * @module
 */
import { createEngine, type GpuChoice } from '../engines.ts';
import type { CacheStats, Engine } from '../engine.ts';
import { loadModel } from '../load.ts';
import { formatPolicy, type Policy } from '../model/config.ts';
import type { Model } from '../model/model.ts';
import { checkModelFolder } from './paths.ts';

/** The engine that --gpu asks for, said on stderr; without it the reference. */
export async function openEngine(gpu: GpuChoice | undefined): Promise<Engine> {
  if (gpu === undefined) return createEngine();
  const engine = await createEngine({ gpu });
  process.stderr.write(`engine: ${engine.name}\n`);
  return engine;
}

/** Loads the model in `folder`. */
export async function openModel(folder: string, engine: Engine): Promise<Model> {
  checkModelFolder(folder);
  return loadModel(folder, { engine });
}

/** Learned types if the model has them, everything, and two fixed patterns with the model's own window. */
export function comparedPolicies(model: Model): Policy[] {
  const { policy, window } = model.config.nats;
  const all: Policy[] = [model.policy, { kind: 'full' }];
  if (window > 0) all.push({ kind: 'window', window }, { kind: 'streaming', sink: 4, window });
  return all.filter((one, n) => n === 0 || formatPolicy(one) !== policy);
}

/** Entries and bytes of a whole model's caches. */
export interface CacheUse {
  readonly live: number;
  /** What a full cache would hold. */
  readonly full: number;
  readonly bytes: number;
  readonly fullBytes: number;
}

/** Sums what the caches of all layers hold now. */
export function cacheUse(layers: readonly CacheStats[]): CacheUse {
  const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);
  const heads = (layer: CacheStats) => layer.live.length / layer.seen.length;
  const full = sum(layers.map((layer) => sum(layer.seen) * heads(layer)));
  return {
    live: sum(layers.map((layer) => sum(layer.live))),
    full,
    bytes: sum(layers.map((layer) => sum(layer.bytes))),
    fullBytes: full * (layers[0]?.entryBytes ?? 0),
  };
}
