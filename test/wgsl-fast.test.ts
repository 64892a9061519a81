/** The fast kernels against float64, on whatever WebGPU the machine has: those that this device can run. */
import { expect, it } from 'vitest';
import {
  decodeAttention, decodeAttentionSubgroups, decodeMerge, decodeParts, decodeStep, hasDecodeSubgroups, matmul,
  matrixMatmul, runsOn, type Stored, vectorProduct,
} from '../gpu/wgsl/fast/index.ts';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../src/core/float16.ts';
import { draw } from './support/draw.ts';
import { attended } from './support/fast-attention.ts';
import { FastRun, packedHalves } from './support/fast-run.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { type Bounded, expectWithin, Rounding } from './support/tolerance.ts';
import { describeWebGPU, requestFastDevice } from './support/webgpu.ts';

/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: 300_000 };

/** Numbers as a weight or cache stores them: the words to upload, and their values. */
function stored(values: Float64Array, kind: Stored): { words: Float32Array | Uint32Array; values: Float64Array } {
  if (kind === 'f32') return { words: Float32Array.from(values), values: Float64Array.from(values, Math.fround) };
  const [to, back] = kind === 'f16' ? [toFloat16, fromFloat16] : [toBfloat16, fromBfloat16];
  const bits = Uint16Array.from(values, to);
  return { words: packedHalves(bits), values: Float64Array.from(bits, back) };
}

const KINDS = ['f32', 'f16', 'bf16'] as const;

const rounding = new Rounding('float32');

/** y [R,M] and its budget: products summed in any order, and one more term. */
function product(
  [R, M, K]: readonly number[], x: (r: number, k: number) => number, w: (m: number, k: number) => number,
  more?: (r: number, m: number) => number,
): Bounded[] {
  return Array.from({ length: R * M }, (_, n) => {
    const [r, m] = [Math.floor(n / M), n % M];
    const terms = Array.from({ length: K }, (_, k) =>
      rounding.multiply({ value: x(r, k), error: 0 }, { value: w(m, k), error: 0 }));
    if (more) terms.push({ value: more(r, m), error: 0 });
    return rounding.sum(terms);
  });
}

