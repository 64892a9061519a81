/**
 * Which answers are true of the seventh set's mutants. Their author knew no names and said what is true in words;
 * whoever brought the set in put down from those words, before any verdict was seen, which names and which places say
 * that. A name that says a part of the cause alone, or the cause with a wrong detail, is not among them.
 * @module
 */
import type { Answers } from './sixth-names.ts';

const LATER_TILES = String.raw`N > 16\b|rows from 16\b|keys before their tile of 16\b`;
const LATER_BATCHES = /B > 1|in batch 1\b|batches from 1\b|the last batch/;
const SEVERAL_KEYS = /rows with more than 1 visible key/;

/** By id. */
export const SEVENTH_ANSWERS: Readonly<Record<string, Answers>> = {
  'rows-in-pairs': {
    names: [['ends-by-tile', /up to .*tiles of 2\b/]],
    places: /odd (rows|queries)|(rows|queries) i % 2 = 1|rows that hide a|hidden before the end/,
  },
  'segments-of-head-0': {
    names: [['local-by-neighbour', /of KV head 0/]],
    places: /G > 1|of LOCAL tokens|KV heads from 1\b|all KV heads but the first|in KV head 1\b/,
  },
  'dv-store-wins': { names: ['group-last'], places: /H > G/ },
  'noise-of-batch-0': { names: [['input-misread', /noise.* of batch 0/]], places: LATER_BATCHES },
  'tf32-p-cut': { names: ['probabilities-tf32'] },
  'decode-exp2': { names: ['exp2-weights'], places: /in steps of one token/ },
  'one-key-lse-0': { names: [], places: /rows with (one|at most 1) visible key|in (row|query) 0\b/ },
  'last-row-repeats': {
    names: [['terms-weighed', /the last query\b.*more than once|the last query: times/]],
    places: /N % 16 != 0|never hidden/,
  },
  'k-scaled-bf16-backward': { names: ['k-scaled-bf16'] },
  'slots-h-b': { names: ['heads-permuted', ['rows-moved', /(head|batch) \d.* holds .*\d/]], places: /B > 1/ },
  'dq-tail-unwritten': { names: ['tail-unwritten'], places: /N % 16 != 0|the last tile of 16 (rows|queries)/ },
  'type-grad-mean': { names: ['chunk-mean', ['factor', /1 \/ C/]], places: /C > 1\b/ },
  'causal-half-tile': {
    names: [],
    places: new RegExp(String.raw`first half of each tile of 32\b|even tiles of 16\b|all (rows|queries) but the last of each tile of 16\b|rows below 1[56]\b`),
  },
  'open-is-minus-1': { names: [], places: /of LOCAL tokens(?! that a GLOBAL)|never hidden/ },
  'window-start-up': {
    names: ['tile-skipped', 'tile-by-first-key'], places: new RegExp(`${LATER_TILES}|of WINDOW tokens`),
  },
  'window-unsigned': { names: [], places: /rows up to W|of WINDOW tokens|an earlier WINDOW key/ },
  'mask-bit-31': {
    names: [['terms-weighed', /the last key of each tile of 32\b/], ['key-lost', /key 31\b/]],
    places: /from 31\b|N > 3[12]\b|the last (key|token) of each tile of 32\b|key 31\b|% 32 = 31/,
  },
  'global-ends-window': { names: [], places: /of WINDOW tokens/ },
  'types-int64-as-32': { names: [['types-moved', /64|half|\/ 2/]] },
  'scan-carries-over': {
    names: [['local-by-neighbour', /next|after/]], places: /of LOCAL tokens(?! that a GLOBAL)|never hidden|G > 1/,
  },
  'chunk-by-shift': {
    names: [['types-moved', /chunk.*(after|later)|(after|next|later).*chunk/]], places: /C is no power of two/,
  },
  'dk-q-hoisted': { names: [['input-misread', /\bq\b.*first query head of (the|each|a) group/]], places: /H > G/ },
  'dm-group-mean': { names: ['group-mean', ['factor', /1 \/ the query heads of a group/]], places: /H > G/ },
  'packed-gqa-ceil': {
    names: [],
    places: new RegExp(String.raw`H > G|all query heads but the first of each group|query head [1-9] of each group|last query head of each group`),
  },
  'alpha-from-tile': { names: [], places: new RegExp(LATER_TILES) },
  'lse-first-lane': { names: [], places: /odd key/ },
  'exp-clamp-8': { names: [['exp-approximate', /-8\b|clamp|\bcut\b/]], places: /below (the|their) (largest|maximum)/ },
  'z-stale': { names: ['row-factor'], places: new RegExp(LATER_TILES) },
  'cache-k-int8': { names: [['input-rounded', /\bk\b.*8 bits/]], places: SEVERAL_KEYS },
  'z-summed-f16': { names: ['row-factor'], places: SEVERAL_KEYS },
  'd-stored-bf16': { names: [['intermediate-rounded', /\bD to bfloat16/]] },
  'exp-in-half': { names: ['probabilities-f16', ['scores-f16', /maximum|- m\b/]], places: SEVERAL_KEYS },
  'dkv-no-diagonal': {
    names: [['terms-weighed', /(^|[:;,] ?)tiles of 16 on the diagonal: left out/], ['tile-skipped', /diagonal/]],
  },
  'backward-local-open': {
    names: ['local-never'], places: /of LOCAL tokens(?! that no)|rows that hide a (LOCAL )?key|hidden before the end/,
  },
  'dk-untransposed': { names: [['intermediate-misread', /transpos/]] },
  'chosen-type-only': { names: [], places: /of tokens that are not/ },
  'dw-from-token': {
    names: ['window-from-token'], places: /C > 1\b|W < N|further than W from the end|window ends before N/,
  },
  'dg-cost-own-rows': {
    names: [['terms-weighed', /negative term of dg.*chunk|chunk.*negative term of dg/]], places: /after LOCAL/,
  },
  'nu-whole-tile': {
    names: ['row-factor'], places: /the rule is bounded|all (rows|queries) but the last of each tile of 16\b/,
  },
  'swizzle-one-way': { names: [['input-misread', /\bv\b.*(swizzl|blocks of 4|XOR)/]], places: /d > [4-7]\b/ },
  'kv-stride-up': {
    names: [['input-misread', /\b(k|v|KV)\b.*(stride|\b16\b|padd)/]],
    places: /N % 16 != 0|KV heads from 1\b|all KV heads but the first|G > 1|B > 1/,
  },
  'dk-carried': {
    names: ['group-other', ['terms-weighed', /head before/]],
    places: /odd KV heads|in KV head 1\b|G > 1|B > 1|in batch 1\b|batches from 1\b/,
  },
  'packed-last-local': {
    names: [['types-moved', /packed/]],
    places: /B > 1|in batch 1\b|batches from 1\b|the last batch|tokens that are not GLOBAL/,
  },
  'last-page-skipped': {
    names: [['tile-skipped', /\blast\b|partial|page/], ['terms-weighed', /the last tile of 16 keys/]],
    places: /steps from 1\b|all steps but the first/,
  },
  'v-tokens-first': { names: [['input-misread', /\bv\b.*\[B,N,[GH],d\]/]], places: /G > 1/ },
  'closed-at-step-end': {
    names: [['local-other', /step/]], places: /in steps of several tokens|steps take in several tokens|of LOCAL tokens/,
  },
  'evict-every-4': {
    names: [],
    places: /steps but the last of each tile of 4\b|steps? .*% 4\b|tokens that are not GLOBAL|hidden before the end/,
  },
  'ring-of-w': { names: ['ring-short', 'slot-reused'], places: /in steps of one token|of WINDOW tokens/ },
};

