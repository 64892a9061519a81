/**
 * §11: the cache of one layer under a budget, whose book is on the device: no step waits for the host. A token is taken
 * at a time, by a workgroup for each KV head; budgets are small, and what a token evicts is not there for the next one.
 * @module
 */
import { type CacheSnapshot, type CacheStats, type CacheStep, type MassCacheOptions, massEntryBytes } from '../../src/core/cache.ts';
import { DeviceError } from '../../src/core/errors.ts';
import type { CacheKernels } from '../../src/core/kernels.ts';
import { endWithin, FOREVER } from '../../src/core/lifetime.ts';
import { budgetAfter, mostAfter, recentAfter } from '../../src/core/mass.ts';
import type { AppendSizes } from '../../src/core/sizes.ts';
import { real, WgslArray } from './array.ts';
import type { Memory, WgslDevice } from './device.ts';
import { ON_ARRIVAL, take } from './mass-kernels.ts';
import { DECIDE, massAttend } from './mass-step.ts';
import { type MassSlots, MassStore } from './mass-store.ts';

/** Tokens along an axis of workgroups. */
const ACROSS = 32768;
/** How many times as long a workgroup takes as if all of a GPU shared its work. */
const ALONE = 64;

/** The newest step, whose tokens wait for attend(). */
interface Pending {
  readonly slots: MassSlots;
  readonly counts: readonly number[];
  /** The position of each sequence's first token. */
  readonly first: readonly number[];
  /** What differs between tokens: see the kernel. */
  readonly steps: Memory | undefined;
}

export class WgslMassCache implements CacheKernels<WgslArray> {
  readonly #device: WgslDevice;
  readonly #options: MassCacheOptions;
  readonly #store: MassStore;
  /** Tokens seen by each sequence. */
  #seen: number[];
  /** At least as many entries as each head of a sequence holds. */
  #bound: number[];
  #pending: Pending | undefined;

  constructor(device: WgslDevice, options: MassCacheOptions) {
    this.#device = device;
    this.#options = options;
    this.#store = new MassStore(device, options);
    this.#seen = new Array<number>(options.batch).fill(0);
    this.#bound = [...this.#seen];
  }

