/**
 * The mistakes that the oracle recognises, by the names that its reports and the mutation suite share.
 * @module
 */
import type { Diagnosis } from '../types.ts';

const TYPES = {
  'probabilities-tie': 'types by float32 probabilities, which tie where scores do not',
  'ties-highest': 'ties go to the highest index',
  'noise-sign': 'noise subtracted',
  'noise-ignored': 'noise left out',
  'noise-untempered': 'noise added after dividing by tau',
  'forced-ignored': 'forced types are not forced',
  'argmin': 'the lowest score wins',
  'types-local-window': 'LOCAL and WINDOW swapped',
  'types-reversed': 'types numbered backwards, as if 0 were WINDOW',
  'scores-transposed': 'scores read as [type][token]',
} as const;

const MASK = {
  'window-long': 'a window of one token too many',
  'window-short': 'a window of one token too few',
  'window-clipped': 'the window cut to the size of a tile',
  'window-from-token': 'the window counted from the token, not from its chunk\'s end',
  'window-from-chunk-start': 'the window counted from its chunk\'s first token',
  'window-in-chunks': 'the window counted in chunks, not in tokens',
  'window-forever': 'WINDOW tokens never hidden',
  'local-late': 'LOCAL closed one token late',
  'local-early': 'LOCAL closed one token early',
  'local-never': 'LOCAL never closed',
  'local-by-itself': 'LOCAL closed by itself',
  'local-by-local': 'LOCAL closed by the next LOCAL',
  'local-by-any': 'LOCAL closed by the next token of another type',
  'local-chunk-first': 'LOCAL closed at the first token of the closing chunk, not its last',
  'local-by-last-global': 'LOCAL closed by the last GLOBAL, not the first after it',
  'local-by-neighbour': 'LOCAL closed by the GLOBAL tokens of a neighbouring KV head',
  'global-chunk-edge': 'GLOBAL hidden after the edge of its chunk or tile',
  'global-by-global': 'GLOBAL closed by the next GLOBAL',
  'sink-forgotten': 'the first token, the sink, treated as WINDOW',
  'unfinished-chunk': 'an unfinished last chunk keeps its type, instead of counting as GLOBAL',
  'types-of-first-head': 'every KV head masked by the types of KV head 0',
  'types-of-first-batch': 'every sequence masked by the types of batch 0',
  'last-excluded': 'the query at last(j) no longer sees j: < instead of <=',
  'causal-missing': 'no causal mask',
  'causal-late': 'the causal mask one key late: i sees i + 1',
  'diagonal-hidden': 'a query does not see its own key',
  'mask-ignored': 'causal attention without the mask of the types',
  'mask-transposed': 'the mask transposed',
  'tile-skipped': 'a tile of keys skipped',
  'tile-by-first-key': 'a tile of keys skipped because its first key is hidden',
  'tile-whole': 'a tile of keys seen whole because one of them is visible',
  'tile-unmasked': 'a last, partial tile without its mask',
  'key-lost': 'one key that no later query reads',
  'query-lost': 'the last query left out of the sums over queries',
  'keys-by-row': 'one key too many or too few in each failing row: no rule that the oracle knows',
  'one-key': 'this pair alone: no rule that the oracle knows',
} as const;

