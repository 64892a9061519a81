/**
 * Caches under a budget, in the form that random steps need. There are no types under a budget.
 * @module
 */
import { MassCache } from '../../reference/public/mass.ts';
import type { Cache, Engine, MassCacheOptions } from '../../src/core/engine.ts';
import { ndarray } from '../../src/core/tensor.ts';
import type { System } from './cache-model.ts';
import type { Layer, Ruled } from './mass-scenes.ts';

/** The options of a layer's cache under a rule. */
export function optionsOf({ batch, kvHeads, headDim, blockSize }: Layer, { mass, method }: Ruled): MassCacheOptions {
  const { reach } = method;
  return { batch, kvHeads, headDim, blockSize, mass, ...(reach !== undefined && { reach }) };
}

/** A cache of an engine. */
export function engineSystem(
  engine: Engine, layer: Layer, rule: Ruled, scale: number, cache: Cache = engine.createCache(optionsOf(layer, rule)),
): System {
  const { batch: B, kvHeads: G, group, headDim: d } = layer;
  return {
    append(k, v, _, T, counts) {
      cache.append(engine.tensor(k, [B, G, T, d]), engine.tensor(v, [B, G, T, d]), undefined, counts);
    },
    attend: async (q, T) => engine.read(cache.attend(engine.tensor(q, [B, G * group, T, d]), scale)),
    evict: () => cache.evict(),
    clear: () => cache.clear(),
    stats: () => cache.stats(),
    positions: (b, g) => cache.positions(b, g),
    fork: () => engineSystem(engine, layer, rule, scale, cache.fork()),
    async again() {
      const other = engine.createCache(optionsOf(layer, rule));
      const x = engine.tensor(new Float64Array(B * G * 2 * d).fill(3), [B, G, 2, d]);
      other.append(x, x, undefined);
      other.restore(await cache.snapshot());
      return engineSystem(engine, layer, rule, scale, other);
    },
    dispose: () => cache.dispose(),
  };
}

/** The public class. */
export function publicSystem(
  layer: Layer, rule: Ruled, scale: number, cache: MassCache = new MassCache(optionsOf(layer, rule)),
): System {
  const { batch: B, kvHeads: G, group, headDim: d } = layer;
  return {
    append(k, v, _, T, counts) {
      cache.append({ k: ndarray(k, [B, G, T, d]), v: ndarray(v, [B, G, T, d]), ...(counts && { counts }) });
    },
    attend: async (q, T) => cache.attend({ q: ndarray(q, [B, G * group, T, d]), scale }).data,
    evict: () => cache.evict(),
    clear: () => cache.clear(),
    stats: async () => cache.stats(),
    positions: async (b, g) => cache.positions(b, g),
    fork: () => publicSystem(layer, rule, scale, cache.fork()),
    async again() {
      const other = new MassCache(optionsOf(layer, rule));
      other.restore(cache.snapshot());
      return publicSystem(layer, rule, scale, other);
    },
    dispose: () => {},
  };
}
