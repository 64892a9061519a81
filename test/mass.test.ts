/** §11: budgets filled by scores, for whole sequences and in the cache, compared with a simulation that only masks. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attention } from '../reference/public/attention.ts';
import { roundedTo } from '../reference/cache-entries.ts';
import { referenceEngine } from '../reference/index.ts';
import { massAttention, MassCache } from '../reference/public/mass.ts';
import type { Cache, Engine } from '../src/core/engine.ts';
import { DisposedError, ShapeError, UnsupportedError, ValueError } from '../src/core/errors.ts';
import { budgetAfter, type MassRule } from '../src/core/mass.ts';
import { type FloatArray, ndarray, type NDArray } from '../src/core/tensor.ts';
import { kindOf, parsePolicy } from '../src/policies/index.ts';
import { describeEngines, ENGINES } from './support/engines.ts';
import type { Method } from './support/mass-model.ts';
import { followsTheSimulation, type Layer, layers, ruled, type Ruled, type Truth, truthOf } from './support/mass-scenes.ts';
import { engineSystem, optionsOf, publicSystem } from './support/mass-systems.ts';
import { cases } from './support/thorough.ts';
import { expectSameBits, expectWithin } from './support/tolerance.ts';

const rule: MassRule = {
  score: { by: 'attention', heads: 'group' }, budget: { base: 2, perToken: 0 }, recent: { share: 0.5 },
};
const layout = { batch: 1, kvHeads: 1, headDim: 1, blockSize: 2 };

/** The whole sequence as [1,H,N,d]. */
function inputsOf({ G, group, N, d, q, k, v, scale }: Truth): { q: NDArray; k: NDArray; v: NDArray; scale: number } {
  return { q: ndarray(q, [1, G * group, N, d]), k: ndarray(k, [1, G, N, d]), v: ndarray(v, [1, G, N, d]), scale };
}

describe('budgetAfter()', () => {
  it('rounds to the nearest whole number, a half up, and what lies just below a half down', () => {
    const after = (base: number): number => budgetAfter({ budget: { base, perToken: 0.25 } }, 1);
    expect([0, -(2 ** -55), -(2 ** -54), 2 ** -53, 1, 0.999, -0.501, -3].map(after)).toEqual([1, 1, 0, 1, 2, 1, 0, 0]);
  });
});

describe('massAttention()', () => {
  it('lets each query see the same as a simulation that only masks, and gives the same results', () => {
    const [lengths, regimes] = [fc.integer({ min: 0, max: 16 }), fc.constantFrom('real', 'winner', 'equal')];
    fc.assert(fc.property(layers, ruled, lengths, regimes, (layer, { method, mass }, N, regime) => {
      const truth = truthOf(layer, N, layer.seed, regime, 'float64', method);
      const { reach } = method;
      const { out, last } = massAttention({ ...inputsOf(truth), mass, ...(reach !== undefined && { reach }) });
      expect([...last.data]).toEqual(truth.heads.flatMap((head) => [...head.last]));
      expectWithin(out.data, truth.out, 'out');
      truth.heads.forEach(({ mask }, g) => mask.forEach((row, i) => row.forEach((sees, j) => {
        expect(j <= i && i <= last.data[g * N + j]).toBe(sees);
      })));
    }), { numRuns: cases(150, 1000) });
  });

  it('equals attention() with the lifetimes that it returns, bit for bit, whatever is in keys that are no longer seen', () => {
    fc.assert(fc.property(layers, ruled, fc.integer({ min: 1, max: 16 }), (layer, { method, mass }, N) => {
      const inputs = inputsOf(truthOf(layer, N, layer.seed, 'real', 'float64', method));
      const { out, lse, last } = massAttention({ ...inputs, mass });
      const masked = attention({ ...inputs, last });
      expectSameBits(out.data, masked.out.data, 'out');
      expectSameBits(lse.data, masked.lse.data, 'lse');
    }), { numRuns: cases(30, 200) });
  });

  it.each<[string, Partial<MassRule>, RegExp]>([
    ['an unknown score', { score: { by: 'luck' } as never }, /by is "luck": it must be 'attention' or 'key-norm' or 'age'/],
    ['scores of unknown heads', { score: { by: 'attention', heads: 'all' } as never }, /heads is "all"/],
    ['an even pool', { score: { by: 'attention', heads: 'group', pool: 4 } }, /pool is 4: it must be odd/],
    ['no queries', { score: { by: 'attention', heads: 'group', queries: 0 } }, /queries is 0/],
    ['a budget that is none', { budget: { base: NaN, perToken: 0 } }, /base is NaN/],
    ['a budget that outgrows the text', { budget: { base: 0, perToken: 1.5 } }, /perToken is 1.5: it must be a number from 0 to 1/],
    ['a share above 1', { recent: { share: 2 } }, /share is 2/],
    ['a fraction of a sink', { first: 0.5 }, /first is 0.5/],
  ])('refuses %s', (_, wrong, message) => {
    const x = ndarray(new Float64Array(2), [1, 1, 2, 1]);
    expect(() => massAttention({ q: x, k: x, v: x, mass: { ...rule, ...wrong } })).toThrow(ValueError);
    expect(() => massAttention({ q: x, k: x, v: x, mass: { ...rule, ...wrong } })).toThrow(message);
    expect(() => new MassCache({ ...layout, mass: { ...rule, ...wrong } })).toThrow(message);
  });

  it('refuses shapes that contradict each other, and query heads that KV heads cannot share', () => {
    const x = (...shape: number[]): NDArray => ndarray(new Float64Array(shape.reduce((a, b) => a * b, 1)), shape);
    const attend = (q: NDArray, k: NDArray) => () => massAttention({ q, k, v: k, mass: rule });
    expect(attend(x(1, 1, 2, 1), x(1, 1, 3, 1))).toThrow(ShapeError);
    expect(attend(x(1, 3, 2, 1), x(1, 2, 2, 1))).toThrow(/query heads \(3\)/);
    expect(attend(x(2), x(2))).toThrow(ShapeError);
  });
});

