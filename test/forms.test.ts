/** Forms on every engine: fused ones, and compositions for the others, equal their definition. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { composedForms, formsOn } from '../src/core/composed-forms.ts';
import type { Engine, Tensor } from '../src/core/engine.ts';
import type { Forms, Norm, Projection } from '../src/core/forms.ts';
import { toFloat16 } from '../src/core/float16.ts';
import { Tape } from '../src/core/tape.ts';
import type { WeightDtype } from '../src/core/tensor.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { seeds } from './support/arbitraries.ts';
import * as bounded from './support/bounded-forms.ts';
import { draw } from './support/draw.ts';
import { describeEngines, OPERATIONS } from './support/engines.ts';
import { type Bounded, expectWithin } from './support/tolerance.ts';

const some = fc.record({
  B: fc.integer({ min: 1, max: 2 }), N: fc.constantFrom(1, 1, 2, 3), D: fc.constantFrom(1, 2, 3, 4, 5, 8, 24),
  G: fc.integer({ min: 1, max: 2 }), share: fc.integer({ min: 1, max: 2 }), half: fc.integer({ min: 1, max: 3 }),
  F: fc.constantFrom(1, 2, 3, 4, 6, 16), dtype: fc.constantFrom('f32', 'f16', 'bf16'), bias: fc.boolean(), headNorm: fc.boolean(), seed: seeds,
});
const EPSILON = 2 ** -10;

/** Numbers of seven bits and no tiny exponent, which float32, float16 and bfloat16 hold exactly. */
const coarse = (values: Float64Array): Float64Array => values.map((x) => {
  const step = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 6);
  return Math.abs(x) < 2 ** -7 ? 0 : Math.round(x / step) * step;
});
/** A weight of such numbers, stored in `dtype` if the engine stores that. */
function weightOn(engine: Engine, values: Float64Array, shape: readonly number[], dtype: WeightDtype): Tensor {
  if (!engine.stores.weights.includes(dtype)) return engine.tensor(values, shape);
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  const bytes = dtype === 'f32' ? bits : dtype === 'bf16' ? Uint16Array.from(bits, (each) => each >>> 16)
    : Uint16Array.from(values, toFloat16);
  return engine.weight(new Uint8Array(bytes.buffer), dtype, shape);
}

/** The forms of an engine, as inference uses them and as single operations. */
async function each(engine: Engine, check: (forms: Forms) => Promise<void>): Promise<void> {
  for (const forms of [formsOn, composedForms]) {
    const tape = new Tape(engine, false);
    await check(forms(tape));
    tape.dispose();
  }
}

