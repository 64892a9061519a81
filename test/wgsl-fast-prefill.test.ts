/** The fast kernels of prefill against float64, on whatever WebGPU the machine has. */
import { it } from 'vitest';
import { hasPrefillMatrix, portableTile, prefillAttention, prefillMatrix, prefillTile, runsOn } from '../gpu/wgsl/fast/index.ts';
import { fromFloat16, toFloat16 } from '../src/core/float16.ts';
import { draw } from './support/draw.ts';
import { attended } from './support/fast-attention.ts';
import { prefillOn } from './support/fast-prefill.ts';
import { FastRun, packedHalves } from './support/fast-run.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { expectWithin } from './support/tolerance.ts';
import { describeWebGPU, requestFastDevice } from './support/webgpu.ts';

/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: 300_000 };
const FOREVER = 2 ** 31 - 1;

/**
 * Keys with all kinds of lifetimes, some of which hold NaN and infinities in key and value. `rising` makes the scores
 * of later keys larger, so that maxima grow from one tile of keys to the next.
 */
function drawn(
  seed: number, shape: { heads: number; group: number; d: number; T: number; cached: number }, rising: number,
) {
  const { heads, group, d, T, cached } = shape;
  const { real, whole } = draw(seed, 'float32');
  const starts = Array.from({ length: heads }, (_, h) => (cached > 0 ? cached - (h % 2) : 0));
  const keys = cached + T;
  const last = new Uint32Array(heads * keys).fill(0);
  const q = real(heads * group * T * d);
  const k = new Float64Array(heads * keys * d).fill(NaN);
  const v = new Float64Array(heads * keys * d).fill(NaN);
  const poison = new Set<number>();
  for (let h = 0; h < heads; h++) {
    for (let j = 0; j < starts[h] + T; j++) {
      const [kind] = whole(1, 10);
      const least = Math.max(j, starts[h]); // every cached key is visible to some query
      last[h * keys + j] = kind < 3 ? FOREVER : kind < 7 ? least + whole(1, 9)[0] : least + whole(1, T)[0];
      k.set(real(d).map((value) => Math.fround(value * (1 + (rising * j) / keys))), (h * keys + j) * d);
      v.set(real(d), (h * keys + j) * d);
      if (kind === 9) {
        poison.add(h * keys + j);
        k[(h * keys + j) * d + (j % d)] = [NaN, Infinity, -Infinity, 1][j % 4];
        v[(h * keys + j) * d + ((j * 3) % d)] = [Infinity, NaN, NaN, -Infinity][j % 4];
      }
    }
  }
  return { ...shape, starts, keys, last, q, k, v, poison, scale: 0.25 };
}

const half = (x: Float64Array) => Uint16Array.from(x, toFloat16);

describeWebGPU('fast attention of many queries', () => {
  it('sums over the keys that each query sees; NaN in others never leaks', PATIENCE, async () => {
    const run = new FastRun(await requestFastDevice());
    const shapes = [
      { heads: 2, group: 4, d: 32, T: 77, cached: 40, range: 2, room: 9, rising: 8 },
      { heads: 1, group: 1, d: 7, T: 130, cached: 0, range: 9, room: 130 },
      { heads: 2, group: 2, d: 128, T: 171, cached: 0, range: 3, room: 180, rising: 3 },
      { heads: 1, group: 7, d: 64, T: 1, cached: 70, range: 1, room: 80 },
      { heads: 3, group: 8, d: 96, T: 50, cached: 5, range: 4, room: 80 },
      { heads: 1, group: 4, d: 64, T: 1500, cached: 1300, range: 9, room: 400 },
    ];
    for (const [seed, { range, room, rising = 0, ...shape }] of some(1, [...shapes.entries()])) {
      const call = drawn(seed, shape, rising);
      const { heads, group, d, T, keys, starts, last, poison, scale } = call;
      for (const kind of ['f32', 'f16', 'matrix'] as const) {
        if (kind === 'matrix' ? !hasPrefillMatrix(d) : !THOROUGH && kind === 'f16') continue;
        const kernel = kind === 'matrix'
          ? prefillMatrix({ group, d, queries: 'f32' }) : prefillAttention({ group, d, stored: kind });
        if (!runsOn(run.device, run.info, kernel)) continue;
        const tile = kind === 'matrix' ? prefillTile(group) : portableTile(group);
        const words = (x: Float64Array) => (kind === 'f32' ? Float32Array.from(x) : packedHalves(half(x)));
        const values = (x: Float64Array) => (kind === 'f32' ? x : Float64Array.from(half(x), fromFloat16));
        const [q, k, v] = [kind === 'matrix' ? values(call.q) : call.q, values(call.k), values(call.v)];
        const { out, lse } = await prefillOn(
          run, kernel, tile, { ...call, q: Float32Array.from(call.q), k: words(call.k), v: words(call.v) }, range, room,
        );
        for (let row = 0; row < heads * group * T; row += T > 200 ? 37 : 1) {
          const [h, t] = [Math.floor(row / (group * T)), row % T];
          const x = starts[h] + t;
          const seen = Array.from({ length: x + 1 }, (_, j) => h * keys + j).filter((j) => x <= last[j]);
          if (seen.some((j) => poison.has(j))) continue;
          const pick = (of: Float64Array) => seen.map((j) => of.subarray(j * d, (j + 1) * d));
          const truth = attended(q.subarray(row * d, (row + 1) * d), pick(k), pick(v), scale, { halfWeights: kind === 'matrix' });
          expectWithin(out.subarray(row * d, (row + 1) * d), truth.out, `${kernel.name}, shape ${seed}, row ${row}`);
          expectWithin(lse.subarray(row, row + 1), [truth.lse], `${kernel.name}, shape ${seed}, lse of row ${row}`);
        }
      }
    }
  });
});
