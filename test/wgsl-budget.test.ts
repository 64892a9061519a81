/**
 * Caches under a budget on WGSL with more entries, and longer rows, than a workgroup has threads: what they give, hold
 * and count, beside the reference in float64, and what they refuse.
 */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { referenceEngine } from '../reference/index.ts';
import type { Engine } from '../src/core/engine.ts';
import { DeviceError } from '../src/core/errors.ts';
import type { MassOptions } from '../src/core/mass.ts';
import { kindOf, parsePolicy } from '../src/policies/index.ts';
import { draw } from './support/draw.ts';
import { some } from './support/thorough.ts';
import { describeWebGPU } from './support/webgpu.ts';

const [B, G, H, d, SCALE] = [2, 2, 4, 20, 0.25];
/** Long and short steps. In tests, workgroups have 16 threads on a processor. */
const STEPS = [50, 1, 1, 30, 1, 1, 1];
/**
 * Products of numbers below 2 are below 80 in all, so that float32 may be off by 20 * 80 * 2^-24 in a sum, a quarter of
 * that in a score, and by 5e-6 in an exponential of WGSL: 3e-5 in a weight, twice in a quotient, of values below 2.
 */
const OFF = 2 ** -13;
const POLICIES = ['h2o:40', 'tova:35', 'snapkv:30', 'nats-rank:33', 'keynorm:37', 'h2o-mean:10+0.5n'];

const ruleOf = (text: string): MassOptions => {
  const policy = parsePolicy(text);
  return kindOf(policy).rule(policy, { window: 20, chunk: 1 }) as MassOptions;
};

describeWebGPU('a large budget on WGSL', () => {
  it.each(some(3, POLICIES))('keeps what the reference keeps: %s', async (text) => {
    const rule = ruleOf(text);
    const engines: Engine[] = [await openWgslEngine({ testing: true }), referenceEngine('float64')];
    const caches = engines.map((on) => on.createCache({ batch: B, kvHeads: G, headDim: d, blockSize: 16, ...rule }));
    const numbers = draw(7, 'float32');
    for (const [n, T] of STEPS.entries()) {
      const counts = [T, n === 3 ? T - 7 : T];
      const [q, k, v, s] = [H * d, G * d, G * d, G * 3].map((each) => numbers.real(B * each * T));
      const outs = await Promise.all(engines.map((on, each) => {
        const types = rule.mass.score.by === 'types' ? { types: on.tensor(s, [B, G, T, 3]) } : {};
        const [Q, K, V] = [on.tensor(q, [B, H, T, d]), on.tensor(k, [B, G, T, d]), on.tensor(v, [B, G, T, d])];
        return on.read(caches[each].step({ q: Q, k: K, v: V, scale: SCALE, ...types }, counts));
      }));
      outs[0].forEach((x, at) => {
        if (!(Math.abs(x - outs[1][at]) <= OFF)) expect(x, `step ${n}, ${at}`).toBe(outs[1][at]);
      });
    }
    for (let b = 0; b < B; b++) {
      for (let g = 0; g < G; g++) {
        const [own, wanted] = await Promise.all(caches.map((cache) => cache.positions(b, g)));
        expect([...own]).toEqual([...wanted]);
      }
    }
    const [own, wanted] = await Promise.all(caches.map((cache) => cache.stats()));
    for (const part of ['seen', 'live', 'peakLive', 'visiblePairs'] as const) expect(own[part]).toEqual(wanted[part]);
    engines.forEach((each) => each.dispose());
  }, 60_000);

  it('refuses more entries than a buffer holds, and says how many fit', async () => {
    const engine = await openWgslEngine({ testing: true });
    const [heads, queries] = [2 ** 14, 65_536];
    const fits = Math.floor(engine.limits!.tensorBytes / (heads * queries * 4)); // none below 4 GiB
    const mass = { ...ruleOf('snapkv:4').mass, score: { by: 'attention', heads: 'group', queries } } as const;
    const cache = engine.createCache({ batch: 1, kvHeads: heads, headDim: 1, blockSize: 1, mass });
    const x = engine.zeros([1, heads, 1, 1]);
    expect(() => cache.append(x, x, undefined)).toThrow(DeviceError);
    expect(() => cache.append(x, x, undefined)).toThrow(`the scores of a cache under a budget take`);
    expect(() => cache.append(x, x, undefined)).toThrow(`at most ${fits} entries fit in each of ${heads} heads`);
    engine.dispose();
  });
});
