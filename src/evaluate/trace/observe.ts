/**
 * Looks over the shoulder of an engine: what its caches are given while a session feeds one token after another.
 * @module
 */
import type { CacheStep } from '../../core/cache.ts';
import type { Cache, Engine, Tensor } from '../../core/engine.ts';
import type { FloatArray } from '../../core/tensor.ts';
import { singleLayerForms } from '../single-layers.ts';

/** What the cache of a layer was given in one step, being read back. */
export interface Seen {
  /** [1,H,1,d] and [1,G,1,d]. */
  readonly q: Promise<FloatArray>;
  readonly k: Promise<FloatArray>;
  readonly scale: number;
  /** The type of each head's token or chunk, [1,G,1]; undefined under a budget. */
  readonly types: Promise<Int32Array> | undefined;
  /** The scores from which the model chose or ranked, [1,G,1,3]; undefined if there are none. */
  readonly scores: Promise<FloatArray> | undefined;
}

/** An engine whose caches are watched, by the order in which they were made: that of the layers. */
export interface Observed {
  readonly engine: Engine;
  readonly caches: readonly Cache[];
  /** What each cache was given since the last call. */
  take(): Seen[];
}

/**
 * An engine that computes as `engine` does, and tells what its caches are given. Everything else passes through, so
 * that results have the same bits.
 */
export function observe(engine: Engine): Observed {
  const caches: Cache[] = [];
  let seen: Seen[] = [];
  let scores: Promise<FloatArray> | undefined; // of the layer whose cache comes next
  const watch = ({ q, k, scale, types }: CacheStep): void => {
    const ranks = types?.kind === 'float';
    seen.push({
      q: engine.read(q), k: engine.read(k), scale,
      types: types && !ranks ? engine.readIntegers(types) : undefined,
      scores: ranks ? engine.read(types) : scores,
    });
    scores = undefined;
  };
  const forms = singleLayerForms(engine);
  const watched: Partial<Engine> = {
    ...(forms && { forms }),
    createCache(options) {
      const cache = engine.createCache(options);
      caches.push(cache);
      return through(cache, {
        step: (step, counts) => (watch(step), cache.step(step, counts)),
        prefill: (step, counts) => (watch(step), cache.prefill(step, counts)),
      });
    },
    tokenTypes(given: Tensor, options) {
      scores = engine.read(given);
      return engine.tokenTypes(given, options);
    },
  };
  return { engine: through(engine, watched), caches, take: () => [seen, seen = []][0] };
}

/** The object with some of its methods replaced. Private fields are reached by binding the others to it. */
function through<T extends object>(target: T, replaced: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const own: unknown = Reflect.get(replaced, name) ?? Reflect.get(target, name);
      return typeof own === 'function' && !Object.hasOwn(replaced, name) ? own.bind(target) as unknown : own;
    },
  });
}
