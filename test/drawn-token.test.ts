/**
 * drawnToken() of the engine of hand-written WGSL: the tokens that Sampler draws on the host from the same noise.
 * Where u lies within the engine's rounding of a border between tokens, either of the two counts.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import type { Engine } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ValueError } from '../src/core/errors.ts';
import type { Drawing } from '../src/core/forms.ts';
import { Sampler } from '../src/model/generate/sampler.ts';
import { seeds } from './support/arbitraries.ts';
import { draw } from './support/draw.ts';
import { scoped } from './support/engines.ts';
import { cases } from './support/thorough.ts';
import { describeWebGPU } from './support/webgpu.ts';

type Sampling = Omit<Drawing, 'noise'>;
const U = 2 ** -24;
/** Software drivers take some tenths of a second to draw a token. */
const PATIENCE = { timeout: 300_000 };

/**
 * How far, relative to the largest weight, sums of V weights are from the truth: each weight is a multiple of 2^-31 and
 * the exponential of a product that float32 rounds twice; WGSL allows exp() itself 3 + 2 |argument| units, and weights
 * whose argument is below -22 are 0.
 */
const budgetOf = (V: number): number => V * 2 ** -32 + (3 + 4 * 22) * 2 * U;

/** The tokens that may be drawn, where every sum may be off by the budget. */
function candidates(
  logits: readonly number[], u: number, { temperature, topK, topP = 1, minP = 0 }: Sampling,
): Set<number> {
  const order = logits.map((_, n) => n).sort((a, b) => logits[b] - logits[a] || a - b);
  const top = logits[order[0]];
  const weights = order.map((n) => Math.exp((logits[n] - top) / temperature));
  let sum = 0;
  const sums = weights.map((weight) => (sum += weight));
  const budget = budgetOf(logits.length) * sums.at(-1)!;
  const lengthOf = (weight: number): number => sums.findIndex((sum) => sum >= weight) + 1 || sums.length;
  const found = new Set<number>();
  const length = Math.min(topK ?? order.length, order.length);
  for (const sign of [-1, 1]) {
    const byP = topP < 1 ? Math.min(length, lengthOf(topP * sums[length - 1] + 2 * sign * budget)) : length;
    for (const also of [-1, 1]) {
      const least = minP + also * 2 * budgetOf(1) * minP;
      const left = Math.min(byP, minP > 0 ? weights.filter((w) => w >= least).length : byP);
      for (const end of [-1, 1]) {
        const at = u * sums[left - 1] + 3 * end * budget;
        const n = sums.findIndex((sum) => sum > at);
        found.add(n < 0 ? left - 1 : Math.min(n, left - 1));
      }
    }
  }
  const all = new Set<number>();
  for (let n = Math.min(...found); n <= Math.max(...found); n++) all.add(order[n]);
  return all;
}

/** Draws from rows of logits, by a head that is the identity: x holds what the norm turns into the logits. */
async function drawn(
  engine: Engine, rows: readonly (readonly number[])[], us: readonly number[], sampling: Sampling,
): Promise<number[]> {
  const V = rows[0].length;
  // A hidden state (1, 0) or (0, 1), ... of as many elements as rows has the norm sqrt(rows) at its place.
  const [one, scale] = [rows.length, Math.sqrt(rows.length)];
  const x = engine.tensor(rows.flatMap((_, n) => rows.map((_, m) => Number(n === m))), [rows.length, one]);
  const norm = { weight: engine.tensor(new Array<number>(one).fill(1 / Math.fround(scale)), [one]), epsilon: 0 };
  const head = engine.tensor(Array.from({ length: V * one }, (_, n) => rows[n % one][Math.floor(n / one)]), [V, one]);
  const noise = engine.integers(us.map((u) => Math.floor(u * 2 ** 31)), [rows.length]);
  const tokens = engine.forms!.drawnToken!(x, norm, head, { ...sampling, noise });
  expect([tokens.kind, tokens.shape]).toEqual(['integer', [rows.length]]);
  return [...await engine.readIntegers(tokens)];
}

const drawings = fc.record({
  V: fc.constantFrom(1, 2, 7, 60, 600, 1100), spread: fc.constantFrom(0, 1, 3, 12),
  temperature: fc.constantFrom(0.02, 0.7, 1, 5), topK: fc.constantFrom(undefined, 1, 5, 50),
  topP: fc.constantFrom(undefined, 0.3, 0.95), minP: fc.constantFrom(undefined, 0.05),
  ties: fc.boolean(), seed: seeds,
});

describeWebGPU('drawnToken()', () => {
  let engine: TrainingEngine;
  beforeAll(async () => {
    engine = await openWgslEngine({ testing: true });
  });
  afterAll(() => engine.dispose());

  const drawsAsTheHost = async (
    engine: Engine, { V, spread, ties, seed, ...sampling }: typeof drawings extends fc.Arbitrary<infer D> ? D : never,
  ): Promise<void> => {
    const numbers = draw(seed, 'float32');
    const values = numbers.real(V).map((x) => (ties ? Math.round(2 * x * spread) / 2 : Math.fround(x * spread)));
    const logits = [...Float32Array.from(values)];
    const us = [...numbers.real(3)].map((x) => Math.abs(x) % 1);
    const tokens: number[] = [];
    for (const u of us) tokens.push(...await drawn(engine, [logits], [u], sampling));
    for (const [n, u] of us.entries()) {
      const whole = Math.floor(u * 2 ** 31) / 2 ** 31;
      const may = candidates(logits, whole, sampling);
      expect([...may]).toContain(tokens[n]);
      const random = { uniform: () => whole, below: () => 0, normal: () => 0 };
      const host = new Sampler(sampling).pick(Float64Array.from(logits), random);
      if (may.size === 1) expect(tokens[n]).toBe(host);
    }
  };

  it('draws what the host draws', PATIENCE, () => fc.assert(
    fc.asyncProperty(drawings, (drawing) => scoped(engine, (view) => drawsAsTheHost(view, drawing))),
    { numRuns: cases(3, 60), endOnFailure: true },
  ));

  it('draws for each row by its own noise, and is -1 exactly where a logit is NaN or infinite', async () => {
    const rows = [[0, 0, 0, 0], [NaN, 1, 2, 3], [0, 0, 0, 0], [0, 0, 0, 40], [1, Infinity, 0, 2]];
    const us = [0, 0, 0.99, 0.5, 0.5];
    const tokens = await Promise.all(rows.map((row, n) => drawn(engine, [row], [us[n]], { temperature: 1 })));
    expect(tokens.flat()).toEqual([0, -1, 3, 3, -1]);
    expect(await drawn(engine, [[0, 0], [0, 0], [0, 30]], [0.1, 0.9, 0.2], { temperature: 0.5 })).toEqual([0, 1, 1]);
  });

  it('refuses what is no drawing', async () => {
    for (const also of [{ temperature: 0 }, { topK: 0 }, { topP: 2 }, { minP: -1 }]) {
      const wrong = { temperature: 1, ...also };
      await expect(drawn(engine, [[0, 1]], [0.5], wrong)).rejects.toThrow(ValueError);
    }
    await expect(drawn(engine, [[0, 1]], [-0.5], { temperature: 1 })).rejects.toThrow('the least number of the noise');
  });
});
