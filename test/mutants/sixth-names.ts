/**
 * Which answers are true of the sixth set's mutants. Their author knew no names and said what is true in words; whoever
 * brought the set in put down from those words, before any verdict was seen, which names and which places say that.
 * @module
 */
import type { DiagnosisName } from '../../src/oracle/diagnose/diagnoses.ts';

/** A name that is true of a mutant, or one that is true with such a detail alone. */
export type TrueName = DiagnosisName | readonly [name: DiagnosisName, detail: RegExp];

/** What a right report on a mutant may say. */
export interface Answers {
  readonly names: readonly TrueName[];
  /** Places that are true, and say where to look. None if the mistake is everywhere in what it wrongs. */
  readonly places?: RegExp;
}

/** Words that claim no cause: a true place beside them counts, and they count for nothing themselves. */
export const NO_CLAIM: readonly string[] = ['unknown', 'nan', 'imprecise', 'keys-by-row', 'one-key'];

const LATER_TILES = String.raw`N > 16\b|rows from 16\b|keys before their tile of 16\b`;
const BATCHES = /B > 1|in batch 1\b|batches from 1\b|the last batch/;

/** By id. */
export const SIXTH_ANSWERS: Readonly<Record<string, Answers>> = {
  'window-short-last-of-group': { names: ['window-short'], places: /H > G|the last query head of each group|of WINDOW tokens/ },
  'local-any-head': { names: ['local-by-neighbour'], places: /G > 1|of LOCAL tokens/ },
  'dk-groups-overlap': {
    names: [['terms-weighed', /query head/]], places: /G > 1|KV heads from 1\b|all KV heads but the first|in KV head 1\b/,
  },
  'backward-batch-0': { names: ['types-of-first-batch', 'types-moved'], places: BATCHES },
  'tf32-dk': { names: [['intermediate-rounded', /dS/]] },
  'rescale-exp2': { names: ['exp2-rescaling'], places: new RegExp(LATER_TILES) },
  'lse-of-one-key': { names: ['scale-forgotten', 'scale-off'], places: /rows with (one|at most 1) visible key/ },
  'partial-tile-lives': { names: ['tile-unmasked'], places: /N % 16 != 0|the last tile of 16 (keys|tokens)/ },
  'q-scaled-f16': { names: ['q-scaled-f16'] },
  'out-heads-r-g': { names: ['heads-permuted', ['rows-moved', /head/]], places: /G > 1 and H > G/ },
  'dk-not-copied': { names: ['zeros'], places: /H > G/ },
  'dq-log2e': { names: [['factor', /log2\(e\)|1\.44/]] },
  'sink-skipped': {
    names: [['key-lost', /key 0\b/], ['terms-weighed', /(key|token) 0\b/]],
    places: new RegExp(`${LATER_TILES}|in (key|token) 0\\b`),
  },
  'last-exclusive': {
    names: ['offset'], places: /keys that are hidden before the end|tokens that are not GLOBAL|W < N/,
  },
  'mask-by-row-tile': {
    names: ['ends-by-tile'],
    places: /(but the first of each|not in the first row of a) tile of 8\b|hidden before the end|that hide a key/,
  },
  'tile-skipped-by-first': { names: ['tile-by-first-key', 'tile-skipped'], places: new RegExp(LATER_TILES) },
  'age-in-a-byte': { names: [], places: /N > 256|rows from 256\b|N > W > 256|of WINDOW tokens/ },
  'packed-types-sign': {
    names: ['window-forever'],
    places: /of WINDOW tokens| % 16 = 15|in the last (key|chunk|token) of (each|a) tile of 16\b/,
  },
  'scan-of-32': { names: ['local-never'], places: /of LOCAL tokens|N > 32\b/ },
  'neighbour-not-closed': { names: [], places: /of LOCAL tokens/ },
  'noise-transposed': { names: [['input-misread', /noise/]] },
  'kv-stride-1': { names: ['batch-mixed', ['input-misread', /\bk\b|\bv\b|KV/]], places: BATCHES },
  'types-of-h-mod-g': {
    names: ['types-moved'], places: /query heads whose KV head is not h mod G|G > 1 and H > G/,
  },
  'd-of-first-head': {
    names: [['intermediate-misread', /\bD\b/]], places: /H > G|all query heads but the first of each group/,
  },
  'half-rescaled': { names: ['online-output'], places: new RegExp(`${LATER_TILES}|second half of the components`) },
  'splits-without-maxima': {
    names: ['online-output', 'online-sum'], places: /N > 32\b|rows from 32\b|keys before their tile of 32\b/,
  },
  'maximum-from-0': { names: ['max-missing'], places: /rows whose visible scores are all negative/ },
  'z-before-mask': {
    names: ['row-factor', ['normalised-by-all', /tile/]], places: /rows that hide a|keys that are hidden before the end/,
  },
  'lse-in-half': { names: ['lse-f16', 'stored-f16'] },
  'out-spilled-bf16': { names: ['accumulated-bf16'] },
  'exp-parabola': { names: [], places: /rows with more than 1 visible key/ },
  'p-in-int8': { names: ['probabilities-bits', 'weights-dropped'] },
  'd-of-32-channels': { names: [['intermediate-misread', /\bD\b/]], places: /d > 32\b/ },
  'dq-last-tile-wins': { names: ['tile-skipped', 'terms-weighed'], places: new RegExp(LATER_TILES) },
  'dv-unnormalised': { names: ['weights-unnormalised'] },
  'dw-whole-tiles': {
    names: [['terms-weighed', /tile of 8\b/]], places: /W < N|keys further than W from the end|tile of 8\b/,
  },
  'dg-closes-closed': { names: ['dg-all-local'] },
  'hidden-without-d': { names: [['dm-without-d', /hidden/]], places: /rows that hide a key|keys that are hidden before the end/ },
  'hard-mean': { names: ['probabilities-hard'] },
  'v-tile-stale': { names: [['input-misread', /\bv\b/]], places: /N > 16\b|rows from 16\b/ },
  'vector-tail-twice': { names: [['terms-weighed', /component/]], places: /d % 4 != 0/ },
  'last-key-repeats': {
    names: ['tile-unmasked', ['terms-weighed', /last (key|token)/]], places: /N % 16 != 0|in the last (row|query)\b/,
  },
  'packed-one-before': { names: [], places: BATCHES },
  'dout-tokens-first': { names: [['input-misread', /dout/]] },
  'page-slot-of-8': {
    names: [['input-misread', /\bk\b|\bv\b/]], places: /N > 8\b|rows from 8\b|second half of each tile of 16 keys/,
  },
  'close-earlier-steps': {
    names: ['closes-cached'], places: /of LOCAL tokens|steps take in several tokens|in steps of several tokens/,
  },
  'newest-lost': { names: [] },
  'decode-sees-past': { names: ['diagonal-hidden'], places: /in steps of one token/ },
};

/** Names that the diagnosis had not at the first meeting. */
export const LATER_ANSWERS: Readonly<Partial<Record<string, readonly TrueName[]>>> = {
  'lse-of-one-key': [['lse-one-key', /^the score before the scale$/]],
  'dk-groups-overlap': ['group-other'], 'scan-of-32': ['local-in-block'], 'kv-stride-1': ['kv-other'],
  'neighbour-not-closed': [['local-other', /right behind it/]], 'splits-without-maxima': ['splits-merged'],
  'age-in-a-byte': ['integer-wraps'], 'exp-parabola': ['exp-approximate'], 'packed-one-before': ['key-foreign'],
  'dw-whole-tiles': ['ends-by-tile'], 'newest-lost': ['entries-lost'],
};

/** All answers that are true of a mutant. */
export function answersOf(id: string): Answers {
  const { names, places } = SIXTH_ANSWERS[id];
  return { names: [...names, ...LATER_ANSWERS[id] ?? []], ...(places && { places }) };
}
