/**
 * Too little precision, and wrong caches, written differently or in other places than those of the first set.
 * @module
 */
import { EVER, type Head, LOCAL, WINDOW } from '../hooks.ts';
import { chunkEnd, chunkOf } from '../right.ts';
import type { Mutant } from '../mutant.ts';
import {
  ascending, brain, claiming, descending, dots, f, half, hooked, part, plain, soft,
} from './parts.ts';

/** Truncates to 11 bits, as tensor cores do when they read a float32. */
function tf32(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0] = bits[0] & 0xffffe000;
  return new Float32Array(bits.buffer)[0];
}
const stored = (names: readonly string[], round: (x: number) => number) =>
  (name: string, data: Float32Array): Float32Array => (names.includes(name) ? data.map(round) : data);

export const PRECISIONS: readonly Mutant[] = [
  hooked('qk-f16-descending', 'accumulates q . k in float16, from the end', 'accumulated-f16', { dot: dots(descending, half) }),
  hooked('qk-pv-bf16', 'accumulates q . k and P V in bfloat16', 'accumulated-bf16', {
    dot: dots(ascending, brain), attend: soft({ sum: brain }),
  }),
  hooked('pv-f16-sum', 'accumulates products of P V, exact ones, in float16', 'accumulated-f16', { attend: soft({ sum: half }) }),
  hooked('normalised-p-f16', 'divides first and rounds P to float16 then', 'probabilities-f16', {
    attend: (all, sees) => {
      const row = part(all, sees);
      const { Z, m, lse } = plain(row);
      return { o: plain(row, { weight: (e) => f(half(f(e / Z)) * Z) }).o, Z, m, lse };
    },
  }),
  hooked('p-tf32', 'feeds P through a tensor core that cuts it to 11 bits', ['probabilities-f16', 'probabilities-tf32'], { attend: soft({ weight: tf32 }) }),
  hooked('p-bf16-backward', 'rounds P to bfloat16 for dv', 'probabilities-bf16', { storeA: brain }),
  hooked('gradients-f16', 'returns dq, dk and dv that were float16', 'stored-f16', { write: stored(['dq', 'dk', 'dv'], half) }),
  hooked('lse-bf16', 'keeps lse in bfloat16 on its way out', 'stored-bf16', { write: stored(['lse'], brain) }),
  hooked('fast-exp', 'has an exp with a relative error of 2^-10', 'unknown', {
    attend: soft({ exp: (x) => Math.exp(x) * (1 + 2 ** -10 * Math.sin(97 * x)) }),
  }),
  hooked('sum-of-p-f16', 'sums the weights in float16', ['accumulated-f16', 'sum-f16'], { attend: soft({ sumZ: half }) }),
  claiming('f16', 'pv-f16-claimed', 'claims float16 and accumulates P V in it', 'accumulated-f16', { attend: soft({ sum: half }) }),
  claiming('bf16', 'qk-bf16-claimed', 'claims bfloat16 and accumulates q . k in it', 'accumulated-bf16', { dot: dots(ascending, brain) }),
  claiming('f16', 'p-bf16-claimed', 'claims float16 and rounds P to bfloat16', 'probabilities-bf16', {
    attend: soft({ weight: brain }), storeA: brain,
  }),
];

const isType = (head: Head, j: number, type: number): boolean => head.own[chunkOf(j, head.p)] === type;

export const CACHES: readonly Mutant[] = [
  hooked('positions-of-slots', 'takes the slot for the position', 'renumbered', { cache: { position: (_, held) => held } }),
  hooked('evicts-by-blocks', 'evicts after every 16 tokens alone', ['unknown', 'ends-by-tile'], {
    cache: { dies: ({ last }, next) => next % 16 === 0 && last < next },
  }),
  hooked('windows-early', 'evicts WINDOW entries a token early, LOCAL ones on time', 'evicted-early', () => {
    let now: Head | undefined;
    return {
      cache: {
        before: (entries, _, __, head) => ((now = head), entries),
        dies: ({ j, last }, next) => (isType(now!, j, WINDOW) && j < next - 1 ? last <= next : last < next),
      },
    };
  }),
  hooked('closed-still-seen', 'hides closed LOCAL entries only from the next step on', 'steps-unmasked', {
    cache: { visible: (i, { j, last }, begin, head) => j <= i && (isType(head, j, LOCAL) ? last >= begin : i <= last) },
  }),
  hooked('step-sees-itself', 'has no causal mask among the tokens of a step', 'causal-missing', {
    cache: { visible: (i, { last }) => i <= last },
  }),
  hooked('prefill-forgets', 'lets a step of several tokens see its own keys alone', 'unknown', {
    cache: { before: (entries, begin, next) => (next - begin > 1 ? entries.filter(({ j }) => j >= begin) : entries) },
  }),
  hooked('arena', 'allocates the whole context before it starts', 'bytes-context', {
    cache: { bytes: (_, __, ___, d, N) => N * 2 * d * 4 },
  }),
  hooked('open-closes-again', 'lets each GLOBAL of a step close every LOCAL that is held', ['closes-again', 'closed-by-last'], {
    cache: { close: (open, end) => open.forEach((entry) => (entry.last = entry.closedBy = end)) },
  }),
  hooked('cache-without-closing', 'never closes LOCAL in the cache', 'local-never', { cache: { close: () => undefined } }),
  hooked('cache-window-of-w', 'keeps W entries for a window', ['ring-short', 'evicted-early', 'window-short'], {
    cache: {
      before: (entries, _, __, head) => entries.map((entry) => {
        const short = isType(head, entry.j, WINDOW) && entry.last > entry.j && entry.last !== EVER;
        return short ? { ...entry, last: entry.last - 1 } : entry;
      }),
    },
  }),
  hooked('window-of-unfinished', 'gives WINDOW tokens of a chunk that is not full yet their window at once', 'unfinished-chunk', {
    cache: {
      before: (entries, _, next, head) => {
        for (const entry of entries) {
          const full = chunkEnd(chunkOf(entry.j, head.p), head.p) < next;
          if (!full && isType(head, entry.j, WINDOW)) entry.last = entry.j + head.p.window;
        }
        return entries;
      },
    },
  }),
];