describeWebGPU('fast products with weights', () => {
  it('tiles give x w^T for sizes that are no multiples of tiles, in every layout and storage', PATIENCE, async () => {
    const run = new FastRun(await requestFastDevice());
    const sizes = [[1, 1, 1], [5, 7, 3], [70, 66, 18], [68, 132, 36], [3, 64, 20]] as const;
    const layouts = [['rows', 'rows'], ['rows', 'columns'], ['columns', 'columns'], ['columns', 'rows']] as const;
    const all = sizes.flatMap((size) => layouts.flatMap((layout) => KINDS.map((kind) => ({ size, layout, kind }))));
    // In the quick run, one that has edges everywhere: software drivers take seconds to compile each.
    const few = [{ size: sizes[2], layout: layouts[0], kind: KINDS[1] }];
    for (const [seed, { size, layout: [ofX, ofW], kind }] of (THOROUGH ? all : few).entries()) {
      const [R, M, K] = size;
      const { real } = draw(seed, 'float32');
      const x = stored(real(R * K), 'f32');
      const w = stored(real(M * K), kind);
      const bias = real(M);
      const before = real(R * M);
      for (const tile of THOROUGH ? [64, 128] as const : [64] as const) {
        const accumulate = seed % 2 === 0;
        const kernel = matmul({
          x: { stored: 'f32', layout: ofX, aligned: (ofX === 'rows' ? K : R) % 4 === 0 },
          w: { stored: kind, layout: ofW, aligned: (ofW === 'rows' ? K : M) % 4 === 0 },
          bias: !accumulate, accumulate, tile,
        });
        if (!runsOn(run.device, run.info, kernel)) continue;
        const y = run.buffer(accumulate ? Float32Array.from(before) : R * M);
        await run.run(kernel, { R, M, K }, { R, M, K }, {
          x: run.buffer(x.words), w: run.buffer(w.words), bias: run.buffer(Float32Array.from(bias)), y,
        });
        expectWithin(await run.read(y, R * M), product(size,
          (r, k) => x.values[ofX === 'rows' ? r * K + k : k * R + r],
          (m, k) => w.values[ofW === 'rows' ? m * K + k : k * M + m],
          (r, m) => accumulate ? before[r * M + m] : bias[m]), `${kernel.name} at ${size.join()}`);
      }
    }
  });

  it('matrix units give x w^T of factors rounded to float16', PATIENCE, async () => {
    const run = new FastRun(await requestFastDevice());
    const needed = matrixMatmul({
      x: { stored: 'f32', layout: 'rows' }, w: { stored: 'f16', layout: 'rows' }, bias: true, accumulate: false, tile: [64, 64], whole: false,
    });
    const all = [[8, 8, 8], [72, 136, 72], [128, 64, 64], [200, 264, 24]] as const;
    const sizes = runsOn(run.device, run.info, needed) ? all : [];
    const layouts = [['rows', 'rows'], ['rows', 'columns'], ['columns', 'columns'], ['columns', 'rows']] as const;
    for (const [seed, size] of sizes.entries()) {
      const [R, M, K] = size;
      for (const kind of [KINDS[seed % 3]]) {
        for (const [ofX, ofW] of layouts) {
          for (const tile of [[64, 64], [128, 128]] as const) {
            const { real } = draw(seed, 'float32');
            const x = stored(real(R * K), 'f32');
            const w = stored(real(M * K), kind);
            const more = real(R * M);
            const [bias, accumulate] = [seed % 2 === 0, seed === 1];
            const kernel = matrixMatmul({
              x: { stored: 'f32', layout: ofX }, w: { stored: kind, layout: ofW }, bias, accumulate, tile, whole: K % 64 === 0,
            });
            const y = run.buffer(accumulate ? Float32Array.from(more) : R * M);
            await run.run(kernel, { R, M, K }, { R, M, K }, {
              x: run.buffer(x.words), w: run.buffer(w.words), bias: run.buffer(Float32Array.from(more)), y,
            });
            const half = (value: number) => ({ value, error: Math.abs(value) * 2 ** -11 + 2 ** -25 });
            const truth = Array.from({ length: R * M }, (_, n) => {
              const [r, m] = [Math.floor(n / M), n % M];
              const terms = Array.from({ length: K }, (_, k) => rounding.multiply(
                half(x.values[ofX === 'rows' ? r * K + k : k * R + r]), half(w.values[ofW === 'rows' ? m * K + k : k * M + m]),
              ));
              if (bias || accumulate) terms.push({ value: more[bias ? m : n], error: 0 });
              return rounding.sum(terms);
            });
            expectWithin(await run.read(y, R * M), truth, `${kernel.name} at ${size.join()}`);
          }
        }
      }
    }
    expect(needed.features.length).toBe(3);
  });

  it('one to eight rows give x w^T, whatever the length of the rows', PATIENCE, async () => {
    const run = new FastRun(await requestFastDevice());
    const sizes = [[1, 1, 1], [3, 9, 40], [8, 21, 2088], [2, 17, 301], [1, 70, 264]] as const;
    for (const [seed, size] of some(2, [...sizes.entries()])) {
      const [R, M, K] = size;
      for (const kind of THOROUGH ? KINDS : [KINDS[seed % 3]]) {
        const { real } = draw(seed, 'float32');
        const x = stored(real(R * K), 'f32');
        const w = stored(real(M * K), kind);
        const more = real(R * M);
        const aligned = K % (kind === 'f32' ? 4 : 8) === 0;
        for (const lanes of [true, false]) {
          const adds = { bias: false, accumulate: true };
          const kernel = vectorProduct({ stored: kind, rows: R, aligned, subgroups: lanes, ...adds });
          if (!runsOn(run.device, run.info, kernel)) continue;
          const y = run.buffer(Float32Array.from(more));
          await run.run(kernel, { R, M, K }, { M, K }, { x: run.buffer(x.words), w: run.buffer(w.words), y });
          expectWithin(await run.read(y, R * M), product(size,
            (r, k) => x.values[r * K + k], (m, k) => w.values[m * K + k], (r, m) => more[r * M + m]),
            `${kernel.name} at ${size.join()}`);
        }
      }
    }
  });
});