describe('MassCache', () => {
  it('gives, holds, counts and frees the same as the simulation, for every split, in forks and from snapshots', () =>
    followsTheSimulation('float64', ['real', 'winner', 'equal'], publicSystem), 60_000);

  it('appends, attends and evicts in one step()', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 6 });
    fc.assert(fc.property(layers, ruled, lengths, (layer, each, steps) => {
      const { kvHeads: G, group, headDim: d, seed } = layer;
      const N = steps.reduce((a, b) => a + b, 0);
      const truth = truthOf(layer, N, seed, 'real', 'float64', each.method);
      const cache = new MassCache({ ...optionsOf(layer, each), batch: 1 });
      let seen = 0;
      for (const T of steps) {
        const rows = <X>(x: ArrayLike<X>, heads: number): X[] => Array.from({ length: heads * T * d }, (_, n) => {
          return x[(Math.floor(n / (T * d)) * N + seen) * d + (n % (T * d))];
        });
        const part = (x: Float64Array, heads: number): NDArray => {
          return ndarray(Float64Array.from(rows(x, heads)), [1, heads, T, d]);
        };
        const [q, k, v] = [part(truth.q, G * group), part(truth.k, G), part(truth.v, G)];
        expectWithin(cache.step({ q, k, v, scale: truth.scale }).data, rows(truth.out, G * group), 'out');
        seen += T;
        truth.heads.forEach(({ held }, g) => expect([...cache.positions(0, g)]).toEqual(held[seen - 1]));
      }
      expect([...cache.lengths()]).toEqual([N]);
    }), { numRuns: cases(40, 200) });
  });

  it('counts the scores of an entry among its bytes', () => {
    const bytes = (score: MassRule['score']): number => {
      return new MassCache({ ...layout, headDim: 4, mass: { ...rule, score } }).stats().entryBytes;
    };
    const bare = 2 * 4 * 8 + 8; // key and value, position and last query
    expect(bytes({ by: 'age' })).toBe(bare);
    expect(bytes({ by: 'key-norm' })).toBe(bare + 8);
    expect(bytes({ by: 'attention', heads: 'group' })).toBe(bare + 8);
    expect(bytes({ by: 'attention', heads: 'group', queries: 32 })).toBe(bare + 32 * 8);
  });

  it('refuses other calls between append() and its attend(), and a second attend()', () => {
    const cache = new MassCache({ ...layout, mass: rule });
    const x = ndarray(Float64Array.of(1), [1, 1, 1, 1]);
    expect(() => cache.attend({ q: x })).toThrow(/no new tokens: append\(\) them first/);
    cache.append({ k: x, v: x });
    expect(() => cache.append({ k: x, v: x })).toThrow(/append\(\) was called between append\(\) and its attend\(\)/);
    for (const act of ['evict', 'snapshot', 'fork'] as const) expect(() => cache[act]()).toThrow(ValueError);
    cache.attend({ q: x });
    expect(() => cache.attend({ q: x })).toThrow(ValueError);
    cache.evict();
    expect([...cache.positions(0, 0)]).toEqual([0]);
  });

  it('refuses a step() whose queries have a wrong shape or are not finite, before anything is appended', () => {
    const cache = new MassCache({ ...layout, mass: rule });
    const x = (n: number): NDArray => ndarray(Float64Array.of(n), [1, 1, 1, 1]);
    expect(() => cache.step({ q: ndarray(new Float64Array(2), [1, 1, 1, 2]), k: x(1), v: x(1) })).toThrow(ShapeError);
    expect(() => cache.step({ q: x(NaN), k: x(1), v: x(1) })).toThrow(ValueError);
    expect([...cache.lengths()]).toEqual([0]);
  });

  it('refuses snapshots of another layout or rule, and damaged ones', () => {
    const cache = new MassCache({ ...layout, kvHeads: 2, mass: rule });
    const x = ndarray(Float64Array.of(1, 2, 3, 4, 5, 6), [1, 2, 3, 1]);
    cache.step({ q: x, k: x, v: x });
    const good = cache.snapshot();
    const { scores, ...bare } = good;
    expect(scores).toHaveLength(4);
    expect(() => cache.restore(bare)).toThrow(/has 0 scores but must have 4/);
    expect(() => cache.restore({ ...good, open: Uint8Array.of(1, 0, 0, 0) })).toThrow(/is marked 1/);
    const wrong = (x: Int32Array, at: number, value: number): Int32Array => x.map((n, m) => (m === at ? value : n));
    expect(() => cache.restore({ ...good, last: wrong(good.last, 0, 7) })).toThrow(/lives until 7/);
    expect(() => cache.restore({ ...good, positions: wrong(good.positions, 1, 3) })).toThrow(/position 3 .* seen 3/);
    const tova: MassRule = { ...rule, score: { by: 'attention', queries: 1, heads: 'layer' } };
    const apart = { ...good, positions: Int32Array.of(0, 2, 1, 2) };
    expect(() => new MassCache({ ...layout, kvHeads: 2, mass: tova }).restore(apart)).toThrow(/one set per layer/);
    expect(() => new MassCache({ ...layout, mass: rule }).restore(good)).toThrow(ShapeError);
    cache.restore(good);
    expect(cache.snapshot()).toEqual(good);
  });

  it('shrinks to its budget after restoring the snapshot of a larger one', () => {
    const x = ndarray(new Float64Array(9), [1, 1, 9, 1]);
    const one = ndarray(new Float64Array(1), [1, 1, 1, 1]);
    const large = new MassCache({ ...layout, mass: { ...rule, budget: { base: 8, perToken: 0 } } });
    large.step({ q: x, k: x, v: x });
    expect([...large.positions(0, 0)]).toHaveLength(8);
    const small = new MassCache({ ...layout, mass: rule });
    small.restore(large.snapshot());
    small.step({ q: one, k: one, v: one });
    expect([...small.positions(0, 0)]).toEqual([0, 9]); // with equal weights, the first was seen by the most queries
  });

  it('holds no more bytes after 400 tokens than after 40 if the budget is fixed', () => {
    const cache = new MassCache({ ...layout, blockSize: 4, mass: { ...rule, budget: { base: 8, perToken: 0 } } });
    const x = ndarray(Float64Array.of(1), [1, 1, 1, 1]);
    const bytes: number[] = [];
    for (let i = 0; i < 400; i++) {
      cache.step({ q: x, k: x, v: x });
      if (i === 39 || i === 399) bytes.push(cache.stats().bytes[0]);
    }
    expect(bytes).toEqual([8 * cache.stats().entryBytes, 8 * cache.stats().entryBytes]);
  });
});

