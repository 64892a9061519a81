/**
 * Which names are true of the tenth set's mutants of the kinds 8 to 15, by the rule of tenth-names.ts and at the same
 * time.
 * @module
 */
import type { EighthAnswers } from './eighth-names.ts';

export type Named = Omit<EighthAnswers, 'places'>;

const twice = (words: string): RegExp => new RegExp(String.raw`${words}.*(times 2\b|more than once|twice)`);
/** Rows or keys of even, or of odd, tiles of 16. */
const EVEN_16 = '(even tiles of 16|first half of each tile of 32)';
const ODD_16 = '(odd tiles of 16|second half of each tile of 32)';
/** The tile of 16 or 32 on the diagonal, in any wording. */
const OWN_TILE = String.raw`(tiles? of (16|32)( keys)? on the diagonal|own tile of (16|32)\b`
  + String.raw`|own tile, in tiles of (16|32)\b|the one on the diagonal(, of (16|32)\b)?)`;
/** Keys of tiles of 32 before the one on the diagonal. */
const BEFORE_32 = String.raw`(tiles of 32( keys)? (before|further back than|1 or more back)|earlier tiles of 32\b`
  + String.raw`|tiles of 32( keys)? off the diagonal|before (the query's|their|its) (own )?tile of 32\b`
  + String.raw`|^keys (one tile back|two tiles back|further back)[^,]*, in tiles of 32\b)`;
/** The own key, by its type. */
const AT_THE_QUERY = '^(?!.*(before the query|though hidden)).*(GLOBAL|LOCAL|WINDOW) keys at the query';
/** D over d, in any wording. */
const D_OVER_D = String.raw`\bD\b.*(\b1 \/ d\b|divided by d\b|\bover d\b|\/ d\b|\bmean\b)`;
/** Keys j with j % 32 above 15. */
const UPPER_LANES = 'odd tiles of 16|second half of (each|a|the) tile of 32|second half of tiles of 32|lanes';
/** Keys j with j % 32 below 16. */
const LOWER_LANES = 'even tiles of 16|first half of (each|a|the) tile of 32|first half of tiles of 32|lower half';

