/**
 * A small float32 kernel as someone might write it, with a hook wherever mutants make a mistake. Without hooks it is
 * right. It has every sum in float32, keys in tiles of 16 with an online softmax, gradients recomputed from lse, and a
 * real cache.
 * @module
 */
import type { NamedTensor } from '../../src/formats/named-tensor.ts';
import type { OracleCase, Tensors } from '../../src/oracle/types.ts';
import {
  type Entry, EVER, GLOBAL, type Head, type Hooks, LOCAL, type RowOf, type Sums, type Weights, WINDOW,
} from './hooks.ts';
import {
  chunkEnd, chunkOf, closing, online, rightDg, rightDl, rightDw, rightLast, rightScores, softmax,
} from './right.ts';

const f = Math.fround;

/** What the kernel without hooks makes of a case: many mutants differ from it in some outputs alone. */
const RIGHT = new WeakMap<OracleCase, Tensors>();

/** Computes every output of a case. */
export function run(each: OracleCase, hooks?: Hooks): Tensors {
  if (hooks) return computed(each, hooks);
  const right = RIGHT.get(each) ?? computed(each, {});
  RIGHT.set(each, right);
  const copy = ([name, tensor]: [string, NamedTensor]): [string, NamedTensor] =>
    [name, { ...tensor, data: tensor.data.slice() } as NamedTensor];
  return Object.fromEntries(Object.entries(right).map(copy));
}

