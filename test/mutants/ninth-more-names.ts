/**
 * Which names are true of the ninth set's mutants of the kinds 8 to 15, by the rule of ninth-names.ts and at the same
 * time.
 * @module
 */
import type { EighthAnswers } from './eighth-names.ts';

export type Named = Omit<EighthAnswers, 'places'>;

const twice = (words: string): RegExp => new RegExp(String.raw`${words}.*(times 2\b|more than once|twice)`);
/** The last rows of tiles of 16, from 15. */
const TILE_ENDS = Array.from({ length: 20 }, (_, n) => 16 * n + 15).join('|');
/** Not a whole tile of that size. */
const NOT_WHOLE = String.raw`(?!, tile \d+ of (16|32|64|128))`;

/** By id. */
export const NINTH_MORE_NAMES: Readonly<Record<string, Named>> = {
  // 8. tiles of keys and rows
  // pairs in a tile of 32 on the diagonal count twice in dk and dv
  'dkv-diagonal-twice': {
    names: [
      ['terms-weighed', twice(String.raw`(tiles? of 32 on the diagonal|own tile(,? in tiles)? of 32)\b`)],
    ],
  },
  // rows of odd tiles of 16 do not see the tile of 16 keys before their own
  'unrolled-leftover': {
    names: [
      ['pairs-hidden', /tiles? of 16 before the one on the diagonal.*odd tiles of 16/],
      ['pairs-hidden', /first half of .*tile of 32.*second half/],
      ['tile-skipped', /before the (one on the )?diagonal.*odd tiles of 16/],
      ['terms-weighed', /before the one on the diagonal.*odd tiles of 16.*left out/],
    ],
    parts: [
      ['pairs-hidden', /^tiles of 16 before the one on the diagonal( but the query's own)?(, for queries from 16)?$/],
      ['tile-skipped', /^$|^the one before the diagonal(, of 16)?$/],
      ['terms-weighed', /^(tiles of 16 before the one on the diagonal|keys one tile back, in tiles of 16): left out$/],
    ],
  },
  // rows N - 16 to 16 floor(N / 16) - 1 count twice in dk and dv
  'shifted-last-rows-twice': {
    names: [
      ['terms-weighed', twice('(overlap|share|shifted|N - 16)')],
      ['terms-weighed', twice(String.raw`(queries|rows) (i % \d+ = )?\d+ to (${TILE_ENDS})\b${NOT_WHOLE}`)],
    ],
    parts: [['terms-weighed', twice('(last but one|tile before the last)')]],
  },
  // a tile of 16 keys is skipped if all of it ends before the last row of a tile of 16 rows
  'tile-skipped-by-last-row': {
    names: [['tile-skipped', /^$|^of 16( keys)?, where the last (row )?of (the )?(tile of )?16 rows/]],
  },
  // 9. places in storage
  // dk and dv as [B,N,G,d]
  'dkv-tokens-first': {
    names: [
      'layout-heads', ['rows-moved', /^$|head \d+ (key|row) \d+ holds .*head \d+ (key|row) \d+/],
      ['elements-moved', /^$|^\[B,N,[GH](,d)?\]|no formula/],
    ],
  },
  // channels of dv: the even ones, then the odd ones
  'dv-channels-deinterleaved': {
    names: [
      ['components-moved', /^$|component 1 holds 2\b|even (channels|components|ones)/],
      ['elements-moved', /^$|no formula|even (and odd )?(channels|components)/],
    ],
  },
  // lse with heads a whole number of tiles of 16 rows apart
  'lse-padded-rows': {
    names: [
      ['elements-moved', /^$|tiles of 16 rows apart|no formula/],
      ['rows-moved', /^$|row n holds row n - \d+|head \d+ row \d+ holds head \d+ row \d+/],
    ],
  },
  // 10. unwritten and stale
  // dq of batches from 1 is never written
  'dq-grid-without-batch': { names: ['zeros', ['zeros-in-part', /^$|batch/]] },
  // scale q is left in the buffer, and dq is added to it
  'dq-on-scaled-q': {
    names: [['other-tensor', /\bq\b.*(added|plus)|added.*\bq\b/]], parts: [['other-tensor', /holds q\b/]],
  },
  // dw, dl and dg of a last, partial tile of 16 chunks are never written
  'type-grads-tail': {
    names: ['tail-unwritten', 'zeros', ['zeros-in-part', /^(?!.*(LOCAL|WINDOW|GLOBAL|head|batch|hide|see))/]],
  },
  // 11. factors, the normaliser and D
  // dS = A (dP - scale D), for dq and dk
  'd-scaled': {
    names: [
      ['terms-weighed', /^(?!.*dP).*\bD (multiplied by|times) the scale\b/],
      ['terms-weighed', /^(?!.*dP)(D, subtracted [\d.]+ times|in dS, D times [\d.]+)$/],
      ['intermediate-misread', /\bD\b.*(times|multiplied by) the scale/], ['row-weight', /\bD times the scale/],
    ],
    parts: [['terms-weighed', /^(in dS, )?D:? less than once$/]],
  },
  // 1 is added to the sum of e^S; lse has it too
  'softmax-plus-one': {
    names: [
      ['normaliser-other', /^$|Z \+ e\^-m|logit of 0|sink/], 'row-factor',
      ['row-weight', /^$|e\^-lse|e\^-m|logit of 0/], ['lse-sum-other', /^$|Z \+ e\^-m/],
    ],
  },
  // dv times the scale
  'dv-scaled': { names: [['factor', /^(|the scale|1 \/ sqrt\(d\)|[\d.]+)$/]] },
  // 12. one pair, one key
  // j < i in the kernel of dk and dv
  'dkv-own-pair-lost': {
    names: [
      'diagonal-hidden', ['pairs-hidden', /^(?!.* but ).*(own key|on the diagonal|i - j = 0)/],
      ['terms-weighed', /^(the pairs on the diagonal|the (query|key) itself|the query's own key): left out$/],
    ],
  },
  // key N - 1 is never read: row N - 1 does not see itself
  'last-key-unread': {
    names: [
      ['key-lost', /^$|^key ([1-9]\d*|N - 1)$|last/],
      ['pairs-hidden', /^the last (query and its own key|key)|^the pairs on the diagonal, for the last query$/],
      ['terms-weighed', /^the last key: left out/],
    ],
    parts: ['diagonal-hidden'],
  },
  // dk and dv of key 0 are never written
  'dkv-of-sink-lost': {
    names: [
      ['zeros-in-part', /^$|(key|token) 0\b|first (key|token)$/], ['key-lost', /^(|key 0)$/],
      ['terms-weighed', /^(key 0|the first key): left out/],
    ],
    parts: ['zeros'],
  },
  // 13. masks by row, tile or chunk
  // tiles before the diagonal run without a mask if their first row sees all 16 keys
  'whole-tile-by-first-row': {
    names: [
      ['tile-whole', /first (row|query|of)|all of (them|it)/], ['mask-ignored', /first (row|query)/],
      ['ends-by-tile', /first (row|query)[^,]* sees/], ['pairs-seen', /first (row|query).* sees/],
    ],
  },
  // even rows see the next key
  'causal-by-row-pair': {
    names: [
      'causal-late', ['causal-missing', /pair|tiles? of 2\b/],
      ['pairs-seen', /^the next key(, for (even queries|the first query of each tile of 2))?$/],
      ['pairs-seen', /own tile of 2\b|own half of a tile of 4\b/], ['terms-weighed', /next key|own tile of 2\b/],
    ],
  },
  // lifetimes compared by chunks: windows end with whole chunks
  'lifetimes-by-chunk': {
    names: [
      ['ends-by-tile', /^$|^((WINDOW|all) )?up to whole (chunks|tiles of (3|5|10|16)\b)/],
      ['window-other', /rounded up to (whole chunks|a multiple of C\b)/],
    ],
    parts: ['window-in-chunks', ['window-other', /^$/]],
  },
  // 14. gradients of the types
  // dm_rows sums the columns of dM
  'dm-rows-by-key': { names: [['intermediate-misread', /\bdM\b.*transpos/], ['terms-weighed', /column|transpos/]] },
  // GLOBAL chunks are charged nothing in dg
  'dg-free-for-global': {
    names: [
      ['dg-no-negative', /GLOBAL/], ['dg-charge-other', /^not in chunks that are GLOBAL/],
      ['terms-weighed', /negative term.*GLOBAL.*left out|GLOBAL.*negative term.*left out/],
    ],
    parts: [['dg-no-negative', /^$/], ['dg-charge-other', /^$/], ['terms-weighed', /negative term of dg: left out/]],
  },
  // dl is 0 for chunks that no GLOBAL follows
  'dl-0-if-open': {
    names: [
      ['zeros-in-part', /^(?!.*(of (WINDOW|GLOBAL) tokens|tile|head|batch))/],
      ['dl-rows-other', /no GLOBAL|where a GLOBAL closes, (else|and) (0|no)/], ['terms-weighed', /no GLOBAL.*left out/],
    ],
    parts: ['zeros', ['dl-rows-other', /^$/]],
  },
  // the plain mean of dt is subtracted, not the sum of y dt
  'dscores-plain-mean': { names: [['softmax-mean', /plain|third|of the three|unweighted/]] },
  // 15. caches
  // j <= i - begin in the cache
  'causal-from-step': { names: [['pairs-hidden', /step/], ['terms-weighed', /step.*left out/]] },
  // WINDOW entries stay until W WINDOW tokens of later chunks have come
  'window-fifo-by-count': {
    names: [['window-other', /WINDOW (tokens|entries)/]],
    parts: [['evicted-late', /WINDOW/], ['never-evicted', /WINDOW/]],
  },
  // an eviction moves keys, but not values, into holes
  'compaction-keeps-values': {
    names: [['input-misread', /^v\b(?! and).*(evict|slot|stale)/], ['slot-reused', /\bvalues?\b/]],
  },
};
