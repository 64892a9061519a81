/**
 * Whole models that compute in float16, or store keys and values in it, end to end: logits against float64 within the
 * budget of support/model-budget.ts, and what that budget finds.
 */
import { describe, expect, it } from 'vitest';
import { openWgslEngine, type WgslOptions } from '../gpu/wgsl/open.ts';
import { referenceEngine } from '../reference/index.ts';
import { generator } from '../src/core/random.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { draw } from './support/draw.ts';
import { type Changes, halfUnit, ModelBudget, type Narrowed } from './support/model-budget.ts';
import { some } from './support/thorough.ts';
import { asFloat16, type Bounded, expectWithin } from './support/tolerance.ts';
import { describeWebGPU } from './support/webgpu.ts';

const V = 48;
/** All rows are multiples of 8, and products have 256 results or more: none is too small for matrix units. */
const CONFIG: ModelConfig = parseConfig({
  vocab_size: V, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4,
  num_key_value_heads: 2, head_dim: 16, max_position_embeddings: 64, tie_word_embeddings: true,
  bos_token_id: 1, eos_token_id: 2, nats: { policy: 'full', window: 3, lambda: 0 },
});

/** Weights that are exact in float32: products of normed rows are about as large as these. */
function drawnWeights(): Map<string, NDArray> {
  const random = generator(5, [1]);
  const weights = initialWeights(CONFIG, 5);
  for (const { data, shape } of weights.values()) {
    const [mean, deviation] = shape.length > 1 ? [0, 1 / Math.sqrt(shape[1])] : [1, 0.1];
    data.forEach((_, n) => (data[n] = Math.fround(mean + deviation * random.normal())));
  }
  return weights;
}

const WEIGHTS = drawnWeights();
/** The tokens of a prompt, and further ones. */
const [PROMPT, MORE] = [16, 4];
const IDS = Array.from({ length: PROMPT + MORE }, (_, n) => (n * 29 + 7) % V);
const POLICY = parsePolicy('streaming:2+9');
/** What is rounded to float16: all factors of a prompt; or those, and keys and values of further tokens in a cache. */
const CASES: readonly { N: number; narrowed: Narrowed }[] = [
  { N: PROMPT + MORE, narrowed: { prompt: PROMPT, cache: true } },
  { N: PROMPT, narrowed: { prompt: PROMPT, cache: false } },
];
/** The tokens whose logits are judged, out of N. */
const rowsOf = (N: number): number[] => [PROMPT - 2, PROMPT - 1, N - 1].slice(0, N > PROMPT ? 3 : 2);

/** The numbers of a sequence in float64, changed by a mutant or not. */
const computed = (N: number, narrowed: Narrowed, changes?: Changes): ModelBudget =>
  new ModelBudget({ config: CONFIG, weights: WEIGHTS, policy: POLICY }, IDS.slice(0, N), narrowed, changes);

const picked = (logits: ArrayLike<number>, rows: readonly number[]): number[] =>
  rows.flatMap((row) => Array.from({ length: V }, (_, v) => logits[row * V + v]));

const budgets = (made: ModelBudget, rows: readonly number[]): Bounded[] =>
  rows.flatMap((row) => made.row(row, rows.length * V));

/** All logits [N,V]: of a prompt in one step, and of each further token in a step of its own. */
async function found(N: number, options: WgslOptions, cache: 'f16' | 'f32'): Promise<number[]> {
  const engine = await openWgslEngine({ testing: true, ...options });
  const session = new Model(engine, CONFIG, WEIGHTS).session({ policy: POLICY, cache });
  const logits = [...await session.step(IDS.slice(0, PROMPT))];
  for (const id of IDS.slice(PROMPT, N)) logits.push(...await session.step([id]));
  engine.dispose();
  return logits;
}

const spread = (a: readonly number[], truth: readonly Bounded[]): number =>
  Math.sqrt(a.reduce((sum, x, n) => sum + (x - truth[n].value) ** 2, 0) / a.length);

/** x with so many significant bits. */
const rounded = (bits: number) => (x: number): number => {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - bits + 1);
  return x === 0 ? 0 : Math.round(x / unit) * unit;
};