function computed({ parameters: p, inputs, expected }: OracleCase, h: Hooks): Tensors {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, chunk: C } = p;
  const [R, Nc] = [H / G, Math.ceil(N / C)];
  const real = (name: string): Float64Array => (inputs[name]?.data ?? new Float64Array(0)) as Float64Array;
  const [q, k, v, dO, scores, noise] = ['q', 'k', 'v', 'dout', 'scores', 'noise'].map(real) as
    [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  const three = (data: Float64Array, t: number): number[] => [0, 1, 2].map((n) => data[3 * t + n] ?? 0);
  const forced = (t: number): boolean => inputs.forced?.data[Math.floor(t / (G * Nc)) * Nc + t % Nc] === 1;
  const type = h.type ?? (({ scores: s, noise: n, forced: global }) => {
    const z = s.map((x, c) => f(x + n[c]));
    return global ? GLOBAL : z.indexOf(Math.max(...z));
  });
  let types = inputs.scores
    ? Int32Array.from({ length: B * G * Nc }, (_, t) =>
      type({ scores: three(scores, t), noise: three(noise, t), tau: p.temperature, forced: forced(t) }))
    : inputs.types.data as Int32Array;
  if (h.types) types = h.types(types, p);
  const heads = Array.from({ length: B * G }, (_, head): Head => {
    const own = types.slice(head * Nc, (head + 1) * Nc);
    if (Nc * C > N) own[Nc - 1] = GLOBAL;
    return { p, own, head };
  });
  let last = Int32Array.from({ length: B * G * N }, (_, n) =>
    Math.min(EVER, (h.last ?? rightLast)(heads[Math.floor(n / N)], n % N)));
  if (h.lastOfHead) last = Int32Array.from(h.lastOfHead(last, p));
  const visible = h.visible ?? ((i, j, end) => j <= i && i <= end);
  const sees = (head: number, i: number, j: number): boolean => visible(i, j, last[head * N + j], heads[head]);
  const scale = f((h.scale ?? (() => p.scale))(p));
  const dot = h.dot ?? ((x, at, y, from, n) => {
    let sum = 0;
    for (let c = 0; c < n; c++) sum = f(sum + f(x[at + c] * y[from + c]));
    return sum;
  });
  const kv = (b: number, head: number): number => h.kv?.(b, head, p) ?? b * G + Math.floor(head / R);
  const attend = (row: RowOf, seen: (j: number) => boolean): Weights => {
    if (h.attend) return h.attend(row, seen);
    const at = [...row.keys.keys()].filter((n) => seen(row.keys[n]));
    if (at.length === row.keys.length) return online(row);
    return online({
      ...row, keys: at.map((n) => row.keys[n]), S: at.map((n) => row.S[n]), value: (n, c) => row.value(at[n], c),
    });
  };
  const results: Record<string, Float32Array> = {};
  const make = (name: string, length: number): Float32Array => (results[name] = new Float32Array(length));
  const [out, lse] = [make('out', B * H * N * d), make('lse', B * H * N)];
  const known: Weights[] = [];
  // Each row is needed several times, mostly those of one KV head in succession.
  const products = new Map<number, Float32Array>();
  const S = (row: number, key: number): number => {
    const at = row * B * G + Math.floor(key / N);
    let all = products.get(at);
    if (!all) products.set(at, all = new Float32Array(N).fill(NaN));
    const n = key % N;
    if (Number.isNaN(all[n])) all[n] = f(scale * dot(q, row * d, k, key * d, d));
    return all[n];
  };
  for (let row = 0; row < B * H * N; row++) {
    const [b, head, i] = [Math.floor(row / (H * N)), Math.floor(row / N) % H, row % N];
    const [from, own] = [kv(b, head), b * G + Math.floor(head / R)];
    const keys: number[] = [];
    for (let j = 0; j < N; j++) if (h.attend || sees(own, i, j)) keys.push(j);
    const weights = attend({
      i, keys, d, S: keys.map((j) => S(row, from * N + j)), value: (n, c) => v[(from * N + keys[n]) * d + c],
    }, h.attend ? (j) => sees(own, i, j) : () => true);
    known[row] = weights;
    out.set(h.out?.(weights.o, weights) ?? weights.o.map((x) => f(x / weights.Z)), row * d);
    lse[row] = h.lse?.(weights) ?? weights.lse;
  }
  if (dO.length > 0) {
    const [dv, dq, dk] = [make('dv', k.length), make('dq', q.length), make('dk', k.length)];
    const dMs = Array.from({ length: B * G }, () => new Float32Array(N * N));
    const [norms, Ds] = [new Float32Array(B * H * N), new Float32Array(B * H * N)];
    const backVisible = h.backVisible ?? visible;
    const [sumQ, sumKv] = [h.sumQ ?? f, h.sumKv ?? f];
    const weight = h.weight ?? ((s, l) => f(Math.exp(f(s - l))));
    for (let row = 0; row < B * H * N; row++) {
      const [b, head, i] = [Math.floor(row / (H * N)), Math.floor(row / N) % H, row % N];
      const own = b * G + Math.floor(head / R);
      const from = kv(b, head);
      const D0 = dot(dO, row * d, Float64Array.from(out.subarray(row * d, (row + 1) * d)), 0, d);
      const D = h.D?.(D0, known[row], dot(dO, row * d, v, (own * N + i) * d, d)) ?? D0;
      const kept = new Float32Array(N).fill(NaN);
      const P = (j: number): number => {
        if (h.dot) return dot(dO, row * d, v, (from * N + j) * d, d);
        if (Number.isNaN(kept[j])) kept[j] = dot(dO, row * d, v, (from * N + j) * d, d);
        return kept[j];
      };
      const counts = h.counts?.(head % R, R) ?? true;
      for (let j = 0; j < N; j++) {
        if (!backVisible(i, j, last[own * N + j], heads[own])) continue;
        const key = (from * N + j) * d;
        const A = weight(S(row, from * N + j), lse[row], known[row].m);
        const dS = h.dS?.(A, P(j), D) ?? f(A * f(P(j) - D));
        const stored = h.storeA?.(A) ?? A;
        for (let c = 0; c < d; c++) {
          dq[row * d + c] = sumQ(dq[row * d + c] + f(dS * k[key + c]));
          if (!counts) continue;
          dk[key + c] = sumKv(dk[key + c] + f(dS * q[row * d + c]));
          dv[key + c] = sumKv(dv[key + c] + f(stored * dO[row * d + c]));
        }
      }
      const causal = Array.from({ length: i + 1 }, (_, j) => S(row, from * N + j));
      const m = Math.max(...causal);
      const all = f(m + f(Math.log(causal.reduce((sum, x) => f(sum + f(Math.exp(f(x - m)))), 0))));
      const n = h.norm?.(lse[row], all, p.rule) ?? (p.rule === 'exact' ? lse[row] : all);
      [norms[row], Ds[row]] = [n, D];
      causal.forEach((s, j) => {
        const w = f(Math.exp(f(s - n)));
        const right = f(w * f(P(j) - D));
        const dM = h.dM?.(right, sees(own, i, j), { S: s, P: P(j), D, scale, weight: w }) ?? right;
        if (counts) dMs[own][i * N + j] = f(dMs[own][i * N + j] + dM);
      });
    }
    const R1 = f(h.groupFactor?.(R) ?? 1);
    const [ofQ, ofK] = [h.dqFactor?.(scale) ?? scale, h.dkFactor?.(scale) ?? scale];
    dq.forEach((x, n) => (dq[n] = f(x * f(ofQ))));
    dk.forEach((x, n) => (dk[n] = f(f(x * f(ofK)) * R1)));
    dv.forEach((x, n) => (dv[n] = f(x * R1)));
    if (h.dq) results.dq = h.dq(dq);
    dMs.forEach((dM) => dM.forEach((x, n) => (dM[n] = f(x * R1))));
    const rows = make('dm_rows', B * G * N);
    const triple = { dw: make('dw', B * G * Nc), dl: make('dl', B * G * Nc), dg: make('dg', B * G * Nc) };
    heads.forEach((head, at) => {
      const cell = (i: number, j: number): number => dMs[at][i * N + j];
      const beyond = (n: number, j: number): number => {
        let sum = 0;
        for (let r = 1; r <= R; r++) {
          const row = (at * R + r) * N + n;
          if (row >= B * H * N) continue;
          const P = dot(dO, row * d, v, (at * N + j) * d, d);
          sum = f(sum + f(f(Math.exp(f(S(row, at * N + j) - norms[row]))) * f(P - Ds[row])));
        }
        return sum;
      };
      for (let i = 0; i < N; i++) for (let j = 0; j <= i; j++) rows[at * N + i] = f(rows[at * N + i] + cell(i, j));
      const column = (c: number, from: number, to: number): number => {
        let sum = 0;
        for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
          for (let i = Math.max(j, from); i <= Math.min(to, N - 1); i++) sum = f(sum + cell(i, j));
        }
        return sum;
      };
      for (let c = 0; c < Nc; c++) {
        const sums: Sums = { head, c, column, cell, beyond };
        triple.dw[at * Nc + c] = (h.dw ?? rightDw)(sums);
        triple.dl[at * Nc + c] = (h.dl ?? rightDl)(sums);
        triple.dg[at * Nc + c] = (h.dg ?? rightDg)(sums);
      }
    });
    if (inputs.scores) {
      const made = make('dscores', B * G * Nc * 3);
      for (let t = 0; t < B * G * Nc; t++) {
        const [head, c] = [heads[Math.floor(t / Nc)], t % Nc];
        const price = [N - 1, closing(head, c), Math.min(chunkEnd(c, p) + p.window, N - 1)].map((end) => {
          let kept = 0;
          for (let j = c * C; j < Math.min((c + 1) * C, N); j++) kept += end - j;
          return f(p.price * kept);
        });
        const [s, n] = [three(scores, t), three(noise, t)];
        const z = {
          y: softmax(s.map((x, at) => f(f(x + n[at]) / p.temperature))), dt: ['dg', 'dl', 'dw'].map((name) => results[name][t]),
          price, tau: p.temperature, forced: forced(t), type: types[t], scores: s, noise: n,
        };
        made.set((h.dscores ?? rightScores)(z), 3 * t);
      }
    }
  }
  const whole: Record<string, Int32Array> = { types, last };
  if (expected.mask) {
    whole.mask = new Int32Array(B * G * N * N);
    for (let n = 0; n < whole.mask.length; n++) {
      whole.mask[n] = sees(Math.floor(n / (N * N)), Math.floor(n / N) % N, n % N) ? 1 : 0;
    }
  }
  if (p.steps.length > 0) Object.assign(whole, cacheRun());

  /** §8, head by head. cache_out joins the results. */
  function cacheRun(): Record<string, Int32Array> {
    const [hooks, steps] = [h.cache ?? {}, p.steps.length];
    const closedBy = new Int32Array(B * G * N).fill(-1);
    const evictedAt = new Int32Array(B * G * N).fill(-1);
    const [live, held] = [new Int32Array(steps * B * G * N), new Int32Array(steps * B * G)];
    const outputs = make('cache_out', B * H * N * d);
    heads.forEach((head, at) => {
      let entries: Entry[] = [];
      let begin = 0;
      p.steps.forEach((T, r) => {
        const next = begin + T;
        for (let j = begin; j < next; j++) {
          entries.push({ j, position: hooks.position?.(j, entries.length) ?? j, last: EVER, closedBy: -1 });
        }
        const ends: number[] = [];
        for (let c = Math.floor(begin / C); c < Math.floor(next / C); c++) {
          const tokens = entries.filter(({ j }) => chunkOf(j, p) === c);
          if (head.own[c] === GLOBAL) {
            ends.push(chunkEnd(c, p));
            const open = entries.filter(({ j }) => head.own[chunkOf(j, p)] === LOCAL && chunkOf(j, p) < c);
            if (hooks.close) hooks.close(open, chunkEnd(c, p), begin, ends);
            else for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = chunkEnd(c, p);
          }
          for (const entry of tokens) {
            if (head.own[c] === WINDOW) entry.last = entry.position - entry.j + last[at * N + entry.j];
            else if (head.own[c] === GLOBAL) entry.last = last[at * N + entry.j];
          }
        }
        // A wrong lifetime is wrong in the cache too, once the closing token has arrived.
        if (h.last || h.lastOfHead) {
          for (const entry of entries) {
            const full = chunkEnd(chunkOf(entry.j, p), p) < next;
            const own = last[at * N + entry.j];
            const closed = head.own[chunkOf(entry.j, p)] === LOCAL;
            if (full && (!closed || own < next + 1 || entry.closedBy >= 0)) {
              entry.last = own;
              if (closed && own !== EVER && own < next) entry.closedBy = own;
              else if (closed && own === EVER) entry.closedBy = -1;
            }
          }
        }
        const served = hooks.before?.([...entries], begin, next, head) ?? entries;
        for (let r2 = 0; r2 < R; r2++) {
          for (let i = begin; i < next; i++) {
            const row = (at * R + r2) * N + i;
            const query = Math.floor(row / N);
            const from = kv(Math.floor(query / H), query % H);
            const seen = (entry: Entry): boolean => hooks.visible?.(i, entry, begin, head)
              ?? visible(i, entry.j, entry.last, head);
            const use = served.filter((entry) => seen(entry));
            const made = attend({
              i, keys: use.map(({ j }) => j), d, S: use.map(({ j }) => S(row, from * N + j)),
              value: (n, c) => v[(from * N + use[n].j) * d + c],
            }, () => true);
            outputs.set(h.out?.(made.o, made) ?? made.o.map((x) => f(x / made.Z)), row * d);
          }
        }
        const dies = hooks.dies ?? ((entry: Entry, now: number) => entry.last < now);
        for (const entry of entries) {
          if (entry.closedBy >= 0) closedBy[at * N + entry.j] = entry.closedBy;
          if (dies(entry, next)) evictedAt[at * N + entry.j] = r;
        }
        entries = entries.filter((entry) => !dies(entry, next));
        if (hooks.after) entries = hooks.after(entries);
        for (const { position } of entries) live[(r * B * G + at) * N + position] = 1;
        held[r * B * G + at] = entries.length;
        begin = next;
      });
    });
    const bytes = held.map((count, n) => {
      const r = Math.floor(n / (B * G));
      const seen = p.steps.slice(0, r + 1).reduce((a, b) => a + b, 0);
      const most = Math.max(...held.subarray(r * B * G, (r + 1) * B * G));
      return hooks.bytes?.(count, seen, most, d, N) ?? count * 2 * d * 4;
    });
    return {
      cache_closed_by: closedBy, cache_evicted_at: evictedAt, cache_live: live, cache_bytes: bytes,
    };
  }

  const tensors: Record<string, NamedTensor> = {};
  for (const [name, { shape }] of Object.entries(expected)) {
    const data = results[name];
    if (data) tensors[name] = { dtype: 'F32', shape, data: Float64Array.from(h.write?.(name, data, shape) ?? data) };
    else if (whole[name]) tensors[name] = { dtype: 'I32', shape, data: whole[name] };
  }
  return tensors;
}
