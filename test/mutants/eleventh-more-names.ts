/**
 * Which names are true of the eleventh set's mutants of the kinds 8 to 15, by the rule of eleventh-names.ts and at the
 * same time.
 * @module
 */
import type { Named } from './tenth-more-names.ts';

const twice = (words: string): RegExp => new RegExp(String.raw`${words}.*(times 2\b|more than once|twice)`);
/** The tile of 16 on the diagonal, in any wording. */
const OWN_16 = String.raw`(tiles? of 16( keys)? on the diagonal|own tile of 16\b|own tile, in tiles of 16\b`
  + String.raw`|the one on the diagonal, of 16\b)`;
/** Keys of all tiles of 32 before the one on the diagonal. */
const BEFORE_32 = String.raw`(tiles of 32( keys)? (before|further back than|1 or more back)|earlier tiles of 32\b`
  + String.raw`|tiles of 32( keys)? off the diagonal|before (the query's|their|its) (own )?tile of 32\b`
  + String.raw`|^keys (one tile back|two tiles back|further back)[^,]*, in tiles of 32\b`
  + String.raw`|all (tiles of 32( keys)? )?but (the one|that) on the diagonal(, of 32)?)`;
/** Rows of a last tile of 16 that is not whole. */
const LAST_ROWS = String.raw`(the (queries|rows) of (a|the) last(, partial)? tile of 16\b`
  + String.raw`|the last(, partial)? tile of 16 (queries|rows)|the last, partial one of 16 rows)`;
/** Rows, or keys, of even tiles of 16. */
const EVEN_16 = '(even tiles of 16|first half of (each|the|a) tile of 32)';
/** Rows with i % 16 = 0. */
const TILE_STARTS = '(first (query|row) of (each|a|its|their) tile of 16|the first of each tile of 16 (queries|rows)'
  + String.raw`|(queries|rows) i % 16 = 0)`;
/** The pair of a row with itself. */
const OWN_PAIR = "(the pairs? on the diagonal|own key|the (query|key|token) itself|i - j = 0|token with itself)";
/** What an entry of a chunk holds, in reverse order. */
const REVERSED = String.raw`^(chunk|token|key|row)s in reverse order$`;
const BLOCKS_OF_16 = /(blocks|pages|tiles|multiples?) of 16\b/;
const LAST_OF_STEP = String.raw`(last|newest) (token|one)? ?(of|in) (their|its|the|a) step`;