/** By id. */
export const TENTH_MORE_NAMES: Readonly<Record<string, Named>> = {
  // 8. tiles of keys and rows
  // dq: keys j < 16 count twice in rows from 16
  'dq-first-tile-twice': {
    names: [['terms-weighed', twice(String.raw`(first tile of 16 keys|keys 0 to 15\b)`)]],
  },
  // rows from 32 in even tiles of 16 do not see their tile of 32 on the diagonal, their own key neither
  'key-tiles-rounded-down': {
    names: [
      ['pairs-hidden', new RegExp(`^(?!.* but ).*${OWN_TILE}.*${EVEN_16}`)],
      ['tile-skipped', new RegExp(`${OWN_TILE}.*${EVEN_16}`)],
      ['terms-weighed', new RegExp(`${OWN_TILE}.*${EVEN_16}.*left out`)],
    ],
    parts: [
      ['pairs-hidden', new RegExp(`^${OWN_TILE}(, for queries from 32)?$`)],
      ['tile-skipped', new RegExp(`^$|^${OWN_TILE}$`)],
      ['terms-weighed', new RegExp(`^(keys of the query's )?${OWN_TILE}: left out`)],
    ],
  },
  // dk and dv: keys in odd tiles of 16 lose the rows of their own tile of 16
  'dkv-start-rounded-up': {
    names: [
      ['pairs-hidden', new RegExp(`^(?!.* but ).*${OWN_TILE}.*${ODD_16}`)],
      ['pairs-hidden', new RegExp(`${ODD_16}.*${OWN_TILE}`)], ['tile-skipped', new RegExp(`${OWN_TILE}.*${ODD_16}`)],
      ['terms-weighed', new RegExp(`(${OWN_TILE}.*${ODD_16}|${ODD_16}.*${OWN_TILE}).*left out`)],
    ],
    parts: [
      ['pairs-hidden', /^tiles of 16 on the diagonal(, for queries from 16)?$/],
      ['tile-skipped', /^$|^the one on the diagonal(, of 16)?$/],
      ['terms-weighed', /^(tiles of 16 on the diagonal|keys of the query's own tile, in tiles of 16): left out/],
    ],
  },
  // keys j > 0 with j % 32 = 0 count twice, in the split before theirs too
  'split-edges-twice': {
    names: [
      ['terms-weighed', twice('^(?!.*later tiles).*first key of each (tile|split) of 32')],
      ['terms-weighed', twice('the first of each tile of 32 (earlier )?keys')],
      ['terms-weighed', twice(String.raw`\bkeys j % 32 = 0\b`)],
    ],
    parts: [['terms-weighed', twice(String.raw`^key 32\b`)]],
  },
  // 9. places in storage
  // dq as [B,R,G,N,d]
  'dq-heads-by-place': {
    names: [
      ['heads-permuted', /^(?!.*\bhead 0 holds)/], ['elements-moved', /^$|^\[B,R,[GH],|no formula/],
      ['rows-moved', /^$|^query head h is at the place of head \(h mod R\) G \+ floor\(h \/ R\)$/],
      ['rows-moved', /^(?!.*\bhead 0 (row \d+ )?holds)(batch \d+,? )?(query )?head \d+ (row \d+ )?holds /],
    ],
  },
  // dk as [B,G,d,N]
  'dk-channels-first': {
    names: ['layout-dims', ['elements-moved', /^$|^\[B,[GH],d,N\]|no formula|^transposed$/]],
  },
  // dscores as [B,G,3,Nc]
  'dscores-type-first': {
    names: [
      ['elements-moved', /^$|^\[B,[GH],(3|types?|d),(Nc?|chunks?)\]|no formula|^transposed$/],
      ['dscores-other', /\[B,[GH],3,Nc?\]|\[type\]\[(chunk|token)\]/],
    ],
    parts: ['layout-dims'],
  },
  // 10. unwritten and stale
  // dscores of forced chunks hold those of the last chunk before them that is not forced
  'dscores-forced-stale': {
    names: [
      ['rows-moved', /^$|^(chunk|token|key|row) n holds \1 n - 1\b|(chunk|token|key|row) \d+ holds /],
      ['dscores-other', /(forced|the last chunk).*(chunk|row|one)s? before/],
      ['dscores-other', /(chunk|row|one)s? before.*(forced|the last chunk)/],
    ],
    parts: ['forced-gradient', ['dscores-other', /^$|forced/], ['elements-moved', /^$|no formula/]],
  },
  // dm_rows has the rows before it in its tile of 16 added
  'dm-rows-carried': {
    names: [
      ['dm-rows-other', /(rows|queries) (up to|before) it.*(tile of 16\b|of 16 rows)/],
      ['dm-rows-other', /tiles? of 16\b.*(rows|queries) (up to|before) it/],
      ['terms-weighed', /(earlier|before).*(of (its|the|their) tile of 16\b)/],
    ],
    parts: [['dm-rows-other', /^$/]],
  },
  // cache_out of all but the last row of a step is 0
  'prefill-last-row-only': {
    names: [
      ['zeros-in-part', /^$|\bsteps?\b(?!.*one token)|prefill|prompt/],
      ['zeros-in-part', /in all (rows|queries) but the last(?! of each (tile|chunk))/],
      ['tail-unwritten', /\bsteps?\b.*but the last/],
    ],
    parts: ['zeros'],
  },
  // 11. factors, the normaliser and D
  // D / d in the place of D
  'd-mean': {
    names: [
      ['terms-weighed', new RegExp(`^(?!.*dP).*${D_OVER_D}`)],
      ['terms-weighed', /^(?!.*dP)(D, subtracted 0\.\d+ times|(in dS, )?D:? times 0\.\d+)$/],
      ['intermediate-misread', new RegExp(D_OVER_D)], ['row-weight', new RegExp(String.raw`^(?!.*dP).*${D_OVER_D}`)],
    ],
    parts: [['terms-weighed', /^(in dS, )?D:? less than once$/]],
  },
  // out times the scale; the backward makes D from it
  'out-scaled': {
    names: [
      ['factor', /^(|the scale|1 \/ sqrt\(d\)|[\d.]+)$/], ['row-weight', /^each row of out times the scale$/],
      ['input-rounded', /^v times the scale$/], ['input-misread', /^v\b(?! and).*times the scale/],
    ],
  },
  // Z without keys with j % 32 >= 16, in out and lse; the maximum and P v are right
  'z-half-of-lanes': {
    names: [
      ['normaliser-other', new RegExp(`^$|without.*(${UPPER_LANES})|(${LOWER_LANES})`)], 'row-factor',
      ['row-weight', new RegExp(`^$|without.*(${UPPER_LANES})|(${LOWER_LANES})`)],
      ['lse-sum-other', new RegExp(`^$|(without|but).*(${UPPER_LANES})|(${LOWER_LANES})`)],
      ['terms-weighed', new RegExp(String.raw`(${UPPER_LANES}).*in Z\b.*left out|in Z\b.*(${UPPER_LANES}).*left out`)],
    ],
  },
  // 12. one pair, one key
  // j < i in the kernel of dM
  'dm-own-pair-lost': {
    names: [
      'diagonal-hidden', ['dm-rows-other', /^all pairs but that of a token with itself( |$)/],
      ['pairs-hidden', /^(?!.*( but |tiles? of )).*(own key|on the diagonal|i - j = 0|token with itself)/],
      [
        'terms-weighed',
        /^(the pairs? on the diagonal|the (query|key|token) itself|the query's own key)(, for dM)?: left out/,
      ],
      ['terms-weighed', new RegExp(`${AT_THE_QUERY}.*left out`)],
    ],
    parts: [
      ['dw-rows-other', /^from the first row after the token$/],
      ['dl-rows-other', /^from the first row after the token$/],
      ['dg-rows-other', /^from the first row after the token$/], ['dm-rows-other', /^$/],
    ],
  },
  // row N - 1 is left out of dk and dv
  'dkv-last-row-lost': {
    names: [
      'query-lost', ['terms-weighed', /^(the last query|query N - 1): left out/],
      ['pairs-hidden', /^(the last (query|row)|query (N - 1|\d+))$|^(all )?(keys|pairs)[^,]*, for the last query$/],
    ],
  },
  // dq: key 0 is left out
  'dq-key-0-lost': {
    names: [
      ['key-lost', /^(|key 0)$/], ['terms-weighed', /^(key 0|the first key|the sink): left out/],
      ['pairs-hidden', /^(key 0|the first key)$/],
    ],
  },
  // 13. masks by row, tile or chunk
  // odd keys have last of the even key before them
  'lifetimes-by-key-pair': {
    names: [
      ['types-moved', /^$|tiles? of 2\b|pairs? of (keys|tokens)|\bodd (keys|tokens)\b/],
      ['ends-by-tile', /^(all )?(by )?(pairs of (keys|tokens)|tiles of 2 (keys|tokens))/],
    ],
    parts: [['types-moved', /^last\(\) of the token before$/]],
  },
  // dk and dv: S^T in tiles of 16 with the mask of the tile not transposed
  'dkv-mask-untransposed': {
    names: [
      ['mask-transposed', /^(?!.*tiles? of (?!16\b))/], ['pairs-seen', /transpos/], ['pairs-hidden', /transpos/],
      ['intermediate-misread', /\bmask\b.*transpos/], ['terms-weighed', /transpos/],
    ],
    parts: [
      ['pairs-seen', /^later keys of the query's own tile of 16$/],
      ['terms-weighed', /^later keys of the query's own tile of 16, though hidden/],
    ],
  },
  // tiles of 32 keys before the diagonal without a mask
  'lifetimes-on-diagonal-only': {
    names: [
      ['mask-ignored', new RegExp(`${BEFORE_32}|(before|off) the diagonal`)], ['pairs-seen', new RegExp(BEFORE_32)],
      ['terms-weighed', new RegExp(`${BEFORE_32}.*though hidden`)],
      ['tile-whole', /(before|off) the (one on the )?diagonal/], ['ends-by-tile', /on the diagonal (alone|only)/],
    ],
    parts: [['mask-ignored', /^$/]],
  },
  // 14. gradients of the types
  // dg charges WINDOW tokens since the last GLOBAL, as well as LOCAL ones
  'dg-charges-all': {
    names: [
      ['dg-charge-other', /^(WINDOW and LOCAL|LOCAL and WINDOW|all) tokens( (back to|since) the last GLOBAL)?$/],
      ['terms-weighed', /WINDOW.*negative term|negative term.*WINDOW/],
    ],
    parts: [['dg-charge-other', /^$|^WINDOW tokens, too/]],
  },
  // dm_rows sums visible pairs alone
  'dm-rows-visible': {
    names: [
      ['dm-visible', /^(?!.*(hidden|exact))/], ['dm-rows-other', /^visible pairs( of (each|its) row)?( alone)?$/],
      ['terms-weighed', /^(hidden (pairs|keys)|pairs that are hidden): left out/],
    ],
    parts: [['dm-rows-other', /^$/]],
  },
  // the price is added to dscores, after the softmax
  'price-after-softmax': {
    names: [
      ['dscores-other', /prices? .*(after|behind|outside|not through|without) .*(softmax|gradient|mean|factor y)/],
      ['dscores-other', /(price itself|prices? (is |are )?added to (dscores|the result|it))/],
      ['other-tensor', /the prices? (is|are) added/],
    ],
    parts: [['dscores-other', /^$/]],
  },
  // dw ends at e(c) where that comes before the end of the window
  'dw-ends-at-global': {
    names: [
      ['dw-rows-other', /^up to the smaller of (e\(j\) and the end of the window|the end of the window and e\(j\))$/],
      ['dw-rows-other', /window (ends|reaches) (at|past|beyond) the next GLOBAL( or later)?: .*up to e\(j\)$/],
    ],
    parts: [['dw-rows-other', /^$|^in some chunks: rows up to e\(j\)$/]],
  },
  // 15. caches
  // a LOCAL entry is closed with the first position of the step that brings the GLOBAL
  'closed-at-step-begin': {
    names: [['local-other', /\b(first token|begin(ning)?|start|first position) of (the|its|a) step\b(?! before)/]],
    parts: [['local-other', /^$/]],
  },
  // eviction stops at the oldest entry that lives
  'evicts-from-front-only': {
    names: [
      ['evicts-some', /only the oldest.*(lives|live)|from the front|queue|behind .*(lives|live)/],
      ['evicted-late', /only the oldest|from the front|queue|behind .*(lives|live)/],
      ['never-evicted', /only the oldest|from the front|queue|behind .*(lives|live)/],
    ],
    parts: [['evicts-some', /^$/], ['never-evicted', /^$/]],
  },
  // in steps of one token, the own key counts twice
  'decode-own-key-twice': {
    names: [
      ['terms-weighed', twice("^(the query's own key|the pairs? on the diagonal|the (query|key|token) itself)")],
      ['terms-weighed', twice(AT_THE_QUERY)],
      ['terms-weighed', twice(String.raw`\b(new token|newest (entry|key)|own (entry|token))\b`)],
      ['step-mask', /\b(itself|own|new|newest)\b.*twice/],
    ],
  },
};