/** The engines that have caches under a budget. */
const BUDGETED = ENGINES.filter(({ name }) => /^(reference|wasm|wgsl)/.test(name));

describeEngines('a budget', ({ engine, precision }) => {
  // In float32 equal weights, such as 1/3, could be rounded to different sums.
  const regimes = precision === 'float64' ? ['real', 'winner', 'equal'] as const : ['real', 'winner'] as const;
  it('gives, holds, counts and frees the same as the simulation, for every split, in forks and from snapshots', () =>
    followsTheSimulation(
      precision, regimes, (layer, each, scale) => engineSystem(engine(), layer, each, scale),
      // A processor that stands in for a GPU compiles a kernel for each layout first.
      engine().name.startsWith('wgsl') ? cases(12, 400) : cases(60, 400)), 180_000);

  it('continues from a snapshot of the other precision, which continues from its own', async () => {
    const other = referenceEngine(precision === 'float64' ? 'float32' : 'float64');
    const layer: Layer = { batch: 1, kvHeads: 1, group: 1, headDim: 1, blockSize: 3, seed: 1 };
    const each: Ruled = { method: { name: 'h2o', budget: () => 2, newest: () => 1 }, mass: rule };
    const step = (on: Engine, cache: Cache, x: number): void => {
      const tensor = on.tensor([x], [1, 1, 1, 1]);
      cache.append(tensor, tensor, undefined);
      cache.attend(tensor, 1);
      cache.evict();
    };
    for (const [from, to] of [[engine(), other], [other, engine()]] as const) {
      const [one, two] = [from, to].map((on) => on.createCache(optionsOf(layer, each)));
      for (const x of [0, 3, 1]) step(from, one, x);
      two.restore(await one.snapshot());
      for (const x of [0, 0]) step(to, two, x);
      expect([...await two.positions(0, 0)]).toEqual([1, 4]);
    }
  });

  it.each(['f32', 'f16'] as const)('stores keys and values as %s, with the same results as for numbers that were rounded before', async (storage) => {
    const on = engine();
    const layer: Layer = { batch: 1, kvHeads: 2, group: 2, headDim: 4, blockSize: 3, seed: 3 };
    const mass = { ...rule, budget: { base: 4, perToken: 0 } };
    const each: Ruled = { method: { name: 'h2o', budget: () => 4, newest: () => 2 }, mass };
    const { q, k, v } = truthOf(layer, 12, 3, 'real', 'float32', each.method);
    const narrow = on.createCache({ ...optionsOf(layer, each), storage });
    const wide = on.createCache(optionsOf(layer, each));
    const tensor = (x: FloatArray, heads: number) => on.tensor(x, [1, heads, 12, 4]);
    const out = narrow.step({ q: tensor(q, 4), k: tensor(k, 2), v: tensor(v, 2), scale: 1 });
    const [kept, read] = [k, v].map((x) => tensor(roundedTo(storage, x), 2));
    const truth = wide.step({ q: tensor(q, 4), k: kept, v: read, scale: 1 });
    expectSameBits(await on.read(out), await on.read(truth), 'out');
    expect([...await narrow.positions(0, 1)]).toEqual([...await wide.positions(0, 1)]);
    const bytes = 2 * 4 * (storage === 'f32' ? 4 : 2) + 8 + (precision === 'float64' ? 8 : 4);
    expect((await narrow.stats()).entryBytes).toBe(bytes);
    expect(await narrow.fork().snapshot()).toEqual(await narrow.snapshot());
  });

  it('throws a DisposedError if used after dispose()', () => {
    const cache = engine().createCache({ ...layout, mass: rule });
    cache.dispose();
    expect(() => cache.evict()).toThrow(DisposedError);
  });
}, BUDGETED);