  append(k: WgslArray, v: WgslArray, types: WgslArray | undefined, { T, counts }: AppendSizes): void {
    const { batch: B, kvHeads: G, headDim: d, mass } = this.#options;
    counts.forEach((count, b) => {
      if (this.#seen[b] + count >= FOREVER) throw new DeviceError(`sequence ${b} would reach ${this.#seen[b] + count} tokens, but positions are counted to ${FOREVER - 1} only: clear() the cache`);
    });
    const [device, store, first] = [this.#device, this.#store, [...this.#seen]];
    const bound = Math.max(...this.#bound);
    const slots = store.reserve(Math.max(...this.#bound.map((held, b) => held + counts[b])), bound);
    const alike = T === 1 && counts.every((count, b) => count === 1 && first[b] === first[0]);
    const steps = alike || T === 0 ? undefined : device.upload(this.#steps(first, counts, T));
    const [K, V] = [real(device, k), real(device, v)];
    device.run(take(device.width, store.stored), {
      params: {
        T, d, G, room: slots.room, width: store.width, rank: ON_ARRIVAL[mass.score.by], same: alike ? 1 : 0,
        first: first[0],
      },
      // An absent array is not read, so that another one may stand in for it.
      inputs: [K, V, types ? real(device, types) : K, steps ?? K],
      outputs: [slots.keys, slots.values, slots.book, slots.scores],
      groups: [Math.min(T, ACROSS), B * G, Math.ceil(T / ACROSS)], work: B * G * T * d * 4,
    });
    this.#pending = { slots, counts, first, steps };
    this.#seen = first.map((seen, b) => seen + counts[b]);
  }

  /** All in one call, so that what a step needs besides is known before anything has happened. */
  step(
    { q, k, v, types, scale }: CacheStep<WgslArray>, { H, ...sizes }: AppendSizes & { H: number },
  ): WgslArray {
    this.#store.scratch = 2 + H / this.#options.kvHeads;
    this.append(k, v, types, sizes);
    const out = this.attend(q, scale, { H, T: sizes.T });
    this.evict();
    return out;
  }

  /** (position, tokens) of each sequence, then (budget, positions protected) of each of its T tokens. */
  #steps(first: readonly number[], counts: readonly number[], T: number): Uint32Array {
    const { batch: B } = this.#options;
    const steps = new Uint32Array(2 * B * (1 + T));
    counts.forEach((count, b) => {
      steps.set([first[b], count], 2 * b);
      for (let t = 0; t < count; t++) steps.set(this.#limits(first[b] + t), 2 * (B + b * T + t));
    });
    return steps;
  }

  /** Whole numbers of the rule after step i. */
  #limits(i: number): [budget: number, recent: number] {
    const { mass } = this.#options;
    return [Math.min(budgetAfter(mass, i), FOREVER), Math.min(recentAfter(mass, i), FOREVER)];
  }

  attend(q: WgslArray, scale: number, { H, T }: { H: number; T: number }): WgslArray {
    const { batch: B, kvHeads: G, headDim: d, mass, reach = FOREVER } = this.#options;
    const [device, { slots, counts, first, steps }] = [this.#device, this.#taken()];
    const [{ width }, { stored, width: scores }] = [device, this.#store];
    const { room } = slots;
    const group = H / G;
    const [queries, out] = [real(device, q), device.allocate(B * H * T * d)];
    const scratch = device.allocate(B * G * room * (2 + group));
    const score = mass.score.by === 'attention' ? mass.score : undefined;
    const [budget, recent] = this.#limits(first[0]);
    const step = { T, G, group, room, same: steps ? 0 : 1, position: first[0] };
    const rule = {
      B, width: scores, attention: score ? 1 : 0, queries: score?.queries ?? 0, layer: score?.heads === 'layer' ? 1 : 0,
      mean: score?.mean ? 1 : 0, pool: score?.pool ?? 1, first: Math.min(mass.first ?? 0, FOREVER),
      reach: Math.min(reach, FOREVER), budget, recent,
    };
    const held = Math.min(room, Math.max(...this.#bound) + T);
    for (let t = 0; t < T; t++) {
      device.run(massAttend(width, group, d, stored), {
        params: { ...step, t, d, scale }, inputs: [queries, slots.keys, slots.values, steps ?? queries, slots.book],
        outputs: [scratch, out], groups: [B * G], work: ALONE * B * H * held * d * 4,
      });
      device.run(DECIDE({ THREADS: width === 64 ? 256 : width }), {
        params: { ...step, ...rule, t }, inputs: [steps ?? queries], outputs: [slots.book, slots.scores, scratch],
        groups: [B * G], work: ALONE * B * G * held * 16,
      });
    }
    for (const memory of steps ? [scratch, steps] : [scratch]) device.free(memory);
    this.#bound = this.#bound.map((most, b) => (counts[b] === 0 ? most
      : Math.min(most + counts[b], mostAfter(mass, first[b] + counts[b] - 1))));
    return new WgslArray(q.shape, out);
  }

  /** What waits for attend(), which waits no longer. */
  #taken(): Pending {
    const pending = this.#pending!;
    this.#pending = undefined;
    return pending;
  }

  evict(): void {
    this.#store.shrink(Math.max(...this.#bound));
  }

  clear(): void {
    if (this.#pending?.steps) this.#device.free(this.#pending.steps);
    this.#pending = undefined;
    this.#store.clear();
    this.#seen.fill(0);
    this.#bound.fill(0);
  }

  async stats(): Promise<CacheStats> {
    const [seen, { blockSize }] = [Int32Array.from(this.#seen), this.#options];
    const { live, peakLive, visiblePairs } = await this.#store.book();
    const bytes = massEntryBytes(this.#options, this.#store.stored, 4);
    return {
      seen, live, peakLive, visiblePairs,
      bytes: Float64Array.from(live, (count) => Math.ceil(count / blockSize) * blockSize * bytes), entryBytes: bytes,
    };
  }

  async positions(head: number): Promise<Int32Array> {
    const { live, positions } = await this.#store.book();
    const start = live.subarray(0, head).reduce((sum, n) => sum + n, 0);
    return positions.slice(start, start + live[head]);
  }

  fork(): WgslMassCache {
    const copy = new WgslMassCache(this.#device, this.#options);
    copy.#store.copyOf(this.#store);
    [copy.#seen, copy.#bound] = [[...this.#seen], [...this.#bound]];
    return copy;
  }

  async snapshot(): Promise<CacheSnapshot> {
    const [seen, { reach }] = [Int32Array.from(this.#seen), this.#options];
    const { slots: _, ...held } = await this.#store.entries();
    const last = held.positions.map((position) => endWithin(FOREVER, position, reach));
    return { seen, ...held, last, open: new Uint8Array(last.length) };
  }

  restore(snapshot: CacheSnapshot): void {
    const { batch, kvHeads: G } = this.#options;
    this.clear();
    this.#seen = Array.from(snapshot.seen);
    this.#bound = Array.from({ length: batch }, (_, b) => Math.max(...snapshot.live.subarray(b * G, (b + 1) * G)));
    this.#store.fill(snapshot);
  }

  dispose(): void {
    this.clear();
  }
}
