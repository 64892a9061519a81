/**
 * Maps of the output whose errors are the most budgets, in the head where they are worst: of its numbers, by tiles of
 * rows and channels, and of the pairs of query and key that they may come from.
 *
 * The second shares each error by the true probabilities A_ij of §3: that of row i of out, lse, dq or dM among the keys
 * j that i sees, and that of key j of dv, dk, dw, dl or dg among the queries that see it, relative to their sum. It
 * needs no diagnosis. A mistake in few pairs of much weight shows where they are; one of whole rows shows the
 * pattern of A.
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { failingOf } from './compare.ts';
import { AXES } from './outputs.ts';
import type { ErrorMap, OracleCase, OutputName, TensorReport } from '../types.ts';

/** The most tiles along one side, and the most failing rows or keys whose pairs are computed. */
const [MOST, ROWS] = [32, 512];

/** Both maps of the worst output of floats, as far as it has rows and channels. */
export function worstMaps(oracleCase: OracleCase, reports: readonly TensorReport[]): readonly ErrorMap[] {
  const ratio = ({ nan, worst }: TensorReport): number => (nan > 0 ? Infinity : worst?.ratio ?? 0);
  const report = reports.filter((each) => each.status === 'fail' && failingOf(each) && AXES[each.name as OutputName].length > 2
    && oracleCase.expected[each.name].data instanceof Float64Array && each.name !== 'dscores')
    .reduce<TensorReport | undefined>((a, b) => (a && ratio(a) >= ratio(b) ? a : b), undefined);
  const failing = report && failingOf(report);
  if (!report || !failing) return [];
  const tensor = report.name as OutputName;
  const { shape } = oracleCase.expected[tensor];
  const [, H, rows, d = 1] = shape;
  const levels = Array.from({ length: shape[0] * H }, (_, head) => total(failing, head * rows * d, rows * d));
  const head = levels.indexOf(Math.max(...levels));
  const own = failing.subarray(head * rows * d, (head + 1) * rows * d);
  const kind = AXES[tensor].includes('head') ? 'query head' : 'KV head';
  const of = `${shape[0] > 1 ? `batch ${Math.floor(head / H)}, ` : ''}${kind} ${head % H}`;
  return [
    ...d > 1 && rows > 1 ? [channels(tensor, of, own, rows, d)] : [],
    ...shares(oracleCase, tensor, of, own, head, kind === 'KV head'),
  ];
}

function total(levels: Uint8Array, from: number, length: number): number {
  let sum = 0;
  for (let n = from; n < from + length; n++) sum += levels[n] > 0 ? 10 ** levels[n] : 0;
  return sum;
}

function channels(tensor: OutputName, of: string, levels: Uint8Array, rows: number, d: number): ErrorMap {
  const size = (n: number, least: number): number => Math.max(least, 2 ** Math.ceil(Math.log2(n / MOST)));
  const [tile, across] = [size(rows, 16), size(d, 1)];
  const cells = Array.from({ length: Math.ceil(rows / tile) }, () => new Array<number>(Math.ceil(d / across)).fill(0));
  levels.forEach((level, n) => {
    const [row, at] = [cells[Math.floor(n / d / tile)], Math.floor(n % d / across)];
    row[at] = Math.max(row[at], level);
  });
  const down = AXES[tensor].includes('query') ? 'queries' : 'keys';
  return { tensor, shows: 'errors', tile, tileAcross: across, down, across: across > 1 ? 'channels' : 'channel', of, cells };
}

function shares(
  { parameters: p, inputs, expected }: OracleCase, tensor: OutputName, of: string, levels: Uint8Array, head: number,
  byKey: boolean,
): readonly ErrorMap[] {
  const { tokens: N, queryHeads, kvHeads, headDim: d, chunk: C, scale } = p;
  const R = queryHeads / kvHeads;
  const kv = byKey ? head : Math.floor(head / R);
  const [q, k] = [inputs.q.data, inputs.k.data];
  const [last, lse] = [(expected.last as IntegerTensor).data, expected.lse.data];
  const tile = Math.max(16, 2 ** Math.ceil(Math.log2(N / MOST)));
  const cells = Array.from({ length: Math.ceil(N / tile) }, () => new Array<number>(Math.ceil(N / tile)).fill(-1));
  const sees = (i: number, j: number): boolean => j <= i && i <= last[kv * N + j];
  for (let j = 0; j < N; j++) {
    for (let i = j; i <= Math.min(last[kv * N + j], N - 1); i++) {
      const row = cells[Math.floor(i / tile)];
      row[Math.floor(j / tile)] = Math.max(row[Math.floor(j / tile)], 0);
    }
  }
  const A = (query: number, j: number): number => {
    let S = 0;
    for (let c = 0; c < d; c++) S += q[query * d + c] * k[(kv * N + j) * d + c];
    return Math.exp(scale * S - lse[query]);
  };
  const queries = byKey && tensor !== 'dm_rows' ? Array.from({ length: R }, (_, r) => kv * R + r) : [byKey ? kv * R : head];
  const pairs = (n: number): [i: number, j: number, weight: number][] => {
    const found: [number, number, number][] = [];
    const ofKeys = byKey && tensor !== 'dm_rows';
    const keys = levels.length === N || levels.length === N * d ? [n]
      : Array.from({ length: Math.min(C, N - n * C) }, (_, t) => n * C + t);
    for (const own of ofKeys ? keys : [n]) {
      for (let other = 0; other < N; other++) {
        const [i, j] = ofKeys ? [other, own] : [own, other];
        if (sees(i, j)) found.push([i, j, queries.reduce((sum, h) => sum + A(h * N + i, j), 0)]);
      }
    }
    const sum = found.reduce((a, [, , weight]) => a + weight, 0);
    return found.map(([i, j, weight]) => [i, j, weight / sum]);
  };
  const width = expected[tensor].shape.length > 3 ? d : 1;
  const worst = Array.from({ length: levels.length / width }, (_, n) =>
    Math.max(...levels.subarray(n * width, (n + 1) * width)));
  const failing = worst.flatMap((level, n) => (level > 0 ? [n] : []));
  for (const n of failing.filter((_, at) => at % Math.ceil(failing.length / ROWS) === 0)) {
    for (const [i, j, share] of pairs(n)) {
      const level = worst[n] > 9 ? 10 : Math.ceil(worst[n] + Math.log10(share));
      const row = cells[Math.floor(i / tile)];
      if (level > row[Math.floor(j / tile)]) row[Math.floor(j / tile)] = level;
    }
  }
  return N > 1 ? [{ tensor, shows: 'shares', tile, tileAcross: tile, down: 'queries', across: 'keys', of, cells }] : [];
}
