/**
 * Which names are true of the fifth set's mutants. Their author knew no names and gave causes in words; whoever brought
 * the set in put down, before any verdict was seen, which names say that.
 * @module
 */
import type { DiagnosisName } from '../../src/oracle/diagnose/diagnoses.ts';

/** Names that the diagnosis had not at the first meeting. */
export const LATER_NAMES: Readonly<Partial<Record<string, readonly DiagnosisName[]>>> = {
  'd-half': ['intermediate-misread'], 'd-of-head-0': ['intermediate-misread'], 'dk-from-stale-lse': ['intermediate-misread'],
  'z-brain': ['sum-bf16'], 'row-pairs-causal': ['pairs-seen'], 'head-stride-16': ['elements-moved'],
  'scan-no-carry': ['local-in-block'], 'split-mean': ['splits-merged'], 'lazy-rescale': ['splits-merged'],
  'tf32-ds': ['intermediate-rounded'], 'half-scores-backward': ['intermediate-rounded'], 'd-of-brain-out': ['intermediate-rounded'],
};

/** By id, the names that are true of a mutant. What is not here has no name. */
export const FIFTH_NAMES: Readonly<Partial<Record<string, readonly DiagnosisName[]>>> = {
  'window-clip-64': ['window-clipped', 'window-other'], 'window-byte': ['window-other'],
  'window-short-later-heads': ['window-short'], 'local-any-head': ['local-by-neighbour'],
  'local-head-before': ['local-by-neighbour'], 'scan-no-carry': ['local-never'], 'skip-by-first-key': ['tile-by-first-key'],
  'skip-by-last-row': ['tile-skipped'], 'row-pairs-causal': ['causal-late'], 'skips-first-of-tile': ['terms-weighed', 'key-lost'],
  'window-back-only': ['window-long'], 'kv-reversed': ['kv-reversed'], 'dv-sum-mod': ['group-modulo'],
  'group-pairs': ['terms-weighed'], 'out-groups-first': ['heads-permuted', 'rows-moved'],
  'types-last-head-of-group': ['group-last'], 'dk-unscaled-odd': ['terms-weighed', 'gradient-unscaled'],
  'scale-lost-last-of-group': ['scale-forgotten'], 'head-stride-16': ['rows-moved'], 'types-last-batch': ['types-moved'],
  'types-heads-first': ['types-moved'], 'batch-grid': ['zeros'], 'values-tokens-first': ['input-misread'],
  'dout-tokens-first': ['input-misread'], 'packed-start-early': ['input-misread'], 'pages-off-by-one': ['input-misread'],
  'k-rows-power-of-2': ['input-misread'], 'fragments': ['components-moved'], 'max-over-tile': ['max-causal'],
  'half-not-rescaled': ['online-output'], 'lazy-rescale': ['online-output', 'online-sum'], 'exp2-diagonal': ['exp2-weights'],
  'exp2-decode': ['exp2-weights'], 'lse-one-key': ['lse-base-2'], 'lse-base-2-backward': ['lse-base-2'],
  'split-overflow': ['max-missing', 'nan'], 'hidden-is-minus-100': ['finite-mask'], 'partial-tile-unmasked': ['tile-unmasked'],
  'diagonal-not-in-z': ['row-factor'], 'first-tile-lost': ['tile-skipped'], 'out-over-z-twice': ['row-factor'],
  'dq-scale-partial-tile': ['gradient-scale-twice', 'factor'], 'dk-times-log2e': ['factor'], 'dk-race': ['tile-skipped', 'terms-weighed'],
  'dq-atomics': ['tile-skipped', 'terms-weighed'], 'dv-whole-tiles': ['terms-weighed', 'tile-skipped'],
  'weights-unnormalised': ['weights-unnormalised'], 'dq-one-tile': ['tile-skipped', 'terms-weighed'], 'dk-unwritten': ['zeros'],
  'dm-clamped': ['dm-clamped'], 'dm-off-diagonal': ['terms-weighed'], 'dl-closing-chunk-start': ['local-chunk-first'],
  'dg-global-free': ['dg-no-negative'], 'dw-own-chunk': ['window-from-chunk-start'], 'tau-not-for-noise': ['noise-untempered'],
  'tf32-p': ['probabilities-tf32', 'probabilities-f16'], 'fp8-p': ['probabilities-e4m3'], 'fp8-p-full-tiles': ['probabilities-e5m2'],
  'lse-brain-backward': ['lse-bf16'], 'z-brain': ['accumulated-bf16'], 'dv-half-sum': ['accumulated-f16'],
  'q-scaled-half': ['q-scaled-f16'], 'int8-k': ['input-rounded'], 'p-by-chance': ['probabilities-bf16'],
  'v-int8-later-heads': ['input-rounded'], 'stale-v-tile': ['input-misread'], 'stale-k-first-tile': ['input-misread'],
  'dq-tail-uninitialised': ['other-tensor'], 'out-16-rows-of-64': ['rows-moved'], 'out-tile-race': ['terms-weighed'],
  'mask-transposed': ['mask-transposed'], 'third-wins-ties': ['ties-highest'], 'evicts-by-blocks': ['ends-by-tile'],
  'last-global-of-step': ['closed-by-last'], 'decode-forgets-own': ['diagonal-hidden'],
};
