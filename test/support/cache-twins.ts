/**
 * A cache together with copies of it. All take the same steps, and must agree bit for bit.
 * @module
 */
import { expect } from 'vitest';
import type { CacheStats } from '../../src/core/engine.ts';
import type { System } from './cache-model.ts';
import { expectSameBits } from './tolerance.ts';

/** The most caches at a time. The oldest is then dropped, so that the others are copies of copies. */
const MOST = 3;

export class Twins implements System {
  readonly #systems: System[];

  constructor(first: System) {
    this.#systems = [first];
  }

  get #newest(): System {
    return this.#systems[this.#systems.length - 1];
  }

  /** Adds a copy, made by fork() or by snapshot() and restore(), that takes all further steps too. */
  async grow(how: 'fork' | 'again'): Promise<void> {
    this.#systems.push(await this.#newest[how]());
    if (this.#systems.length > MOST) this.#systems.shift()!.dispose();
  }

  append(...step: Parameters<System['append']>): void {
    for (const system of this.#systems) system.append(...step);
  }
  async attend(q: Float64Array, T: number): Promise<ArrayLike<number>> {
    const [first, ...others] = await Promise.all(this.#systems.map((system) => system.attend(q, T)));
    for (const [n, out] of others.entries()) expectSameBits(out, first, `out of copy ${n + 1}`);
    return first;
  }
  evict(): void {
    for (const system of this.#systems) system.evict();
  }
  clear(): void {
    for (const system of this.#systems) system.clear();
  }
  stats(): Promise<CacheStats> {
    return this.#agreed((system) => system.stats());
  }
  positions(b: number, g: number): Promise<Int32Array> {
    return this.#agreed((system) => system.positions(b, g));
  }
  async #agreed<T>(ask: (system: System) => Promise<T>): Promise<T> {
    const [first, ...others] = await Promise.all(this.#systems.map(ask));
    for (const other of others) expect(other).toEqual(first);
    return first;
  }
  fork(): System {
    return this.#newest.fork();
  }
  again(): Promise<System> {
    return this.#newest.again();
  }
  dispose(): void {
    for (const system of this.#systems) system.dispose();
  }
}
