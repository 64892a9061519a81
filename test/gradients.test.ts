/** §4 and §5 on every engine: every gradient, compared with central differences of an independent evaluation. */
import { expect, it } from 'vitest';
import { attention, maskGradient } from '../reference/public/attention.ts';
import type { Engine } from '../src/core/engine.ts';
import type { MaskGradientRule, TrainingEngine } from '../src/core/training-engine.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { ndarray } from '../src/core/tensor.ts';
import { type AttentionProblem, attentionProblem, longFor, sizesFor } from './support/arbitraries.ts';
import { boundedAttention, boundedBackward, boundedTypeGradient } from './support/bounded.ts';
import { denseLoss, denseMask, oneHot, relaxedMask } from './support/dense.ts';
import { centralDifferences, ruler, widened } from './support/differences.ts';
import { describeEngines, OPERATIONS } from './support/engines.ts';
import { exact, expectWithin, Rounding } from './support/tolerance.ts';
import { forwardAndBackward, upload } from './support/upload.ts';

const RULES: readonly MaskGradientRule[] = ['exact', 'bounded'];

/** The rounding error of the loss sum(dOut * out) in float64, for the differences. */
function noiseOf(p: AttentionProblem): number {
  const { out } = boundedAttention(p, ruler);
  // Twice the bound at p, since the noise is that of points near p.
  return 2 * ruler.sum(out.map((o, n) => ruler.multiply(o, exact(p.dOut[n])))).error;
}

/**
 * A step of a real-valued mask that changes no row's normaliser by more than 2^-10 of itself. A hidden key may have a
 * score far above those of visible ones, and then even a little of it is a lot.
 */
function maskStep(p: AttentionProblem): number {
  const { lse } = boundedAttention(p, ruler);
  const hidden = boundedAttention({ ...p, last: p.last.map(() => 2 ** 31 - 1) }, ruler).lse; // over all keys j <= i
  return 2 ** -10 / Math.max(...lse.map(({ value }, row) => Math.exp(hidden[row].value - value)));
}

async function typeGradient(
  engine: TrainingEngine, p: AttentionProblem, rule: MaskGradientRule,
): Promise<ArrayLike<number>> {
  const inputs = upload(engine, p);
  const { out, lse } = engine.attention(inputs);
  const chunks = Math.ceil(p.N / p.chunk);
  const types = engine.integers(p.types, [p.B, p.G, chunks]);
  const { dTypes } = engine.attentionBackward({
    ...inputs, out, lse, dOut: engine.tensor(p.dOut, out.shape),
    types: { types, rule, window: p.window, localWindow: p.localWindow, chunk: p.chunk, reach: p.reach },
  });
  expect(dTypes!.shape).toEqual([p.B, p.G, chunks, 3]);
  return engine.read(dTypes!);
}