describeEngines('an engine', ({ engine }) => {
  it('has caches under a budget, or refuses them by a named error that names the engine', () => {
    const make = (): Cache => engine().createCache({ ...layout, mass: rule });
    const has = /^(reference|wasm|wgsl)/.test(engine().name);
    if (has) return expect(make().options).toMatchObject({ ...layout, mass: rule });
    expect(make).toThrow(UnsupportedError);
    expect(make).toThrow(`the engine '${engine().name}' has no caches under a budget`);
  });
});

/** The policies of the list with their definitions. Sequences are long enough for SnapKV's 32 queries. */
describe.each<[string, Method['name'], Omit<Method, 'name'>]>([
  ['h2o:5+9', 'h2o', { budget: () => 14, newest: () => 9 }],
  ['h2o:13', 'h2o', { budget: () => 13, newest: (k) => Math.floor(k / 2) }],
  ['h2o:4+0.25n', 'h2o', { budget: (i) => Math.round(4 + 0.25 * (i + 1)), newest: (k) => Math.floor(k / 2) }],
  ['h2o-mean:14', 'h2o-mean', { budget: () => 14, newest: (k) => Math.floor(k / 2) }],
  ['tova:11', 'tova', { budget: () => 11, newest: () => 0 }],
  ['snapkv:20', 'snapkv', { budget: () => 20, newest: (k) => Math.min(32, Math.floor(k / 2)) }],
  ['snapkv:70', 'snapkv', { budget: () => 70, newest: (k) => Math.min(32, Math.floor(k / 2)) }],
  ['keynorm:15', 'keynorm', { budget: () => 15, newest: (k) => Math.floor(k / 2) }],
  ['growing:3+2+0.25n', 'growing', { budget: (i) => Math.round(5 + 0.25 * (i + 1)), newest: () => 0, sinks: 3 }],
  ['growing:0+10', 'growing', { budget: () => 10, newest: () => 0 }],
])('the policy %s', (text, name, definition) => {
  it('keeps what its definition says', () => {
    const policy = parsePolicy(text);
    const { mass } = kindOf(policy).rule(policy, { window: 7, chunk: 5 }) as { mass: MassRule };
    const layer: Layer = { batch: 1, kvHeads: 2, group: 2, headDim: 2, blockSize: 3, seed: 5 };
    const truth = truthOf(layer, 90, 5, 'real', 'float64', { name, ...definition });
    expect(truth.heads.every(({ held }) => held[89].length < 90)).toBe(true); // something was evicted
    const { last } = massAttention({ ...inputsOf(truth), mass });
    expect([...last.data]).toEqual(truth.heads.flatMap((head) => [...head.last]));
  });
});
