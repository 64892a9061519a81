/**
 * The gradients of attention by the tiles that the engine of hand-written WGSL takes on GPUs, here on whatever device
 * there is. test/gradients.test.ts has the same with the tiles for this device.
 * @module
 */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { type AttentionProblem, attentionProblem, type Sizes } from './support/arbitraries.ts';
import { boundedBackward, boundedTypeGradient } from './support/bounded.ts';
import { scoped } from './support/engines.ts';
import { expectWithin, Rounding } from './support/tolerance.ts';
import { forwardAndBackward, upload } from './support/upload.ts';
import { describeWebGPU } from './support/webgpu.ts';

const R = new Rounding('float32');
const SHAPE: Sizes = {
  B: 1, G: 1, H: 2, group: 2, N: 150, d: 6, window: 9, chunk: 1, seed: 3, only: null, tied: false,
};

describeWebGPU('the gradients of attention by tiles for GPUs', () => {
  // Two of three keys live shortly, so keys that live long are gathered; 150 is no multiple of a tile.
  it.each<Partial<Sizes>>([
    {}, { d: 32, N: 67, reach: 40 }, { d: 20, only: 0, N: 70 }, { B: 2, G: 2, H: 2, group: 1, d: 64, N: 35 },
    { chunk: 3, N: 100 }, { localWindow: 30, N: 100 }, { localWindow: 2, chunk: 3, N: 70 }, { d: 132, N: 20, B: 2 },
  ])('equal the formulas to rounding: %o', async (change) => {
    const p = attentionProblem({ ...SHAPE, ...change }, 'float32');
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const truth = boundedBackward(p, R);
    await scoped(engine, async (inner) => {
      const got = await forwardAndBackward(inner, p);
      for (const name of ['dq', 'dk', 'dv'] as const) expectWithin(got[name], truth[name], name);
      const inputs = upload(inner, p);
      const { out, lse } = inner.attention(inputs);
      for (const rule of ['exact', 'bounded'] as const) {
        const types = inner.integers(p.types, [p.B, p.G, Math.ceil(p.N / p.chunk)]);
        const { dTypes } = inner.attentionBackward({
          ...inputs, out, lse, dOut: inner.tensor(p.dOut, out.shape),
          types: { types, rule, window: p.window, localWindow: p.localWindow, chunk: p.chunk, reach: p.reach },
        });
        expectWithin(await inner.read(dTypes!), boundedTypeGradient(truth.dM[rule], p, R), `(dg, dl, dw) by ${rule}`);
      }
    });
    engine.dispose();
  }, 120_000);

  it('are the same to the bit where a NaN is hidden', async () => {
    const p = attentionProblem({ ...SHAPE, only: 2, window: 3, N: 100 }, 'float32');
    const BAD = 50; // queries 50 to 53 see it
    const spoiled = (x: Float64Array): Float64Array => x.map((y, n) => (Math.floor(n / p.d) === BAD ? NaN : y));
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const run = (problem: AttentionProblem) => scoped(engine, (inner) => forwardAndBackward(inner, problem));
    const [clean, found] = [await run(p), await run({ ...p, k: spoiled(p.k), v: spoiled(p.v) })];
    engine.dispose();
    for (const [name, reach] of [['dq', 0], ['dk', 3], ['dv', 3]] as const) {
      const touched = (n: number): boolean => {
        const row = Math.floor(n / p.d) % p.N;
        return row >= BAD - reach && row <= BAD + 3;
      };
      Array.from(found[name]).forEach((x, n) => {
        if (!touched(n)) expect(x, `${name} ${n}`).toBe(clean[name][n]);
      });
    }
  }, 120_000);
});