/** By id. */
export const ELEVENTH_MORE_NAMES: Readonly<Record<string, Named>> = {
  // 8. tiles of keys and rows
  // P of the tile of 16 on the diagonal times v of the tile before; the backward is right
  'v-tile-stale-on-diagonal': {
    names: [
      ['input-misread', new RegExp(String.raw`^v\b(?! and)(?!.*for (dP|D|d[qkv])\b).*${OWN_16}`)],
      ['input-misread', /^v\b(?! and)(?!.*for (dP|D|d[qkv])\b).*(on the diagonal|own tile).*(16|before)/],
      ['other-tensor', /\bv\b.*tile (of 16 )?(before|of keys before).*(on the diagonal|own tile)/],
      ['other-tensor', /\bv\b.*(on the diagonal|own tile).*tile (of 16 )?before/],
      ['terms-weighed', /\bv\b.*tile before.*(on the diagonal|own tile of 16)/],
    ],
  },
  // dq without the keys of the own tile of 16
  'dq-diagonal-lost': {
    names: [
      ['tile-skipped', new RegExp(`^$|^the one on the diagonal$|${OWN_16}(?!.*(, for|odd|even))`)],
      ['pairs-hidden', new RegExp(`^(?!.*( but |, for |odd|even)).*${OWN_16}`)],
      ['terms-weighed', new RegExp(`^(?!.*(, for |odd|even)).*${OWN_16}.*left out`)],
    ],
    parts: [['pairs-hidden', new RegExp(`^(?!.*( but |odd|even)).*${OWN_16}, for (later )?queries from`)]],
  },
  // rows from 16 floor(N / 16) are left out of dk and dv
  'dkv-partial-rows-lost': {
    names: [
      ['pairs-hidden', new RegExp(`^(?!earlier|.* but ).*${LAST_ROWS}`)],
      ['terms-weighed', new RegExp(`^(?!earlier).*${LAST_ROWS}.*left out`)],
      ['query-lost', /tile of 16|partial|not whole/], ['tile-skipped', new RegExp(LAST_ROWS)],
    ],
    parts: [
      ['pairs-hidden', new RegExp(`^earlier keys, for ${LAST_ROWS}`)],
      ['terms-weighed', new RegExp(`^earlier keys.* ${LAST_ROWS}.*left out`)],
    ],
  },
  // splits of 32 keys are merged by e^(m_s - m), not by e^(lse_s - lse)
  'split-weights-by-max': {
    names: [
      [
        'splits-merged',
        /^(?!.*(without a common|lse alone)).*((by|of|from) (the|their|its) (own )?(maxim|largest)|e\^\(?m)/,
      ],
      ['splits-merged', /^(?!.*(without a common|averaged)).*without (the|their|its) (sums?|Z)\b/],
      ['row-weight', /split.*\b32\b.*(\bZ\b|maxim)/], ['terms-weighed', /split.*\b32\b.*(\bZ\b|maxim)/],
    ],
    parts: [['splits-merged', /^$|^splits of 32 keys$/]],
  },
  // 9. places in storage
  // rows r and r + 8 of each whole tile of 16 are exchanged in out
  'out-fragment-rows': {
    names: [
      ['elements-moved', /^$|no formula|^the halves of each (whole )?tile of 16 rows exchanged/],
      ['elements-moved', /^tiles of 8 rows exchanged with their neighbours|^row n at n XOR 8\b|\bn (XOR|\^) 8\b/],
      ['elements-moved', /\b0 holds (row )?8\b|\b8 holds (row )?0\b|\[0,0,0,0\] holds \[0,0,8,0\]/],
      ['rows-moved', /^$|halves of each (whole )?tile of 16|tiles of 8 rows exchanged|\bn XOR 8\b/],
      ['rows-moved', /\brow (0 holds (head \d+ )?row 8|1 holds (head \d+ )?row 9|8 holds (head \d+ )?row 0)\b/],
    ],
    parts: [['rows-moved', /^row n holds row n [+-] 8\b/]],
  },
  // dl of chunk c at the place of chunk Nc - 1 - c
  'dl-reversed': {
    names: [
      ['rows-moved', new RegExp(`^$|${REVERSED}`)], ['elements-moved', new RegExp(`^$|no formula|${REVERSED}`)],
      ['rows-moved', /\b(chunk|key|token|row) 0 holds (head 0 )?(chunk|key|token|row) [1-9]/],
      ['dl-rows-other', /in reverse order|Nc - 1 - c/], ['dscores-other', /\bdl of chunks? .*(reverse|Nc - 1 - c)/],
    ],
  },
  // outputs of steps, [B,H,T,d], one after the other
  'cache-out-steps-first': {
    names: [
      ['elements-moved', /^$|no formula|\bsteps?\b|^\[[^,\]]+,B,(H|G,R),[^,\]]+,d\]/],
      ['rows-moved', /^$|\bsteps?\b|head \d+ row \d+ holds (batch \d+,? )?head \d+ row \d+/],
      ['layout-heads', /\bsteps?\b/],
    ],
    parts: [['elements-moved', /^blocks of [^,]* rows outside, heads within$/]],
  },
  // 10. unwritten and stale
  // channels from 4 floor(d / 4) of dk are 0
  'dk-vector-tail': {
    names: [
      ['zeros-in-part', /^(?!.*vectors? of (?!4\b)).*(components?|channels?|vectors?)|^$/],
      ['tail-unwritten', /^(?!.*vectors? of (?!4\b)).*(components?|channels?|vectors? of 4)/],
    ],
    parts: [
      'zeros', 'dim-tail',
      ['terms-weighed', /^the components after the last whole vector of 4 left out(?!.*(q \. k|P'))/],
    ],
  },
  // what was held after a step stays 1 in cache_live; evictions are right
  'live-bits-kept': {
    names: [
      ['evicts-some', /cache_live|\bbits?\b|\bmap\b/], ['never-evicted', /cache_live|\bbits?\b|\bmap\b/],
      ['evicted-late', /cache_live|\bbits?\b|\bmap\b/],
      ['other-tensor', /(live|held).*(steps? before|earlier steps?|any step|before it)/],
    ],
  },
  // dq of the keys of the own tile of 32 alone
  'dq-stored-not-added': {
    names: [
      ['tile-skipped', new RegExp(BEFORE_32)], ['pairs-hidden', new RegExp(`^(?!.*(odd|even)).*${BEFORE_32}`)],
      ['pairs-hidden', /^(all )?(earlier )?keys but those of the query's own tile of 32\b/],
      ['terms-weighed', new RegExp(`^(?!.*(odd|even)).*${BEFORE_32}.*left out`)],
    ],
    parts: [['tile-skipped', /^$/]],
  },
  // 11. factors, the normaliser and D
  // D is the sum of D over all query heads
  'd-over-all-heads': {
    names: [
      ['intermediate-misread', /^D\b(?!.*(of (the|each|a) group|lse)).*(\ball\b|\bsum(s|med)?\b|\bover\b) .*heads?\b/],
      ['intermediate-misread', /\bD\b.*\[B,N,H d\]|\bH d (channels|numbers)/],
      ['terms-weighed', /^(?!.*(group|dP)).*\bD\b.*(all|over|other) .*heads?\b/],
      ['row-weight', /^(?!.*(group|dP)).*\bD\b.*(all|over|other) .*heads?\b/],
      ['other-tensor', /\bD of (all|(the )?other) (query )?heads/],
    ],
  },
  // P = exp(S - lse) / Z in the backward
  'p-over-z-again': {
    names: [
      ['row-weight', /(^|\b(P|times|by|query|dv of each key) )1 \/ (Z|e\^\(?lse - m\)?)(?! squared|\w)/],
      ['row-weight', /(divided|over) (by )?Z\b(?! (squared|of|\+|\/))|\bZ (\^ ?|to the power of )\(?-1\b|\bZ\^-1\b/],
      ['normaliser-other', /\bZ squared|\bZ\^2\b|\bZ to the power of 2\b|\bZ twice/],
      ['intermediate-misread', /\blse \+ (ln|log) Z|\bm \+ 2 (ln|log) Z|\b2 lse - m\b|\blse\b.*ln Z twice/],
      ['terms-weighed', /(1 \/|divided by) Z\b(?! squared)/],
    ],
    parts: ['row-factor', ['row-weight', /^(in the backward)?$/], ['normaliser-other', /^(in the backward)?$/]],
  },
  // dscores over tau once more
  'dscores-over-tau-twice': {
    names: [
      'tau-squared', ['factor', /^$|^1 \/ tau\b(?! squared)|^[\d.]+$/],
      ['dscores-other', /^(?!.*(without|price|noise)).*(tau (twice|squared|once more)|1 \/ tau\b)/],
    ],
    parts: [['dscores-other', /^$/]],
  },
  // 12. one pair, one key
  // rows i > 0 with i % 16 = 0 do not see themselves
  'own-tile-skipped-at-edge': {
    names: [
      ['diagonal-hidden', new RegExp(TILE_STARTS)],
      ['pairs-hidden', new RegExp(`^(?!.* but ).*${OWN_PAIR}.*${TILE_STARTS}`)],
      ['tile-skipped', new RegExp(`(diagonal|own).*${TILE_STARTS}`)],
      ['terms-weighed', new RegExp(`(${OWN_PAIR}.*${TILE_STARTS}|${TILE_STARTS}.*${OWN_PAIR}).*left out`)],
    ],
    parts: [
      ['diagonal-hidden', /^$/], ['tile-skipped', /^$/],
      ['pairs-hidden', new RegExp(`^(?!.* but )${OWN_PAIR}(, for queries from (8|16))?$`)],
    ],
  },
  // dk and dv of key N - 1 are 0
  'dkv-last-key-unwritten': {
    names: [
      ['zeros-in-part', /^$|\bthe last (key|token)\b(?! of)|^in key [1-9]\d*$|key N - 1/],
      ['key-lost', /^$|^(the )?last\b|^key ([1-9]\d*|N - 1)$/],
      ['terms-weighed', /^the last key: left out/], ['tail-unwritten', /the last (key|token|row)\b/],
    ],
    parts: ['zeros', ['pairs-hidden', /^the last (key$|query and (its own|the last) key)/]],
  },
  // in steps after the first, key 0 counts twice
  'cache-sink-twice': {
    names: [
      ['terms-weighed', twice(String.raw`^(?!.*but).*\b((key|token) 0\b(?! to)|the first key(?! of)|the sink)`)],
      ['step-mask', /(key 0|the sink|the oldest entry).*twice/],
    ],
  },
  // 13. masks by row, tile or chunk
  // rows see the later keys of their chunk
  'causal-by-chunk': {
    names: [
      ['causal-missing', /chunk/], ['causal-late', /chunk/], ['tile-whole', /chunk/],
      ['pairs-seen', /^(later )?keys of the query's own chunk/],
      ['terms-weighed', /^(later )?keys of the query's own chunk.*though hidden/],
    ],
  },
  // rows with i % 32 < 16 see the later keys of their tile of 16
  'causal-on-last-tile-only': {
    names: [
      ['pairs-seen', new RegExp(`^later keys.*own tile of 16\\b.*${EVEN_16}`)],
      ['pairs-seen', /^later keys of the first half of (the|each|a|their) tile of 32\b/],
      ['terms-weighed', new RegExp(`later keys.*(${EVEN_16}|own tile of 16.*${EVEN_16})`)],
      ['causal-missing', new RegExp(`${EVEN_16}|(last|second) tile of (16|keys)( keys)? alone`)],
    ],
    parts: [
      ['pairs-seen', /^later keys of the query's own (tile of 16|half of a tile of 32)$/],
      ['terms-weighed', /^later keys of the query's own (tile of 16|half of a tile of 32)\b.*though hidden/],
    ],
  },
  // dk and dv: rows after the tile of 16 rows in which the last key of a tile of 16 keys ends are left out
  'dkv-end-by-last-key': {
    names: [
      ['tile-skipped', /\blast (key|of (its|the|their)( 16)? keys)\b(?!.*(sees all|last of (16|\d+) rows))/],
      ['ends-by-tile', /\blast key (of|in) .*tile of 16\b|by (the|its|their) last key/],
      ['pairs-hidden', /(after|beyond|past|once|when|where|because) .*last key of (its|the|their) tile of 16\b/],
      ['terms-weighed', /(after|beyond|past|once|when|where) .*last key of (its|the|their) tile of 16\b.*left out/],
      ['types-moved', /last key of (its|the|their) tile of 16\b/],
    ],
    parts: [['tile-skipped', /^$/]],
  },
  // 14. gradients of the types
  // dw, dl and dg of chunks of other types are 0
  'type-grads-chosen-only': {
    names: [
      ['zeros-in-part', /^$|\bnot (WINDOW|LOCAL|GLOBAL)\b|other types|\bchosen\b/],
      ['dw-rows-other', /not WINDOW\b.*(\b0\b|zero|no rows|none|nothing|left out)/],
      ['dl-rows-other', /not LOCAL\b.*(\b0\b|zero|no rows|none|nothing|left out)/],
      ['dg-rows-other', /not GLOBAL\b.*(\b0\b|zero|no rows|none|nothing|left out)/],
      ['terms-weighed', /\bnot (WINDOW|LOCAL|GLOBAL)\b.*left out/],
      ['dscores-other', /(the )?(chosen|own) type.*dg, dl,? (and |or )?dw|dg, dl,? (and |or )?dw.*(chosen|own) type/],
    ],
    parts: ['zeros', ['dw-rows-other', /^$/], ['dl-rows-other', /^$/], ['dg-rows-other', /^$/]],
  },
  // dw, dl and dg of a chunk over the number of its tokens
  'dm-chunk-mean': {
    names: [
      'chunk-mean', ['factor', /^$|^1 \/ C\b(?! squared)|^0\.\d+$/],
      ['dscores-other', /^the mean of dg, dl and dw over the tokens of a chunk/],
      ['dw-rows-other', /mean (over|of).*tokens of (a|the|its) chunk/],
      ['dl-rows-other', /mean (over|of).*tokens of (a|the|its) chunk/],
      ['dg-rows-other', /mean (over|of).*tokens of (a|the|its) chunk/], ['row-weight', /1 \/ C\b/],
    ],
    parts: [['dscores-other', /^the mean of dt over the tokens of a chunk/]],
  },
  // dg charges LOCAL chunks that an earlier GLOBAL closed
  'dg-past-global': {
    names: [
      ['dg-all-local', /^(?!.*WINDOW)/],
      ['dg-charge-other', /^(all )?LOCAL tokens, (also )?those that an earlier GLOBAL closed(, too)?$/],
      ['terms-weighed', /(closed|earlier GLOBAL).*negative term|negative term.*(closed|earlier GLOBAL)/],
    ],
    parts: [['dg-charge-other', /^$/]],
  },
  // dg charges rows of its own chunk
  'dg-charges-own-row': {
    names: [
      [
        'dg-charge-other',
        /^LOCAL tokens, (?!.*(last|earlier|block|back to|up to|nearest)).*rows? of (the|its) (own )?chunk\b.*, too/,
      ],
      ['dg-charge-other', /^LOCAL tokens, (rows )?from the first row of the chunk/],
      ['terms-weighed', /(itself|own (row|chunk)).*negative term|negative term.*(itself|own (row|chunk))/],
    ],
    parts: [['dg-charge-other', /^$/]],
  },
  // 15. caches
  // a step evicts at most as many entries as it brings, the oldest first
  'evicts-as-many-as-come': {
    names: [
      ['evicts-some', /^(?!.*newest first).*(as many|no more|at most).*(come|brings?|new tokens|tokens of|its tokens)/],
      ['evicts-some', /one (entry )?for each (new )?token|place of one (entry|that)/],
    ],
    parts: [['evicts-some', /^$|^a step evicts one entry at most, the oldest first$/]],
  },
  // LOCAL is closed by the last token of a step alone
  'closes-by-last-of-step': {
    names: [
      ['global-missed', new RegExp(`(do|does|is|are|end) not .*${LAST_OF_STEP}|all but .*${LAST_OF_STEP}`)],
      ['global-missed', /not the last of (their|its|the|a) step/],
      ['closed-by-last', /(alone|only).*last|last.*(alone|only)/],
      ['local-other', new RegExp(`only .*${LAST_OF_STEP}|${LAST_OF_STEP}.*(alone|only)`)],
    ],
    parts: [['global-missed', /^$/], ['local-other', /^$/]],
  },
  // the bytes of whole blocks of 16 entries, which the budget of cache_bytes may allow
  'bytes-in-blocks': {
    names: [
      ['bytes-context', BLOCKS_OF_16], ['bytes-longest', BLOCKS_OF_16], ['factor', BLOCKS_OF_16],
      ['offset', BLOCKS_OF_16],
    ],
  },
};