const ARITHMETIC = {
  'gqa-modulo': 'query head h reads KV head h mod G, not floor(h G / H)',
  'kv-reversed': 'KV heads in reverse order',
  'kv-first': 'every query head reads KV head 0',
  'batch-mixed': 'keys and values of another sequence of the batch',
  'heads-permuted': 'heads written in another order',
  'scale-forgotten': 'scale forgotten',
  'scale-twice': 'scale applied twice',
  'scale-inverted': 'divided by the scale',
  'scale-own': '1 / sqrt(d) instead of the scale that is given',
  'online-output': 'online softmax: the accumulator is not rescaled when the maximum grows',
  'online-sum': 'online softmax: the sum is not rescaled when the maximum grows',
  'online-stale': 'online softmax: a tile weighed by the maximum before it',
  'exp2-rescaling': 'online softmax: earlier tiles rescaled by 2^x, without log2(e)',
  'exp2-weights': '2^x in the place of e^x: exp2 without log2(e)',
  'max-missing': 'exp without subtracting the maximum',
  'max-causal': 'the maximum taken over hidden keys too, so that visible ones underflow',
  'finite-mask': 'hidden keys at -1e4 instead of -infinity',
  'mask-times-logits': 'logits multiplied by the mask: hidden keys count as logits of 0',
  'normalised-by-all': 'normalised by all causal keys, hidden ones too',
  'not-normalised': 'not divided by the sum',
  'values-from-keys': 'keys in the place of values',
  'dim-tail': 'products leave out the numbers after the last whole vector of d',
  'dim-padding': 'products read beyond d, into the next row',
  'layout-heads': 'written as [B,N,H,d]: tokens and heads swapped',
  'layout-dims': 'written as [B,H,d,N]: tokens and d swapped',
  'tail-unwritten': 'rows of the last, partial tile never written',
  'zeros': 'never written: all zeros',
  'lse-no-log': 'lse without the log',
  'lse-base-2': 'lse in base 2',
  'lse-no-max': 'lse without the maximum',
  'lse-max-only': 'lse without the log of the sum',
  'lse-last-tile': 'lse without the tile of keys on the diagonal',
  'group-first': 'only the first query head of each group is summed',
  'group-last': 'only the last query head of each group is summed',
  'group-mean': 'the mean over the group of query heads, not the sum',
  'group-modulo': 'the query heads h mod G summed, not those of the group',
  'gradient-unscaled': 'the gradient misses the scale',
  'gradient-scale-twice': 'the gradient has the scale twice',
  'd-missing': 'dS without subtracting D',
  'd-unnormalised': 'D from the output before it is divided by Z',
  'd-from-value': 'D = do . v_i instead of do . o_i',
  'ds-without-a': 'dS without its factor A',
  'weights-unnormalised': 'gradients by E instead of A = E / Z',
  'backward-unmasked': 'a backward without the mask of the types',
  'dm-visible': 'dM over the visible pairs alone',
  'rule-bounded': 'dM by the rule `bounded` where `exact` is asked for',
  'rule-exact': 'dM by the rule `exact` where `bounded` is asked for',
  'dm-without-d': 'dM without subtracting D',
  'dm-scaled': 'dM multiplied by the scale',
  'dm-clamped': 'the weights of dM cut to 1',
  'dw-long': 'dw sums one query too many',
  'dw-short': 'dw sums one query too few',
  'dw-unclamped': 'dw sums past N, into the rows of the next head',
  'dw-partial-dropped': 'dw leaves out windows that reach past N',
  'dl-to-end': 'dl sums to N - 1 instead of e(j)',
  'dl-short': 'dl stops at e(j) - 1',
  'dl-diagonal-block': 'dl leaves out the rows of the block on the diagonal',
  'dg-no-negative': 'dg without its negative term',
  'dg-rows-dropped': 'dg drops the rows i <= e(j)',
  'dg-nearest': 'dg subtracts the nearest LOCAL alone',
  'dg-to-end': 'dg\'s negative term sums to N - 1 instead of e(j)',
  'dg-all-local': 'dg subtracts LOCAL tokens that an earlier GLOBAL closed',
  'dg-sign': 'dg adds its negative term',
  'tau-missing': 'dscores not divided by tau',
  'tau-squared': 'dscores divided by tau twice',
  'softmax-mean': 'dscores without the mean: y dt / tau',
  'probabilities-without-noise': 'dscores by the softmax of scores without noise',
  'probabilities-hard': 'dscores by the one-hot types in the place of y',
  'forced-gradient': 'dscores not zero where types are forced',
  'price-missing': 'the price forgotten',
  'price-sign': 'the price subtracted',
  'price-chosen': 'the price for the chosen type alone',
  'triple-swapped': 'dl and dw swapped',
  'chunk-mean': 'the mean over the tokens of a chunk, not the sum',
  'sign': 'the sign is wrong',
  'factor': 'every value is off by one factor',
} as const;

