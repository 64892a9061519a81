/**
 * Decode and prefill attention: errors and times.
 * @module
 */
import {
  decodeAttention, decodeAttentionSubgroups, decodeMerge, decodeParts, decodeStep, type FastKernel, immortalKeys,
  LIST_BLOCK, portableTile, prefillAttention, prefillMatrix, type PrefillSizes, prefillTile, runsOn, tileKeys,
} from '../../gpu/wgsl/fast/index.ts';
import { type Bench, type Call, relativeError } from './device.ts';
import type { Report } from './main.ts';

const [HEADS, GROUP, D] = [8, 4, 128];
const SCALE = 1 / Math.sqrt(D);

/** A generator of numbers in [0,1). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** Attention of one query in float64. */
function truth(q: Float64Array, keys: readonly Float64Array[], values: readonly Float64Array[]): number[] {
  const scores = keys.map((key) => key.reduce((sum, x, e) => sum + x * q[e], 0) * Math.fround(SCALE));
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scores.map((s) => Math.exp(s - most));
  const total = weights.reduce((a, b) => a + b, 0);
  return Array.from({ length: D }, (_, e) => weights.reduce((sum, w, i) => sum + w * values[i][e], 0) / total);
}

/** One decoded token: `live` entries in each head, or as `counts` says, in blocks of 64 that lie anywhere. */
async function decodeCase(
  bench: Bench, report: Report, what: string, counts: readonly number[],
  { stored = 'f16', subgroups = true, masked = false }: { stored?: 'f16' | 'f32'; subgroups?: boolean; masked?: boolean },
): Promise<void> {
  const block = 64;
  const width = Math.max(...counts.map((count) => Math.ceil(count / block)));
  const blocks = HEADS * width;
  const order = Uint32Array.from({ length: blocks }, (_, n) => n);
  const random = seeded(7);
  for (let n = blocks - 1; n > 0; n--) {
    const other = Math.floor(random() * (n + 1));
    [order[n], order[other]] = [order[other], order[n]];
  }
  const total = counts.reduce((a, b) => a + b, 0);
  const options = { heads: HEADS, group: GROUP, d: D, stored, layout: { block, masked } };
  const first = subgroups ? decodeAttentionSubgroups(options) : decodeAttention(options);
  const merge = decodeMerge(options, subgroups ? decodeStep(options) : 64);
  if (!runsOn(bench.device, bench.adapter.info, first)) return;
  const most = decodeParts(HEADS, total);
  const arrays = {
    q: await bench.random(HEADS * GROUP * D, 'f32'), k: await bench.random(blocks * block * D, stored),
    v: await bench.random(blocks * block * D, stored), table: bench.upload(order),
    held: bench.upload(Uint32Array.from(counts.flatMap((count) => [count, 5]))),
    last: bench.upload(new Uint32Array(blocks * block).fill(9)),
    sums: bench.empty(most * GROUP * D), stats: bench.empty(most * GROUP * 2), out: bench.empty(HEADS * GROUP * D),
  };
  const calls = [
    await bench.call(first, { parts: most }, { parts: most, width, scale: SCALE }, arrays),
    await bench.call(merge, { parts: most }, { parts: most }, arrays),
  ];
  const us = await bench.time(calls);
  let [found, expected]: [number[], number[]] = [[], []];
  for (const query of [1, 18]) {
    const head = Math.floor(query / GROUP);
    const q = await bench.numbers(arrays.q, 'f32', query * D, D);
    const pick = async (buffer: GPUBuffer): Promise<Float64Array[]> => {
      const rows: Float64Array[] = [];
      for (let n = 0; n < counts[head]; n += block) {
        const all = await bench.numbers(buffer, stored, order[head * width + n / block] * block * D, block * D);
        for (let i = 0; i < Math.min(block, counts[head] - n); i++) rows.push(all.subarray(i * D, (i + 1) * D));
      }
      return rows;
    };
    expected = expected.concat(truth(q, await pick(arrays.k), await pick(arrays.v)));
    found = found.concat([...await bench.numbers(arrays.out, 'f32', query * D, D)]);
  }
  const bytes = total * D * 2 * (stored === 'f16' ? 2 : 4);
  report({ what: `${first.name}, ${what}, ${most} parts`, us, error: relativeError(found, expected), rate: `${(bytes / us / 1000).toFixed(0)} GB/s` });
  bench.free();
}

/** Decode attention, by entries and kernels. */
export async function decoding(bench: Bench, quick: boolean, report: Report): Promise<void> {
  const even = (count: number) => new Array<number>(HEADS).fill(count);
  for (const live of quick ? [300] : [1024, 3328, 16384, 32768, 131072]) {
    await decodeCase(bench, report, `${live} live`, even(live), {});
  }
  if (!quick) await decodeCase(bench, report, 'ragged, 13107 live on average', [1000, 40000, 2000, 9000, 30000, 12000, 500, 10356], {});
  if (!quick) await decodeCase(bench, report, '13107 live', even(13107), {});
  for (const live of quick ? [300] : [1024, 16384]) {
    await decodeCase(bench, report, `${live} live`, even(live), { masked: true });
    await decodeCase(bench, report, `${live} live`, even(live), { stored: 'f32' });
    await decodeCase(bench, report, `${live} live`, even(live), { subgroups: false });
    await decodeCase(bench, report, `${live} live`, even(live), { subgroups: false, stored: 'f32' });
  }
}