describeEngines('attentionBackward()', ({ precision, R, computes, holds, engine }) => {
  const sizes = sizesFor(computes);
  const small = computes ? sizes({ N: 5, B: 1, G: 1, d: [4, 32] }) : sizes({ N: 6, B: 2, G: 2 });

  it('gives dq, dk and dv that equal central differences of the dense loss', () =>
    holds(small, async (size, engine) => {
      const p = attentionProblem(size, precision);
      const M = denseMask(p.last, p);
      const budget = boundedBackward(p, R);
      const got = await forwardAndBackward(engine, p);
      const noise = noiseOf(p);
      const { dq, dk, dv } = {
        dq: centralDifferences((q) => denseLoss({ ...p, q }, M), p.q, noise),
        dk: centralDifferences((k) => denseLoss({ ...p, k }, M), p.k, noise),
        dv: centralDifferences((v) => denseLoss({ ...p, v }, M), p.v, noise),
      };
      expectWithin(got.dq, widened(dq, budget.dq), 'dq');
      expectWithin(got.dk, widened(dk, budget.dk), 'dk');
      expectWithin(got.dv, widened(dv, budget.dv), 'dv');
    }));

  it('gives dq, dk and dv that equal the formulas of §4 to rounding', () =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const truth = boundedBackward(p, R);
      const got = await forwardAndBackward(engine, p);
      expectWithin(got.dq, truth.dq, 'dq');
      expectWithin(got.dk, truth.dk, 'dk');
      expectWithin(got.dv, truth.dv, 'dv');
    }));

  it('gives dg, dl and dw by rule `exact` that equal central differences of the relaxed mask', () =>
    holds(sizes({ N: 9, B: 1, G: 2 }), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const budget = boundedTypeGradient(boundedBackward(p, R).dM.exact, p, R);
      const loss = (soft: Float64Array): number => denseLoss(p, relaxedMask(soft, p));
      const differences = centralDifferences(loss, oneHot(p.types), noiseOf(p), maskStep(p));
      expectWithin(await typeGradient(engine, p, 'exact'), widened(differences, budget), '(dg, dl, dw)');
    }, 100));

  it.each(RULES)('gives dg, dl and dw by rule `%s` that equal their sums of dM to rounding', (rule) =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const truth = boundedTypeGradient(boundedBackward(p, R).dM[rule], p, R);
      expectWithin(await typeGradient(engine, p, rule), truth, '(dg, dl, dw)');
    }));

  it('gives all of these for longer sequences of several tiles, too', () =>
    holds(longFor(computes), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const truth = boundedBackward(p, R);
      const got = await forwardAndBackward(engine, p);
      expectWithin(got.dq, truth.dq, 'dq');
      expectWithin(got.dk, truth.dk, 'dk');
      expectWithin(got.dv, truth.dv, 'dv');
      for (const rule of RULES) {
        const types = boundedTypeGradient(truth.dM[rule], p, R);
        expectWithin(await typeGradient(engine, p, rule), types, `(dg, dl, dw) by ${rule}`);
      }
    }, 10));

  it('gives the same dTypes by both rules when nothing is hidden', () =>
    holds(small, async (size, engine) => {
      const p = attentionProblem({ ...size, only: 0 }, precision);
      const { dM } = boundedBackward(p, R);
      const budgets = RULES.map((rule) => boundedTypeGradient(dM[rule], p, R));
      const byExact = await typeGradient(engine, p, 'exact');
      const byBounded = await typeGradient(engine, p, 'bounded');
      expectWithin(byBounded, budgets[0].map(({ error }, n) => ({
        value: byExact[n], error: error + budgets[1][n].error,
      })), '(dg, dl, dw)');
    }));

  it('gives an unfinished last chunk the same gradient for all three types, because its type has no effect', () =>
    holds(small.filter(({ N, chunk }) => N % chunk !== 0), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const got = await typeGradient(engine, p, 'bounded');
      for (let head = 1; head <= p.B * p.G; head++) {
        const [dg, dl, dw] = Array.from(got).slice(head * Math.ceil(p.N / p.chunk) * 3 - 3);
        expect([dl, dw]).toEqual([dg, dg]);
      }
    }));

  it('gives no dTypes unless types were given', () => {
    const p = attentionProblem({
      B: 1, G: 1, group: 1, H: 1, N: 2, d: 2, window: 0, chunk: 1, seed: 1, only: null, tied: false,
    }, precision);
    const inputs = upload(engine(), p);
    const { out, lse } = engine().attention(inputs);
    const backward = engine().attentionBackward({ ...inputs, out, lse, dOut: engine().tensor(p.dOut, out.shape) });
    expect(backward.dTypes).toBeUndefined();
  });

  it('refuses types of the wrong length, a negative or fractional window, a chunk below 1, and a negative reach', () => {
    const p = attentionProblem({
      B: 1, G: 1, group: 1, H: 1, N: 4, d: 2, window: 1, chunk: 1, seed: 1, only: null, tied: false,
    }, precision);
    const inputs = upload(engine(), p);
    const { out, lse } = engine().attention(inputs);
    const run = (length: number, window: number, chunk: number, reach?: number) => () =>
      engine().attentionBackward({
        ...inputs, out, lse, dOut: engine().tensor(p.dOut, out.shape),
        types: { types: engine().integers(new Int32Array(length), [1, 1, length]), rule: 'exact', window, chunk, reach },
      });
    expect(run(3, 1, 1)).toThrow(ShapeError);
    expect(run(4, 1, 2)).toThrow(ShapeError);
    expect(run(4, -1, 1)).toThrow(ValueError);
    expect(run(4, 0.5, 1)).toThrow(ValueError);
    expect(run(4, 1, 0)).toThrow(ValueError);
    expect(run(4, 1, 1, -1)).toThrow(ValueError);
  });

  // dM is not part of the contract, because no engine has to hold N x N numbers. The reference offers it anyway.
  it('has a dM in the reference that equals central differences of a real-valued mask, hidden pairs included', () =>
    holds(small, async (size) => {
      const p = attentionProblem({ ...size, reach: size.N }, precision);
      const { budget, dM } = referenceMaskGradient(p, precision, 'exact');
      const M = denseMask(p.last, p);
      const differences = centralDifferences((moved) => denseLoss(p, moved), M, noiseOf(p), maskStep(p));
      expectWithin(dM, widened(differences, budget), 'dM');
    }));

  it.each(RULES)('has a dM in the reference that equals the definition of rule `%s`', (rule) =>
    holds(small, async (size) => {
      const { budget, dM } = referenceMaskGradient(attentionProblem(size, precision), precision, rule);
      expectWithin(dM, budget, 'dM');
    }));
}, OPERATIONS);

function referenceMaskGradient(p: AttentionProblem, precision: Engine['precision'], rule: MaskGradientRule) {
  const { B, G, H, N, d } = p;
  const real = (x: Float64Array, heads: number) =>
    ndarray(precision === 'float32' ? Float32Array.from(x) : x, [B, heads, N, d]);
  const inputs = {
    q: real(p.q, H), k: real(p.k, G), v: real(p.v, G), last: ndarray(p.last, [B, G, N]), scale: p.scale,
  };
  const { out, lse } = attention(inputs);
  const { data: dM } = maskGradient({ ...inputs, out, lse, dOut: real(p.dOut, H), rule, reach: p.reach });
  return { dM, budget: boundedBackward(p, new Rounding(precision)).dM[rule] };
}