/** By id, the true names that the diagnosis has learned since the first meeting, which the page of it leaves out. */
export const LATER_ANSWERS: Readonly<Partial<Record<string, Answers['names']>>> = {
  'lse-first-lane': [['lse-max-other', /even keys/]],
  'z-stale': [['normaliser-other', /without (the tile of 16 keys|tiles of 16) on the diagonal/]],
  'rows-in-pairs': [['pairs-seen', /^keys right after the end of their life/]],
  'dk-carried': [['rows-carried', /^what was written at the head before, of all sequences is added$/]],
  'dg-cost-own-rows': [['dg-charge-other', /rows of the chunk itself, too/]],
  'window-start-up': [['ends-by-tile', /^WINDOW (of whole tiles|with the tile of 16 on the diagonal)/]],
  'mask-bit-31': [['pairs-hidden', /^the last key of each tile of 32/]],
  'one-key-lse-0': [['lse-one-key', /^0/], ['zeros-in-part', /row 0|one visible key/]],
  'z-summed-f16': ['sum-f16'],
  'exp-in-half': [['exponent-rounded', /S - m and its exp to float16/]],
  'causal-half-tile': [
    ['terms-weighed', /later keys of the query's own tile of (16|32)\b/],
    ['pairs-seen', /^later keys of the first half of the tile of 32/],
  ],
  'chosen-type-only': [['zeros-in-part', /of tokens that are not/]],
  'evict-every-4': [['evicts-some', /^only steps r % 4 = 3 evict/]],
};

/** All answers that are true of a mutant. */
export function answersOf(id: string): Answers {
  const { names, places } = SEVENTH_ANSWERS[id];
  return { names: [...names, ...LATER_ANSWERS[id] ?? []], ...(places && { places }) };
}
