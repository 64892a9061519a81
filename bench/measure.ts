/**
 * What a case receives and returns, and how times are measured.
 * @module
 */
import type { CacheDtype } from '../src/core/cache.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';

/** One measured number. `target` is the most it should be. */
export interface Measurement {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly target?: number;
}

/** How a case runs. */
export interface Settings {
  /** Use smaller sizes. This shows that the case works; the targets are for the full sizes. */
  readonly quick: boolean;
  /** Timed rounds, after one round of warm-up. */
  readonly repeats: number;
  /** Folder of the shipped model, if there is one. */
  readonly model: string | undefined;
  /** Folder of a Llama to measure as a whole, if one is given. */
  readonly llama?: string | undefined;
  /** Makes the reference engine. */
  readonly createEngine: () => TrainingEngine;
  /** What --compute says. */
  readonly compute?: 'f32' | 'f16' | undefined;
  /** What --cache says, for a whole Llama. */
  readonly cache?: CacheDtype | undefined;
  /** What --tokens says: how many the memory of WebAssembly is measured over. */
  readonly tokens?: number | undefined;
  /** Opens the engine that --gpu names. */
  readonly openEngine?: (() => Promise<TrainingEngine>) | undefined;
}

/** A case: a name for `--only`, and what it measures. */
export interface Case {
  readonly name: string;
  readonly run: (settings: Settings) => Promise<Measurement[]>;
}

/** The upper median. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/**
 * The median milliseconds of each function. The functions take turns, so that other load on the machine affects all of
 * them alike and their ratios are meaningful. A function must wait for its own results.
 */
export async function timeInTurns(
  functions: readonly (() => Promise<unknown>)[], { rounds, warmUp = 1 }: { rounds: number; warmUp?: number },
): Promise<number[]> {
  const times = functions.map((): number[] => []);
  for (let round = -warmUp; round < rounds; round++) {
    for (const [n, run] of functions.entries()) {
      const start = performance.now();
      await run();
      if (round >= 0) times[n].push(performance.now() - start);
    }
  }
  return times.map(median);
}
