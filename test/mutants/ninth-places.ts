/**
 * Which places are true of the ninth set's mutants, by the rule of ninth-names.ts and at the same time. A mutant that
 * is wrong everywhere in its outputs has none.
 * @module
 */
import { any, HIDING, hiding, later, LATER_BATCHES, LATER_HEADS, QUERY_HEADS_OF_THEM } from './place-words.ts';

/** Query heads after the first. */
const LATER_QUERY_HEADS =
  String.raw`H > 1\b|query heads from 1\b|in query head [1-9]\b|all query heads but the first\b`;
const BUT_FIRST_OF_16 = String.raw`rows but the first of each tile of 16\b`;
const SEVERAL_KEYS = /rows with more than 1 visible key/;

/** By id. */
export const NINTH_PLACES: Readonly<Partial<Record<string, RegExp>>> = {
  'p-bf16-before-z': SEVERAL_KEYS,
  // rows from 16 + W; GLOBAL and LOCAL keys; earlier rows and WINDOW keys are right
  'start-by-window': any(
    later(16), later(32), 'rows beyond W', 'W < N', 'of (GLOBAL|LOCAL) tokens', 'tokens that are not WINDOW',
  ),
  'window-from-chunk-start': /C > 1\b|of WINDOW tokens|see an earlier WINDOW key/,
  // rows that are the last to see a WINDOW key
  'window-strict-dq': /rows that are the last to see a|of WINDOW tokens|see an earlier WINDOW key|W < N/,
  'local-next-segment': any(hiding('LOCAL')),
  'local-by-any-other': /of LOCAL tokens|see an earlier LOCAL key/,
  'local-to-end-of-tile': any(hiding('LOCAL'), BUT_FIRST_OF_16),
  'dkv-group-loop-short': /H > G/,
  'lse-by-kv-head': /H > G/,
  // query heads with h % R > 0
  'lse-of-first-head-backward': any(
    'H > G', 'all query heads but the first', 'last query head of each group', 'query head [1-9] of each group',
    'in odd query heads', String.raw`in query head [1-9]\b`, String.raw`query heads from 1\b`,
  ),
  'v-of-batch-0': LATER_BATCHES,
  'dout-of-head-0': any(LATER_QUERY_HEADS),
  'scores-of-head-0': any(LATER_HEADS, QUERY_HEADS_OF_THEM),
  'lse-log2-of-z': SEVERAL_KEYS,
  // rows from 32 that see keys of two or more splits of 32
  'lse-largest-of-splits': any(later(32)),
  'dkv-diagonal-twice': /tiles? of 32 on the diagonal/,
  // rows of odd tiles of 16, and the keys of the tile before
  'unrolled-leftover': any(
    later(16), 'odd tiles of 16 (rows|queries)', 'second half of each tile of 32 (rows|queries)',
    'the tile of 16 keys before their own', 'even tiles of 16 keys', 'first half of each tile of 32 keys',
  ),
  'shifted-last-rows-twice': /N % 16 != 0|N > 16\b/,
  // rows from 16, before the last of their tile; keys of tiles without GLOBAL
  'tile-skipped-by-last-row': any(
    later(16), String.raw`rows but the last of each tile of 16\b`, 'hidden before the end',
    'tokens that are not GLOBAL',
  ),
  'dkv-tokens-first': /G > 1|(keys|rows|tokens) but the first and (the )?last/,
  'dv-channels-deinterleaved': /d is even|d % 2 = 0|components (from 1\b|but the first)/,
  // all heads but the first of batch 0
  'lse-padded-rows': any('N % 16 != 0', LATER_QUERY_HEADS),
  'dq-grid-without-batch': LATER_BATCHES,
  // chunks from 16 floor(Nc / 16)
  'type-grads-tail': any(
    'Nc? % 16 != 0', 'last tile of 16 ', 'last, partial tile',
    String.raw`(keys|tokens|chunks) from (16|32|48|64|80|96|112|128|256|288)\b`,
  ),
  'dkv-own-pair-lost': /the pairs? on the diagonal/,
  // row N - 1, which does not see itself
  'last-key-unread': /in the last (row|query|key|token)\b|in (row|key) [1-9]\d*\b|query (\d+) does not see key \3:/,
  'dkv-of-sink-lost': /in (key|token) 0\b|in the first (key|token)\b|the sink/,
  'whole-tile-by-first-row': any(
    later(16), HIDING, BUT_FIRST_OF_16, String.raw`keys that the first row of a tile of 16\b`,
  ),
  'causal-by-row-pair': /even (rows|queries)|(rows|queries) i % 2 = 0/,
  'lifetimes-by-chunk': any(String.raw`C > 1\b`, hiding('WINDOW')),
  'dg-free-for-global': /of GLOBAL tokens/,
  // chunks from the last GLOBAL on, the last one always
  'dl-0-if-open': /that no GLOBAL|after the last GLOBAL|in the last (key|token|chunk)\b/,
  // rows after the first step; in steps of one token they see key 0 alone
  'causal-from-step': /steps from [1-9]|all steps but the first|in steps of one token|(later|after the first) steps?/,
  'window-fifo-by-count': any(hiding('WINDOW'), 'W < N'),
  // rows after an eviction
  'compaction-keeps-values': /steps? (that|which|where|in which)[^;]*evict|after an? evict|rows that hide a/,
};
