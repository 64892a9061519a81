/**
 * Random commands for a cache. After each, it is compared with the model, which forgets nothing (§8).
 * @module
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Engine } from '../../src/core/engine.ts';
import { ends } from './arbitraries.ts';
import { CacheModel, type CacheSizes, type System, typeRows } from './cache-model.ts';
import { Twins } from './cache-twins.ts';
import { expectWithin } from './tolerance.ts';
import { cases } from './thorough.ts';

/** Caches of all kinds of sizes. */
export const cacheSizes: fc.Arbitrary<CacheSizes> = fc.tuple(fc.record({
  batch: fc.integer({ min: 1, max: 2 }), kvHeads: fc.integer({ min: 1, max: 2 }), group: fc.constantFrom(1, 2, 3),
  headDim: fc.constantFrom(1, 2, 4), window: fc.constantFrom(0, 1, 2, 5, 100), chunk: fc.constantFrom(1, 1, 2, 3, 7),
  blockSize: fc.constantFrom(1, 3, 16),
}), ends(20)).map(([sizes, reach]) => ({ ...sizes, ...reach }));

/** Caches whose reach ends the lifetime of tokens before their chunk is full and has a type. */
export const untypedDeaths: fc.Arbitrary<CacheSizes> = fc
  .tuple(cacheSizes, fc.constantFrom(4, 7), fc.constantFrom(1, 2))
  .map(([sizes, chunk, reach]) => ({ ...sizes, chunk, reach, window: sizes.window % 2 }));

type Command = fc.AsyncCommand<CacheModel, Twins>;

/** Appends and attends. The outputs must be those of full masked attention. With `evicts`, it is a whole step of §8. */
class Step implements Command {
  readonly T: number;
  readonly lacks: readonly number[];
  readonly seed: number;
  readonly evicts: boolean;

  constructor(T: number, lacks: readonly number[], seed: number, evicts: boolean) {
    this.T = T;
    this.lacks = lacks;
    this.seed = seed;
    this.evicts = evicts;
  }
  check(): boolean {
    return true;
  }
  async run(model: CacheModel, system: Twins): Promise<void> {
    const { T } = this;
    const counts = model.seen.map((_, b) => T - (this.lacks[b] % (T + 1)));
    const { k, v, q, types, out } = model.step(T, counts, this.seed);
    system.append(k, v, types, T, counts.every((count) => count === T) ? undefined : counts);
    expectWithin(await system.attend(q, T), out, 'out');
    if (this.evicts) {
      system.evict();
      model.stale = false;
    }
    await expectLawful(model, system);
  }
  toString(): string {
    return `${this.evicts ? 'step' : 'append+attend'}(${this.T} tokens, lacks ${this.lacks}, seed ${this.seed})`;
  }
}

class Evict implements Command {
  check(): boolean {
    return true;
  }
  async run(model: CacheModel, system: Twins): Promise<void> {
    system.evict();
    model.stale = false;
    await expectLawful(model, system);
  }
  toString(): string {
    return 'evict()';
  }
}

class Clear implements Command {
  check(): boolean {
    return true;
  }
  async run(model: CacheModel, system: Twins): Promise<void> {
    system.clear();
    model.clear();
    await expectLawful(model, system);
  }
  toString(): string {
    return 'clear()';
  }
}

/** Makes a copy, which takes all further commands too and must agree bit for bit. */
class Copy implements Command {
  readonly how: 'fork' | 'again';

  constructor(how: 'fork' | 'again') {
    this.how = how;
  }
  check(): boolean {
    return true;
  }
  async run(model: CacheModel, system: Twins): Promise<void> {
    await system.grow(this.how);
    await expectLawful(model, system);
  }
  toString(): string {
    return this.how === 'fork' ? 'fork()' : 'snapshot() and restore()';
  }
}

/** Makes a fork that takes steps of its own, which must not affect the original. */
class Stray implements Command {
  check(): boolean {
    return true;
  }
  async run(model: CacheModel, system: Twins): Promise<void> {
    const { batch: B, kvHeads: G, headDim: d, chunk, group } = model.sizes;
    const fork = system.fork();
    const T = 3;
    const junk = new Float64Array(B * G * group * T * d).fill(7);
    const some = junk.subarray(0, B * G * T * d);
    fork.append(some, some, new Int32Array(B * G * typeRows(T, chunk)), T, undefined);
    await fork.attend(junk, T);
    fork.evict();
    await expectLawful(model, system);
    fork.dispose();
  }
  toString(): string {
    return 'fork() that takes steps of its own';
  }
}

/** Checks the live positions, their order, the counts and the bytes. */
export async function expectLawful(model: CacheModel, system: System): Promise<void> {
  const { batch, kvHeads, blockSize, headDim } = model.sizes;
  const stats = await system.stats();
  expect([...stats.seen]).toEqual(model.seen);
  expect(stats.entryBytes).toBeGreaterThanOrEqual(2 * headDim * (model.precision === 'float32' ? 4 : 8));
  for (let b = 0; b < batch; b++) {
    for (let g = 0; g < kvHeads; g++) {
      const head = b * kvHeads + g;
      const positions = [...await system.positions(b, g)];
      const live = model.live(b, g);
      // Before evict(), dead entries may still be held, but no live one may be missing.
      if (model.stale) expect(positions).toEqual(expect.arrayContaining(live));
      else expect(positions).toEqual(live);
      expect(positions).toEqual([...new Set(positions)].sort((x, y) => x - y));
      expect(stats.live[head]).toBe(positions.length);
      expect(stats.bytes[head]).toBe(Math.ceil(positions.length / blockSize) * blockSize * stats.entryBytes);
      expect(stats.peakLive[head]).toBe(model.heads[head].peakLive);
      expect(stats.visiblePairs[head]).toBe(model.heads[head].visiblePairs);
    }
  }
}

const step = (evicts: boolean) =>
  fc.tuple(
    fc.integer({ min: 1, max: 7 }), fc.array(fc.nat(), { minLength: 2, maxLength: 2 }), fc.boolean(), fc.integer(),
  ).map(([T, lacks, ragged, seed]) => new Step(T, ragged ? lacks : [0, 0], seed, evicts));
const decode = fc.integer().map((seed) => new Step(1, [0, 0], seed, true));
const commands = fc.commands(
  [
    step(true), step(true), decode, decode, decode, step(false), fc.constant(new Evict()), fc.constant(new Clear()),
    fc.constant(new Copy('fork')), fc.constant(new Copy('again')), fc.constant(new Stray()),
  ],
  { maxCommands: 12 },
);

/** Runs random commands on a fresh system. */
export async function followsTheModel(
  precision: Engine['precision'], make: (sizes: CacheSizes) => System,
  which: fc.Arbitrary<CacheSizes> = cacheSizes, computes?: 'f16',
): Promise<void> {
  // Heads that matrix units take.
  const drawnSizes = computes ? which.map((drawn) => ({ ...drawn, headDim: 32 })) : which;
  await fc.assert(
    fc.asyncProperty(drawnSizes, commands, async (sizes, drawn) => {
      const real = new Twins(make(sizes));
      await fc.asyncModelRun(() => ({ model: new CacheModel(sizes, precision, computes), real }), drawn)
        .finally(() => real.dispose());
    }),
    { numRuns: cases(30, 100) },
  );
}