const ROUNDING = {
  'accumulated-f16': 'products accumulated in float16 (11 bits)',
  'accumulated-bf16': 'products accumulated in bfloat16 (8 bits)',
  'probabilities-f16': 'P rounded to float16 (11 bits)',
  'probabilities-bf16': 'P rounded to bfloat16 (8 bits)',
  'probabilities-tf32': 'P rounded to TF32 (11 bits)',
  'probabilities-e4m3': 'P rounded to fp8 e4m3 (4 bits)',
  'probabilities-e5m2': 'P rounded to fp8 e5m2 (3 bits)',
  'scores-f16': 'S rounded to float16 or TF32 (11 bits)',
  'scores-bf16': 'S rounded to bfloat16 (8 bits)',
  'k-scaled-f16': 'k scaled, then rounded to float16, before the product',
  'k-scaled-bf16': 'k scaled, then rounded to bfloat16, before the product',
  'q-scaled-f16': 'q scaled, then rounded to float16, before the product',
  'q-scaled-bf16': 'q scaled, then rounded to bfloat16, before the product',
  'scale-f16': 'the scale held in float16',
  'scale-bf16': 'the scale held in bfloat16',
  'lse-f16': 'the backward from lse rounded to float16',
  'lse-bf16': 'the backward from lse rounded to bfloat16',
  'stored-f16': 'results rounded to float16 (11 bits)',
  'stored-bf16': 'results rounded to bfloat16 (8 bits)',
  'stored-e4m3': 'results rounded to fp8 e4m3 (4 bits)',
  'stored-e5m2': 'results rounded to fp8 e5m2 (3 bits)',
} as const;

const NAN = {
  'nan-leak': 'hidden keys multiplied by 0 instead of left out',
  'empty-tile': 'a tile without visible keys: -infinity minus -infinity',
  'nan': 'no numbers: nothing that the oracle knows',
} as const;

const CACHE = {
  'evicted-early': 'evicted one token early',
  'evicted-late': 'evicted one token late',
  'evicted-before-attending': 'evicted before the step\'s queries attend',
  'local-gone-at-closing': 'LOCAL dropped at its closing query, before it attends',
  'never-evicted': 'nothing is ever evicted',
  'renumbered': 'survivors renumbered',
  'slot-reused': 'slots of entries that die in this step reused before it attends',
  'ring-short': 'a ring of W slots: the query at j + W needs W + 1',
  'ring-overwritten': 'a ring of W + 1 slots for a step of several tokens: entries overwritten before it attends',
  'closes-newest': 'a GLOBAL closes the newest LOCAL alone',
  'closes-cached': 'a GLOBAL closes no LOCAL of its own step',
  'closed-by-last': 'of several GLOBALs in a step the last one closes',
  'closes-again': 'a GLOBAL closes LOCAL tokens that are closed already',
  'steps-unmasked': 'queries of a step see all that is held, even after its last()',
  'bytes-context': 'memory grows with the context: what is evicted is not freed',
  'bytes-longest': 'every head is as large as the longest',
  'bytes-half': 'bytes of keys without values',
} as const;

const UNUSABLE = {
  'missing': 'an output that is not there',
  'wrong-shape': 'a tensor of another shape',
  'wrong-dtype': 'a tensor of another kind of number',
} as const;

const BY_CAUSE = {
  types: TYPES, mask: MASK, arithmetic: ARITHMETIC, rounding: ROUNDING, nan: NAN, cache: CACHE, unusable: UNUSABLE,
} as const;

/** A key of DIAGNOSES. */
export type DiagnosisName =
  | keyof typeof TYPES | keyof typeof MASK | keyof typeof ARITHMETIC | keyof typeof ROUNDING | keyof typeof NAN
  | keyof typeof CACHE | keyof typeof UNUSABLE | 'unknown';

/** What each name means, worded to follow "Looks like: ". */
export const DIAGNOSES: Readonly<Record<DiagnosisName, string>> = {
  ...TYPES, ...MASK, ...ARITHMETIC, ...ROUNDING, ...NAN, ...CACHE, ...UNUSABLE,
  unknown: 'nothing that the oracle knows',
};

/** The kind of mistake that a name stands for. */
export function causeOf(name: DiagnosisName): Diagnosis['cause'] {
  const causes = Object.keys(BY_CAUSE) as (keyof typeof BY_CAUSE)[];
  return causes.find((cause) => Object.hasOwn(BY_CAUSE[cause], name)) ?? 'arithmetic';
}