describeWebGPU('fast attention of one query to a cache', () => {
  /** A cache of KV heads with these numbers of entries, in blocks that lie anywhere, and NaN in all other places. */
  function cacheOf(counts: readonly number[], d: number, block: number, kind: 'f32' | 'f16', dead: number, seed: number) {
    const { real, whole } = draw(seed, 'float32');
    const width = Math.max(1, ...counts.map((count) => Math.ceil(count / block)));
    const blocks = counts.length * width;
    const table = new Uint32Array(blocks).fill(0xffffffff);
    const free = Array.from({ length: blocks }, (_, n) => n).sort((a, b) => (a * 7) % 11 - (b * 7) % 11);
    const last = new Uint32Array(blocks * block);
    const k = new Float64Array(blocks * block * d).fill(NaN);
    const v = new Float64Array(blocks * block * d).fill(NaN);
    const live: number[][] = counts.map(() => []);
    counts.forEach((count, head) => {
      for (let n = 0; n < count; n++) {
        if (n % block === 0) table[head * width + n / block] = free.pop()!;
        const place = table[head * width + Math.floor(n / block)] * block + (n % block);
        last[place] = dead > 0 && n % dead === 1 ? 4 : 5 + whole(1, 9)[0];
        if (last[place] < 5) continue; // the query is at 5: this entry stays NaN
        live[head].push(place);
        k.set(real(d), place * d);
        v.set(real(d), place * d);
      }
    });
    return { k: stored(k, kind), v: stored(v, kind), table, width, last, live, real };
  }

  it('sums over ragged heads in scattered blocks, and never meets the NaN of dead or free places', PATIENCE, async () => {
    const run = new FastRun(await requestFastDevice());
    const shapes = [
      { counts: [600], group: 7, d: 8, block: 64 },
      { counts: [33, 200], group: 1, d: 20, block: 5 },
      { counts: [130, 65], group: 4, d: 128, block: 64 },
      { counts: [19, 40, 2], group: 3, d: 7, block: 8 },
      { counts: [70, 1, 0, 301], group: 2, d: 64, block: 16 },
    ];
    for (const [seed, { counts, group, d, block }] of some(1, [...shapes.entries()])) {
      for (const kind of THOROUGH ? ['f32', 'f16'] as const : [seed % 2 === 0 ? 'f16' : 'f32'] as const) {
        for (const masked of THOROUGH ? [false, true] : [true]) {
          const heads = counts.length;
          const cache = cacheOf(counts, d, block, kind, masked ? 3 : 0, seed);
          const q = cache.real(heads * group * d);
          const options = { heads, group, d, stored: kind, layout: { block, masked } };
          const firsts = [{ kernel: decodeAttention(options), step: 64 }];
          if (hasDecodeSubgroups(d)) {
            firsts.push({ kernel: decodeAttentionSubgroups(options), step: decodeStep(options) });
          }
          for (const { kernel, step } of firsts.filter((first) => runsOn(run.device, run.info, first.kernel))) {
            const parts = seed % 2 === 0 ? heads + 2 : decodeParts(heads, 0);
            const held = run.buffer(Uint32Array.from(counts.flatMap((count) => [count, 5])));
            const sums = run.buffer(parts * group * 4 * Math.ceil(d / 4));
            const stats = run.buffer(parts * group * 2);
            const out = run.buffer(heads * group * d);
            await run.run(kernel, { parts }, { parts, width: cache.width, scale: 0.3 }, {
              q: run.buffer(Float32Array.from(q)), k: run.buffer(cache.k.words), v: run.buffer(cache.v.words),
              table: run.buffer(cache.table), held, last: run.buffer(cache.last), sums, stats,
            });
            await run.run(decodeMerge(options, step), { parts }, { parts }, { held, sums, stats, out });
            const found = await run.read(out, heads * group * d);
            for (let h = 0; h < heads * group; h++) {
              const live = cache.live[Math.floor(h / group)];
              const rows = (x: Float64Array) => live.map((place) => x.subarray(place * d, (place + 1) * d));
              const row = found.subarray(h * d, (h + 1) * d);
              if (live.length === 0) {
                expect([...row], kernel.name).toEqual(new Array<number>(d).fill(0));
                continue;
              }
              const scale = Math.fround(0.3);
              const query = q.subarray(h * d, (h + 1) * d);
              const { out: truth } = attended(
                query, rows(cache.k.values), rows(cache.v.values), scale, { halfWeights: false },
              );
              expectWithin(row, truth, `${kernel.name}, head ${h}`);
            }
          }
        }
      }
    }
  });
});