/** Last queries of N keys: all GLOBAL, or 10% GLOBAL, 30% LOCAL and 60% WINDOW(256). */
function lifetimes(N: number, mixed: boolean): Uint32Array {
  const FOREVER = 2 ** 31 - 1;
  const last = new Uint32Array(HEADS * N).fill(FOREVER);
  if (!mixed) return last;
  const random = seeded(5);
  for (let h = 0; h < HEADS; h++) {
    let global = FOREVER;
    const types = Array.from({ length: N }, (_, j) => (j === 0 ? 0 : random()));
    for (let j = N - 1; j >= 0; j--) {
      last[h * N + j] = types[j] < 0.1 ? FOREVER : types[j] < 0.4 ? global : j + 256;
      if (types[j] < 0.1) global = j;
    }
  }
  return last;
}

async function prefillCase(
  bench: Bench, report: Report, kernel: FastKernel<PrefillSizes>, tile: number,
  stored: 'f16' | 'f32', ofQ: 'f16' | 'f32',
  { N, mixed, range }: { N: number; mixed: boolean; range?: number },
): Promise<void> {
  if (!runsOn(bench.device, bench.adapter.info, kernel)) return;
  const all = Math.ceil(N / tile);
  const tiles = range ?? all;
  const room = mixed ? 1024 : 2 * tile;
  const last = lifetimes(N, mixed);
  const arrays = {
    q: await bench.random(HEADS * GROUP * N * D, ofQ), k: await bench.random(HEADS * N * D, stored),
    v: await bench.random(HEADS * N * D, stored),
    last: bench.upload(last), starts: bench.upload(new Uint32Array(HEADS)),
    ranks: bench.empty(HEADS * N), reach: bench.empty(HEADS * Math.ceil(N / LIST_BLOCK)),
    lists: bench.empty(HEADS * N + HEADS * tiles * room), records: bench.empty(HEADS * tiles * 4),
    out: bench.empty(HEADS * GROUP * N * D), lse: bench.empty(HEADS * GROUP * N),
  };
  const lists: Call[] = [await bench.call(immortalKeys(), { heads: HEADS }, { keys: N, T: N }, arrays)];
  const calls = [...lists];
  for (let first = 0; first < all; first += tiles) {
    const sizes = { heads: HEADS, tiles: Math.min(tiles, all - first) };
    const params = { T: N, keys: N, first, room, scale: SCALE, ...sizes };
    const list = await bench.call(tileKeys(tile), sizes, params, arrays);
    lists.push(list);
    calls.push(list, await bench.call(kernel, sizes, params, arrays));
  }
  const us = await bench.time(calls);
  const listing = await bench.time(lists);
  const [found, expected]: [number[], number[]] = [[], []];
  for (const [head, x] of [[1, N - 1], [18, Math.floor(N / 2) + 7], [30, 65]]) {
    const kv = Math.floor(head / GROUP);
    const q = await bench.numbers(arrays.q, ofQ, (head * N + x) * D, D);
    const pick = async (buffer: GPUBuffer): Promise<Float64Array[]> => {
      const rows = await bench.numbers(buffer, stored, kv * N * D, (x + 1) * D);
      return Array.from({ length: x + 1 }, (_, j) => j).filter((j) => last[kv * N + j] >= x)
        .map((j) => rows.subarray(j * D, (j + 1) * D));
    };
    expected.push(...truth(q, await pick(arrays.k), await pick(arrays.v)));
    found.push(...await bench.numbers(arrays.out, 'f32', (head * N + x) * D, D));
  }
  let pairs = 0;
  for (let n = 0; n < last.length; n++) pairs += Math.min(last[n], N - 1) - (n % N) + 1;
  report({
    what: `${kernel.name}, q ${ofQ}, ${mixed ? 'mixed' : 'causal'} ${N}${range ? `, ${range} tiles a dispatch` : ''} (lists ${listing.toFixed(0)} us)`,
    us, error: relativeError(found, expected), rate: `${((4 * pairs * GROUP * D) / us / 1e6).toFixed(1)} TFLOP/s`,
  });
  bench.free();
}

/** Prefill attention, by length, pattern and kernel. */
export async function prefilling(bench: Bench, quick: boolean, report: Report): Promise<void> {
  for (const N of quick ? [512] : [4096, 16384, 32768]) {
    for (const mixed of [true, false]) {
      const kernel = prefillMatrix({ group: GROUP, d: D, queries: 'f16' });
      await prefillCase(bench, report, kernel, prefillTile(GROUP), 'f16', 'f16', { N, mixed });
      if (N === 32768) await prefillCase(bench, report, kernel, prefillTile(GROUP), 'f16', 'f16', { N, mixed, range: 128 });
    }
  }
  const wide = prefillMatrix({ group: GROUP, d: D, queries: 'f32' });
  await prefillCase(bench, report, wide, prefillTile(GROUP), 'f16', 'f32', { N: quick ? 512 : 16384, mixed: true });
  for (const stored of ['f32', 'f16'] as const) {
    const kernel = prefillAttention({ group: GROUP, d: D, stored });
    for (const mixed of [true, false]) {
      await prefillCase(bench, report, kernel, portableTile(GROUP), stored, 'f32', { N: quick ? 512 : mixed ? 16384 : 4096, mixed });
    }
  }
}
