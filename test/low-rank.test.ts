/** Changes of q and k of low rank: their training, and how they are merged, on every engine. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ConfigError, NumericError, ValueError } from '../src/core/errors.ts';
import { type Changes, composedForms } from '../src/core/composed-forms.ts';
import { generator, Stream } from '../src/core/random.ts';
import { Tape } from '../src/core/tape.ts';
import { ndarray } from '../src/core/tensor.ts';
import { createEngine } from '../src/engines.ts';
import { initialLowRank, type LowRank, lowRankShapes, mergesOf } from '../src/model/low-rank.ts';
import { Model } from '../src/model/model.ts';
import { Finetuner, type FinetuneState } from '../src/train/finetune.ts';
import type { FinetuneOptions } from '../src/train/finetune-options.ts';
import { decodeState, encodeState } from '../src/train/state-file.ts';
import { describeEngines, forEachEngine, TRAINING } from './support/engines.ts';
import { lora, RANK, someChanges, sumOf } from './support/low-rank-setup.ts';
import { configOf, NATS, optionsOf, tokens, weightsOf } from './support/finetune-setup.ts';
import { type Bounded, exact, expectSameBits } from './support/tolerance.ts';

describe('changes of low rank', () => {
  it('have PEFT\'s names and shapes, and begin without effect from numbers that depend on the seed', () => {
    const config = configOf();
    expect([...lowRankShapes(config, 3)].slice(0, 4)).toEqual([
      ['base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight', [3, 8]],
      ['base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight', [8, 3]],
      ['base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight', [3, 8]],
      ['base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight', [4, 3]],
    ]);
    expect(lowRankShapes(config, 0).size).toBe(0);
    const [first, again, other] = [1, 1, 2].map((seed) => initialLowRank({ ...config, hiddenSize: 400 }, 3, seed));
    expect(first).toEqual(again);
    const of = (all: typeof first, part: 'A' | 'B') => [...all.get(lora(1, 'k_proj', part))!.data];
    expect(of(first, 'A')).not.toEqual(of(other, 'A'));
    expect(of(first, 'B').every((x) => x === 0)).toBe(true);
    const square = of(first, 'A').reduce((sum, x) => sum + x * x, 0) / 3; // 400 squares of deviation 1/20: 1
    expect(Math.abs(square - 1)).toBeLessThan(5 * Math.sqrt(2 / 1200)); // five standard errors
  });

  it('are refused if they do not fit the model, by name', () => {
    const config = configOf();
    const weights = someChanges(config);
    const with_ = (change: Partial<LowRank>): LowRank => ({ rank: RANK, alpha: 4, weights, ...change });
    const less = new Map([...someChanges(config)].slice(1));
    const more = new Map([...someChanges(config), ['x', ndarray(Float64Array.of(1), [1])] as const]);
    const broken = someChanges(config);
    broken.get(lora(1, 'q_proj', 'B'))!.data[3] = Infinity;
    expect(() => mergesOf(config, with_({ weights: less }))).toThrow(/lacks '.*layers\.0.*q_proj\.lora_A/);
    expect(() => mergesOf(config, with_({ weights: more }))).toThrow(/holds 'x', which changes no weight/);
    expect(() => mergesOf(config, with_({ rank: 3 }))).toThrow(/as \[2,8\], but for this model it must be \[3,8\]/);
    expect(() => mergesOf(configOf({ hidden_size: 16 }), with_({}))).toThrow(ConfigError);
    expect(() => mergesOf(config, with_({ weights: broken }))).toThrow(NumericError);
  });
});

/** All numbers of a state in one list, for comparison bit for bit. */
function bits(state: FinetuneState): Float64Array {
  const arrays = [state.weights, state.m, state.v].flatMap((part) => [...part.values()]);
  const { lambda, kept = NaN } = state.price;
  return Float64Array.of(state.step, lambda, kept, ...arrays.flatMap(({ data }) => [...data]));
}