describeWebGPU('the logits of a whole model', () => {
  it.each(some(1, CASES))('are within the budget of float16: %o', async ({ N, narrowed }) => {
    const rows = rowsOf(N);
    const stored = narrowed.cache ? 'f16' : 'f32';
    const truth = budgets(computed(N, narrowed), rows);
    const half = picked(await found(N, { compute: 'f16' }, stored), rows);
    expectWithin(half, truth, 'a logit');
    // It did round: float32 is within its own budget, which is narrower, and much closer.
    const single = budgets(computed(N, { prompt: 0, cache: narrowed.cache }), rows);
    const whole = picked(await found(N, { compute: 'f32' }, stored), rows);
    expectWithin(whole, single, 'a logit in float32');
    expect(spread(half, truth)).toBeGreaterThan((narrowed.cache ? 1.5 : 50) * spread(whole, truth));
    // And the budget is not much more than what rounding does: here, errors are a twentieth of it or more.
    expect(spread(half, truth)).toBeGreaterThan(truth.reduce((sum, { error }) => sum + error, 0) / truth.length / 20);
  }, 300_000);
});

describe('the budget of a whole model', () => {
  const { N, narrowed } = CASES[0];
  const rows = rowsOf(N);
  const truth = budgets(computed(N, narrowed), rows);
  const within = (changes: Changes): boolean => {
    const logits = picked(computed(N, narrowed, changes).logits, rows);
    return logits.every((x, n) => Math.abs(x - truth[n].value) <= truth[n].error);
  };

  it('has the logits of the reference', async () => {
    const session = new Model(referenceEngine('float64'), CONFIG, WEIGHTS).session({ policy: POLICY });
    const logits = picked(await session.step(IDS.slice(0, N)), rows);
    // Some thousand roundings of float64, each of which a few layers make at most a few times as large.
    logits.forEach((x, n) => expect(Math.abs(x - truth[n].value)).toBeLessThanOrEqual(2 ** -53 * 2 ** 14));
  });

  it('is first order in roundings, what it leaves out being a hundredth of it', () => {
    const { real } = draw(3, 'float64');
    const made = computed(N, narrowed);
    const errors = new Map(Array.from(made.factors, ([name, x]) => {
      const signs = real(x.length);
      return [name, x.map((each, n) => Math.sign(signs[n]) * halfUnit(each))] as const;
    }));
    const changed = computed(N, narrowed, { factor: (name, x) => x.map((each, n) => each + errors.get(name)![n]) });
    let moved = 0;
    for (const row of [0, N - 1]) {
      for (let at = row * V; at < row * V + V; at++) {
        const change = changed.logits[at] - made.logits[at];
        const predicted = made.linear(at, (name) => errors.get(name)!);
        expect(Math.abs(change - predicted)).toBeLessThanOrEqual(0.01 * truth[0].error);
        moved = Math.max(moved, Math.abs(predicted));
      }
    }
    expect(moved).toBeGreaterThan(0.2 * truth[0].error);
  });

  it('holds for factors of float16, and not for factors of 8 bits', () => {
    expect(within({ factor: (_, x) => x.map(asFloat16) })).toBe(true);
    expect(within({ factor: (_, x) => x.map(rounded(8)) })).toBe(false);
  });

  it.each([
    ['0 norm', 1], ['0 q', 1], ['0 k', 1], ['0 v', 1], ['0 attention', 1], ['0 output', 1], ['0 gate', 1], ['0 up', 1],
    ['0 down', 1], ['1 v', 1], ['1 attention', 1], ['1 output', 1], ['last norm', 1], ['logits', 1],
    ['1 q', 3], ['1 k', 3], ['1 down', 2], ['1 gate', 2], ['1 up', 2], // each of these does little to the logits
  ] as const)('does not hold for an operation, %s, that is off by %s in a hundred', (name, percent) => {
    const result = (made: string, x: Float64Array): Float64Array =>
      (made === name ? x.map((each) => each * (1 + percent / 100)) : x);
    expect(within({ result })).toBe(false);
  });
});
