/**
 * Mistakes with memory and indices, with layouts, packed and paged, and in caches.
 * @module
 */
import { run } from '../kernel.ts';
import { EVER, WINDOW } from '../hooks.ts';
import {
  broken, edited, f, given, hooked, mixed, OF_TYPES, partly, type Seventh, stepOf, TRAINING, typeOf,
} from './parts.ts';

export const STORAGE: readonly Seventh[] = [
  broken('swizzle-one-way', 'writes tiles of v swizzled and reads them unswizzled', {
    cause: 'blocks of 4 channels are exchanged by XOR with the key (j modulo the number of blocks) against bank conflicts, but only where v is stored',
    tensors: ['out'],
    where: 'out everywhere but row 0 and others that see only keys j with j % (d / 4) = 0: terms of key j have their channels exchanged by blocks of 4; the backward and the cache load v anew',
    cases: 'd a multiple of 8 (8, 16, 64, 128)',
  }, (each) => {
    const { headDim: d } = each.parameters;
    if (d % 8 > 0) return run(each);
    const wrong = run(given(each, 'v', (_, at, n, { data }) => {
      const [j, c] = [at[2], at[3]];
      return data[n - c + (Math.floor(c / 4) ^ (j % (d / 4))) * 4 + c % 4];
    }));
    return mixed(['out'], wrong, run(each));
  }),

  broken('kv-stride-up', 'takes heads of k and v to lie a whole number of tiles of 16 tokens apart', {
    cause: 'the stride of a KV head is 16 ceil(N / 16) rows in k and v, which were not padded; beyond the end there are zeros; dk and dv are stored rightly, and the cache has its own memory',
    tensors: TRAINING,
    where: 'flat KV heads n = b G + g > 0: key j is that of flat row n 16 ceil(N / 16) + j; flat head 0 is right',
    cases: 'B G > 1 and N % 16 > 0',
  }, (each) => {
    const { tokens: N, headDim: d } = each.parameters;
    const rows = 16 * Math.ceil(N / 16);
    const read = (_: number, __: readonly number[], n: number, { data }: { data: ArrayLike<number> }): number => {
      const row = Math.floor(n / d);
      return data[(Math.floor(row / N) * rows + row % N) * d + n % d] ?? 0;
    };
    return mixed(TRAINING, run(given(given(each, 'k', read), 'v', read)), run(each));
  }),

  broken('dk-carried', 'does not clear the accumulator of dk between two KV heads', {
    cause: 'a persistent program takes the flat KV heads 2 n and 2 n + 1 in turn, and clears dv between them, but not dk',
    tensors: ['dk'],
    where: 'flat KV heads b G + g that are odd: dk of the head before is added; dv is right',
    cases: 'B G > 1, with gradients and more than one token',
  }, (each) => {
    const right = run(each);
    const { tokens: N, headDim: d } = each.parameters;
    return edited(right, 'dk', (x, _, n, { data }) => (Math.floor(n / (N * d)) % 2 === 1 ? f(x + data[n - N * d]) : x));
  }),

  partly('packed-last-local', 'compares positions in the packed batch with lifetimes that count within a sequence', {
    cause: 'packed sequences: the row is cu_seqlens[b] + i, but last(j) counts from 0 in each sequence; causality is right, and a row always sees itself',
    tensors: TRAINING,
    where: 'batches b > 0: all LOCAL and WINDOW keys j < i with last(j) < b N + i are hidden, but for LOCAL that nothing closes; batch 0 is right',
    cases: 'B > 1 with types other than GLOBAL',
  }, TRAINING, {
    visible: (i, j, last, { head, p }) => i === j
      || (j <= i && (last === EVER || Math.floor(head / p.kvHeads) * p.tokens + i <= last)),
  }),

  hooked('last-page-skipped', 'does not read a last page of 16 entries that is not full', {
    cause: 'the loop over the pages of a head runs to floor(n / 16) for n entries kept from earlier steps; the new ones come from registers',
    tensors: ['cache_out'],
    where: 'rows after the first step: of the n entries kept, in order of position, those from 16 floor(n / 16) on are not seen, so none where n < 16; what lives is right',
    cases: 'caches of two or more steps, unless no head keeps anything that is seen later or every head has whole pages',
  }, {
    cache: {
      before: (entries, begin) => {
        const old = entries.filter(({ j }) => j < begin);
        return [...old.slice(0, old.length - old.length % 16), ...entries.filter(({ j }) => j >= begin)];
      },
    },
  }),

  broken('v-tokens-first', 'reads v as [B,N,G,d]', {
    cause: 'k has been made contiguous as [B,G,N,d], v is taken to be the transposed view that it once was; dv is stored rightly',
    tensors: ['out', 'cache_out', 'dq', 'dk', ...OF_TYPES],
    where: 'all KV heads of all batches: value n of head g is that of flat row n G + g of the sequence; lse and dv are right',
    cases: 'G > 1 and N > 1',
  }, (each) => {
    const { kvHeads: G, tokens: N, headDim: d } = each.parameters;
    return run(given(each, 'v', (_, [b, g, j, c], __, { data }) => data[(b * G * N + j * G + g) * d + c]));
  }),

  hooked('closed-at-step-end', 'closes LOCAL entries with the last token of the step that brings the GLOBAL', {
    cause: 'last(j) of open LOCAL entries becomes the newest position in the cache instead of the position of the GLOBAL',
    tensors: ['cache_closed_by', 'cache_out'],
    where: 'LOCAL tokens closed in a step that goes on after the GLOBAL: closed_by is the last position of the step, and rows of the same step after the GLOBAL still see them; what lives after a step is right',
    cases: 'caches with steps of two or more tokens and such a GLOBAL',
  }, (each) => ({
    cache: {
      close: (open, _, begin) => {
        for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = stepOf(each, begin).next - 1;
      },
    },
  })),

  hooked('evict-every-4', 'evicts only at the end of every fourth step', {
    cause: 'eviction is put off to steps r with r % 4 = 3, to move memory less often; hidden entries are masked until then',
    tensors: ['cache_evicted_at', 'cache_live'],
    where: 'entries whose time is over at the end of a step with r % 4 < 3: they stay until the next r with r % 4 = 3, or for ever; outputs are right, and more bytes are held',
    cases: 'caches in which something is evicted in another step than every fourth',
  }, (each) => ({
    cache: { dies: (entry, next) => entry.last < next && stepOf(each, next - 1).r % 4 === 3 },
  })),

  hooked('ring-of-w', 'keeps WINDOW entries in a ring of W slots instead of W + 1', {
    cause: 'in steps of one token, the new WINDOW token takes the slot i mod W before it attends, which is that of the key that it may still see',
    tensors: ['cache_out'],
    where: 'rows i that are a step of one token and WINDOW, where i - W is WINDOW too: key i - W is not seen; chunks of one token only; what lives is right',
    cases: 'caches with such rows, W > 0 and C = 1',
  }, {
    cache: {
      before: (entries, begin, next, head) => {
        const { window: W, chunk } = head.p;
        if (next - begin !== 1 || W === 0 || chunk > 1 || typeOf(head, begin) !== WINDOW) return entries;
        return entries.filter(({ j }) => !(typeOf(head, j) === WINDOW && j < begin && j % W === begin % W));
      },
    },
  }),
];