forEachEngine('fine-tuning with changes of low rank', ({ create }) => {
  let engine: TrainingEngine;
  beforeAll(async () => void (engine = await create()));
  afterAll(() => engine.dispose());
  const run = (change: Partial<FinetuneOptions>, more: ConstructorParameters<typeof Finetuner>[4] = {}) => {
    return new Finetuner(new Model(engine, configOf(), weightsOf(configOf())), NATS, optionsOf(change), tokens, more);
  };

  it('gives the same bits across a resume from a file, and does not change the base', async () => {
    const change = { rank: RANK, alpha: 3, steps: 4 };
    const base = new Model(engine, configOf(), weightsOf(configOf()));
    const before = await base.hash();
    const whole = new Finetuner(base, NATS, optionsOf(change), tokens);
    await whole.run();
    expect(await new Model(engine, configOf(), base.weights).hash()).toBe(before);
    const finetuner = run(change);
    for (let n = 0; n < 2; n++) await finetuner.next();
    const { price, ...state } = await finetuner.state();
    const read = await decodeState(await encodeState(state, {}), 'the state', 'fine-tuning');
    const resumed = run(change, { from: { ...read, price } });
    await resumed.run();
    const ended = await whole.state();
    expectSameBits(bits(await resumed.state()), bits(ended), 'state');
    for (const target of ['q_proj', 'k_proj']) {
      expect(ended.weights.get(lora(0, target, 'B'))!.data.some((x) => x !== 0), target).toBe(true);
    }
    expect(() => run({ ...change, rank: 3 }, { from: ended })).toThrow(/lora_A.weight' as \[2,8\], not \[3,8\]/);
    expect(() => run({ steps: 4 }, { from: ended })).toThrow(/which the config has no place for/);
  });

  it('is the run without changes, bit for bit, if the rank is 0', async () => {
    const [zero, none] = [run({ rank: 0, steps: 2 }), run({ steps: 2 })];
    await zero.run();
    await none.run();
    expectSameBits(bits(await zero.state()), bits(await none.state()), 'state');
  });
}, TRAINING);

describeEngines('merged changes', ({ engine: current, R }) => {
  const title = 'of %s give what changes give that are not merged, within the rounding of both';
  it.each(['q_proj', 'k_proj'])(title, async (target) => {
    const engine = current();
    const config = configOf();
    const [D, N, name] = [config.hiddenSize, 5, `model.layers.1.self_attn.${target}.weight`];
    const lowRank: LowRank = { rank: RANK, alpha: 3, weights: someChanges(config) };
    const scale = lowRank.alpha / RANK;
    const [A, B] = (['A', 'B'] as const).map((part) => lowRank.weights.get(lora(1, target, part))!);
    const { data, shape } = weightsOf(config).get(name)!;
    const weight = Float32Array.from(data);
    const merged = mergesOf(config, lowRank).get(name)!(weight);
    expect(weight).toEqual(Float32Array.from(data)); // it is not written to
    const truth = sumOf({ data: weight, shape }, A, B, scale);
    // Merging rounds once, to float32, and the truth is itself a sum in float64.
    merged.forEach((w, n) => expect(Math.abs(w - truth[n])).toBeLessThanOrEqual(2 ** -24 * Math.abs(truth[n]) + 1e-15));
    const tape = new Tape(engine);
    const up = (values: ArrayLike<number>, size: readonly number[]) => tape.own(engine.tensor(values, size));
    const [rows] = shape as [number];
    const random = generator(3, [Stream.WEIGHTS]);
    const x = up(Float32Array.from({ length: N * D }, () => random.normal()), [1, N, D]);
    const norm = { weight: up(new Float64Array(D).fill(1), [D]), epsilon: 1e-5 };
    const table = (value: number) => up(new Float64Array(N * rows / 2).fill(value), [1, N, rows / 2]);
    const [cos, sin] = [table(1), table(0)];
    const projected = (own: Tensor, changes?: Changes) => {
      const v = { heads: 1, weight: own };
      return composedForms(tape, changes).project({ x, norm, q: v, k: v, v, cos, sin });
    };
    const W = up(weight, shape);
    const changes = new Map([[W, { a: up(A.data, A.shape), b: up(B.data, B.shape), scale }]]);
    const direct = projected(up(merged, shape));
    const [one, two] = [await engine.read(projected(W, changes).v), await engine.read(direct.v)];
    const hidden = await engine.read(direct.hidden);
    const rowOf = (list: ArrayLike<number>, at: number, width: number) =>
      Array.from({ length: width }, (_, n) => exact(list[at * width + n]));
    const dot = (a: readonly Bounded[], b: readonly Bounded[]) => R.sum(a.map((x, n) => R.multiply(x, b[n])));
    for (let t = 0; t < N; t++) {
      const h = rowOf(hidden, t, D);
      const narrow = Array.from({ length: RANK }, (_, k) => R.multiply(exact(scale), dot(rowOf(A.data, k, D), h)));
      for (let m = 0; m < rows; m++) {
        const apart = R.add(dot(rowOf(weight, m, D), h), dot(rowOf(B.data, m, RANK), narrow));
        const rounding = h.reduce((sum, { value }, n) => sum + 2 ** -24 * Math.abs(truth[m * D + n] * value), 1e-15);
        const bound = apart.error + dot(rowOf(merged, m, D), h).error + rounding;
        expect(Math.abs(one[t * rows + m] - two[t * rows + m])).toBeLessThanOrEqual(bound);
      }
    }
    tape.dispose();
  });
});

describe('a run with changes', () => {
  it('refuses ranks that are none, or not low', () => {
    const base = new Model(createEngine(), configOf(), weightsOf(configOf()));
    const make = (change: object) => () => new Finetuner(base, NATS, optionsOf(change), tokens);
    for (const rank of [-1, 1.5, NaN, '2', null]) expect(make({ rank }), String(rank)).toThrow(ValueError);
    for (const alpha of [0, -1, NaN, Infinity, '2']) expect(make({ rank: 2, alpha }), String(alpha)).toThrow(ValueError);
    expect(make({ rank: 9 })).toThrow(/rank is 9, but the query projection of this model has only rank 8/);
    expect(make({ alpha: 2 })).toThrow(/alpha is 2, but without a rank/);
    expect(make({ rank: 8, alpha: 0.5 })).not.toThrow();
  });
});