describeEngines('forms', ({ precision, R, computes, holds }) => {
  // More than four rows, of multiples of 8, go by matrix units where factors are float16.
  const sizes = computes === 'f16' ? some.map((drawn) => ({ ...drawn, N: drawn.N + 4, half: 4, F: 8 * drawn.F })) : some;
  const within = async (
    engine: Engine, tensor: Tensor, shape: readonly number[], truth: bounded.Rows, what: string,
  ) => {
    expect(tensor.shape, what).toEqual(shape);
    expectWithin(await engine.read(tensor), truth.flat(), what);
  };

  it('project() norms, projects with or without bias and norms of heads, and rotates queries and keys', () =>
    holds(sizes, async ({ B, N, D, G, share, half, bias, headNorm, dtype, seed }, engine) => {
      const numbers = draw(seed, precision);
      const [H, d] = [G * share, 2 * half];
      const real = (...shape: number[]) => numbers.real(shape.reduce((a, b) => a * b, 1));
      const [x, w, cos, sin] = [real(B, N, D), real(D), real(B, N, half), real(B, N, half)];
      const hidden = bounded.rmsNorm(R, bounded.rows(x, D), bounded.rows(w, D)[0], EPSILON);
      /** The truth of a projection as rows (b, head, n), and its tensors. */
      const make = (heads: number, turned: boolean): [bounded.Rows, Projection] => {
        const [weight, b, own] = [coarse(real(heads * d, D)), real(heads * d), real(d)];
        const added = bias ? bounded.rows(b, heads * d)[0] : undefined;
        const flat = bounded.linear(R, hidden, bounded.rows(weight, D), added);
        const truth: (readonly Bounded[])[] = [];
        for (let row = 0; row < B * heads * N; row++) {
          const [token, head] = [Math.floor(row / (heads * N)) * N + (row % N), Math.floor(row / N) % heads];
          const y = flat[token].slice(head * d, (head + 1) * d);
          const normed = turned && headNorm ? bounded.rmsNorm(R, [y], bounded.rows(own, d)[0], EPSILON)[0] : y;
          const [c, s] = [bounded.rows(cos, half)[token], bounded.rows(sin, half)[token]];
          truth.push(turned ? bounded.rotated(R, normed, c, s) : normed);
        }
        const norm = { weight: engine.tensor(own, [d]), epsilon: EPSILON };
        return [truth, {
          heads, weight: weightOn(engine, weight, [heads * d, D], dtype),
          ...(bias && { bias: engine.tensor(b, [heads * d]) }), ...(turned && headNorm && { norm }),
        }];
      };
      const [[q, qIn], [k, kIn], [v, vIn]] = [make(H, true), make(G, true), make(G, false)];
      await each(engine, async (forms) => {
        const made = forms.project({
          x: engine.tensor(x, [B, N, D]), norm: { weight: engine.tensor(w, [D]), epsilon: EPSILON },
          q: qIn, k: kIn, v: vIn, cos: engine.tensor(cos, [B, N, half]), sin: engine.tensor(sin, [B, N, half]),
        });
        await within(engine, made.hidden, [B, N, D], hidden, 'hidden');
        await within(engine, made.q, [B, H, N, d], q, 'q');
        await within(engine, made.k, [B, G, N, d], k, 'k');
        await within(engine, made.v, [B, G, N, d], v, 'v');
      });
    }, 40));

  it('output() merges heads, projects and adds', () =>
    holds(sizes, async ({ B, N, D, G, half, seed }, engine) => {
      const numbers = draw(seed, precision);
      const [x, attended, w] = [numbers.real(B * N * D), numbers.real(B * G * N * half), numbers.real(D * G * half)];
      const merged = Array.from({ length: B * N }, (_, t) => Array.from({ length: G * half }, (_, n) => {
        const [b, i, head] = [Math.floor(t / N), t % N, Math.floor(n / half)];
        return { value: attended[((b * G + head) * N + i) * half + (n % half)], error: 0 };
      }));
      const truth = bounded.add(R, bounded.rows(x, D), bounded.linear(R, merged, bounded.rows(w, G * half)));
      await each(engine, async (forms) => {
        const made = forms.output(
          engine.tensor(x, [B, N, D]), engine.tensor(attended, [B, G, N, half]), engine.tensor(w, [D, G * half]),
        );
        await within(engine, made, [B, N, D], truth, 'output');
      });
    }, 40));

  it('feedForward() adds down(silu(gate) up) of the normed input, logits() applies the head to it, and nextToken() finds the largest', () =>
    holds(sizes, async ({ B, N, D, F, dtype, seed }, engine) => {
      const numbers = draw(seed, precision);
      const x = numbers.real(B * N * D);
      const w = numbers.real(D);
      const [gate, up, down] = [F * D, F * D, D * F].map((count) => coarse(numbers.real(count)));
      const normed = bounded.rmsNorm(R, bounded.rows(x, D), bounded.rows(w, D)[0], EPSILON);
      const [g, u] = [gate, up].map((each) => bounded.linear(R, normed, bounded.rows(each, D)));
      const gated = bounded.swiglu(R, g, u);
      const truth = bounded.add(R, bounded.rows(x, D), bounded.linear(R, gated, bounded.rows(down, F)));
      await each(engine, async (forms) => {
        const norm: Norm = { weight: engine.tensor(w, [D]), epsilon: EPSILON };
        const [input, head] = [engine.tensor(x, [B, N, D]), weightOn(engine, gate, [F, D], dtype)];
        const made = forms.feedForward({
          x: input, norm, gate: head, up: weightOn(engine, up, [F, D], dtype),
          down: weightOn(engine, down, [D, F], dtype),
        });
        await within(engine, made, [B, N, D], truth, 'feedForward');
        await within(engine, forms.logits(input, norm, head), [B, N, F], g, 'logits');
        const tokens = forms.nextToken(input, norm, head);
        expect([tokens.kind, tokens.shape]).toEqual(['integer', [B, N]]);
        for (const [row, token] of (await engine.readIntegers(tokens)).entries()) {
          const { value, error } = g[row][token];
          for (const other of g[row]) expect(value + error).toBeGreaterThanOrEqual(other.value - other.error);
        }
      });
    }, 40));
}, OPERATIONS);

describeEngines('nextToken()', ({ engine }) => {
  it('is -1 exactly where a logit is NaN or infinite', async () => {
    const [rows, norm] = [[[1, 2], [NaN, 1], [3, -1]], { weight: engine().tensor([1, 1], [2]), epsilon: EPSILON }];
    const [x, head] = [engine().tensor(rows.flat(), [1, 3, 2]), engine().tensor([1, 0, 0, 1, -1, -1], [3, 2])];
    await each(engine(), async (forms) => {
      expect([...await engine().readIntegers(forms.nextToken(x, norm, head))]).toEqual([1, -1, 0]);
    });
  });
}, OPERATIONS);

describe('formsOn()', () => {
  /** An engine with one form of its own, whose result no composition gives. */
  const fusing = (): TrainingEngine => {
    const engine = referenceEngine();
    return Object.assign(engine, { forms: { output: (x: Tensor) => engine.zeros(x.shape) } });
  };
  const run = async (recording: boolean): Promise<number[]> => {
    const engine = fusing();
    const tape = new Tape(engine, recording);
    const [x, attended] = [engine.tensor([1], [1, 1, 1]), engine.tensor([2], [1, 1, 1, 1])];
    const weight = engine.tensor([3], [1, 1]);
    return [...await engine.read(formsOn(tape).output(x, attended, weight))];
  };

  it('uses the engine\'s own forms at inference', async () => expect(await run(false)).toEqual([0]));

  it('takes the next token from the engine\'s own logits', async () => {
    const engine = referenceEngine();
    const own = Object.assign(engine, { forms: { logits: () => engine.tensor([1, 5, 2], [1, 3]) } });
    const one = engine.tensor([1], [1, 1]);
    const norm = { weight: engine.tensor([1], [1]), epsilon: EPSILON };
    const token = formsOn(new Tape(own, false)).nextToken(one, norm, one);
    expect([...await engine.readIntegers(token)]).toEqual([1]);
  });

  it('composes if the tape records, since the backward pass is recorded operation by operation', async () =>
    expect(await run(true)).toEqual([7]));
});
