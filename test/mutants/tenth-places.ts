/**
 * Which places are true of the tenth set's mutants, by the rule of tenth-names.ts and at the same time. A mutant that
 * is wrong everywhere in its outputs has none.
 * @module
 */
import { any, HIDING, hiding, later, LATER_BATCHES, LATER_HEADS, QUERY_HEADS_OF_THEM } from './place-words.ts';

/** Query heads with h % R > 0. */
const BUT_FIRST_OF_GROUP = any(
  'H > G', 'all query heads but the first', 'last query head of each group', 'query head [1-9] of each group',
  'in odd query heads', String.raw`in query head [1-9]\b`, String.raw`query heads from 1\b`,
);
const SEVERAL_KEYS = 'rows with more than 1 visible key';
/** The words of a place in the odd tiles of 16 rows or keys, or in the even ones. */
const odd16 = (one: string): string => `odd tiles of 16 ${one}|second half of each tile of 32 ${one}`;
const even16 = (one: string): string => `even tiles of 16 ${one}|first half of each tile of 32 ${one}`;

/** By id. */
export const TENTH_PLACES: Readonly<Partial<Record<string, RegExp>>> = {
  // rows that are the last to see a WINDOW key
  'window-strict-forward': any(
    'rows that are the last to see a', 'of WINDOW tokens', 'see an earlier WINDOW key', 'W < N', 'rows beyond W',
  ),
  'window-halved': /of WINDOW tokens|see an earlier WINDOW key|W is not 0|W > 0/,
  // LOCAL keys in rows more than W after the end of their chunk
  'window-bounds-local': /of LOCAL tokens|see an earlier LOCAL key|rows beyond W|W < N/,
  // LOCAL tokens with a GLOBAL behind them in their block of 16 chunks
  'local-scan-exclusive': any(hiding('LOCAL'), '(keys|chunks|tokens) but the last of each tile of 16'),
  // closed LOCAL tokens, in the W rows after the closing one
  'local-plus-window': any(hiding('LOCAL'), 'W is not 0', 'W > 0'),
  // closed LOCAL keys, and row last(j)
  'local-strict-dkv': any(
    'of LOCAL tokens(?! that no)', 'rows that close LOCAL', 'rows that are the last to see a', 'hidden before the end',
  ),
  'q-of-first-head-forward': BUT_FIRST_OF_GROUP,
  'dq-carried-in-group': BUT_FIRST_OF_GROUP,
  'dm-rows-last-head': /H > G/,
  'dkv-to-head-mod': /G > 1|H > G/,
  'dk-q-of-batch-0': LATER_BATCHES,
  'lse-of-batch-0-backward': LATER_BATCHES,
  'cache-v-of-head-0': any(LATER_HEADS, QUERY_HEADS_OF_THEM),
  'cache-log2e-exp': any(SEVERAL_KEYS),
  // rows whose largest score is in an earlier tile of 16
  'lse-tile-maximum': any(later(16), String.raw`largest (visible )?score is in an earlier tile`),
  'lse-minus-log': any(SEVERAL_KEYS),
  // rows whose maximum is more than 88 below that of their tile of 16 rows
  'max-of-row-tile': /below (that|the maximum|the largest) of (its|the|their) tile of 16|scores that differ by/,
  'dq-first-tile-twice': any(later(16), 'the first tile of 16 keys'),
  // rows from 32 in even tiles of 16
  'key-tiles-rounded-down': any(later(32), even16('(rows|queries)')),
  // keys in odd tiles of 16, and rows of the same tile
  'dkv-start-rounded-up': any(
    String.raw`N > 16\b`, odd16('(keys|tokens|rows|queries)'), String.raw`keys (from 16\b|16 to \d+)`,
    'tiles? of 16 on the diagonal',
  ),
  // rows from 32 that see keys j > 0 with j % 32 = 0
  'split-edges-twice': any(
    later(32), String.raw`first key of (a|each) tile of 32\b`, String.raw`keys j % 32 = 0`, String.raw`\bkey 32\b`,
  ),
  // all query heads but the first and the last
  'dq-heads-by-place': any(
    'G > 1', 'H > G', 'query heads but the first and (the )?last', String.raw`query heads from 1\b`,
    '(in )?all query heads but the (first|last)(?! of each)', 'in query heads? [1-9]',
  ),
  // forced chunks after the first: the last one
  'dscores-forced-stale': /forced|of GLOBAL tokens|in the last (key|token|chunk)\b|of the last chunk/,
  'dm-rows-carried': /rows but the first of each tile of 16\b|rows i % 16 (>|!=) 0/,
  // rows that are not the last of their step
  'prefill-last-row-only': any(
    'several tokens', 'more than one token', 'not the last of (its|their|a) step',
    'but the last (row|query|token)? ?of (its|the|their|each) step',
    '(rows|queries) but the last(?! of each (tile|chunk))',
  ),
  // rows that see keys with j % 32 >= 16
  'z-half-of-lanes': any(
    later(16), 'an odd tile of 16 keys', 'the second half of a tile of 32 keys', odd16('keys'),
  ),
  'dm-own-pair-lost': /the pairs? on the diagonal/,
  // keys that row N - 1 sees
  'dkv-last-row-lost': /the last (row|query)\b(?! of)|never hidden/,
  // rows that see key 0
  'dq-key-0-lost': /\b(key|token) 0\b|the first (key|token)\b(?! of)|the sink/,
  // odd keys that end elsewhere than the key before them
  'lifetimes-by-key-pair': any('odd (keys|tokens)', 'keys j % 2 = 1', 'rows that hide a key'),
  'dkv-mask-untransposed': /tiles? of 16 on the diagonal|tiles? (of 16 )?that (is|are) not all seen/,
  // LOCAL and WINDOW keys in rows of later tiles of 32
  'lifetimes-on-diagonal-only': any(later(32), HIDING),
  // chunks with WINDOW chunks since the last GLOBAL before them
  'dg-charges-all': /after (a chunk that is |a )?WINDOW|WINDOW (chunks?|tokens?|keys?) since/,
  // rows that have hidden keys before them
  'dm-rows-visible': /rows that hide a/,
  'price-after-softmax': /there is a price|(chunks|tokens) that are not forced/,
  // chunks whose next GLOBAL comes within their window
  'dw-ends-at-global': any(
    'W is not 0', 'W > 0', 'tokens that a GLOBAL follows', 'before a chunk that is GLOBAL',
    'window ends at the next GLOBAL or later',
  ),
  // LOCAL entries that a step of several tokens closes, and rows of the step after its first
  'closed-at-step-begin': any(
    'several tokens', 'more than one token', 'of LOCAL tokens(?! that no)', 'see an earlier LOCAL key',
    '(but|not) the first (row|query|token)? ?of (its|the|their|each) step',
  ),
  // entries that end while an older one lives
  'evicts-from-front-only': /hidden before the end|tokens that are not GLOBAL|(after|behind) a GLOBAL|an older/,
  // rows that are a step of their own and see other keys
  'decode-own-key-twice': any(
    'steps of one token', 'step of (its|their) own', 'steps from [1-9]', 'all steps but the first',
    'later steps than the first', SEVERAL_KEYS,
  ),
};
