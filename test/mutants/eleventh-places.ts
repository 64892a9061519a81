/**
 * Which places are true of the eleventh set's mutants, by the rule of eleventh-names.ts and at the same time. A mutant
 * that is wrong everywhere in its outputs has none.
 * @module
 */
import { any, HIDING, hiding, later, LATER_BATCHES, LATER_HEADS, QUERY_HEADS_OF_THEM } from './place-words.ts';

const SEVERAL_KEYS = /rows with more than 1 visible key/;
/** The first number after 16 floor(N / 16). */
const WHOLE_TILES_OF_16 = String.raw`N > 1[56]\b|N >= 16|whole tiles? of 16|tiles? of 16( rows)? that (is|are) whole`
  + String.raw`|rows below (16|32|48|64|80|96|112|128|256)\b|rows 0 to (15|31|47|63|127|255)\b`;

/** By id. */
export const ELEVENTH_PLACES: Readonly<Partial<Record<string, RegExp>>> = {
  'cache-k-e4m3': SEVERAL_KEYS,
  'dkv-heads-bf16': /H > G/,
  // WINDOW keys in the rows after their end
  'window-in-chunks': any(String.raw`C > 1\b`, hiding('WINDOW'), 'W is not 0', 'W > 0'),
  // rows that are the last to see a WINDOW key of an earlier token
  'window-by-cache-length': any(
    'rows that are the last to see a', 'of WINDOW tokens', 'see an earlier WINDOW key', 'W < N', 'rows beyond W',
  ),
  // GLOBAL, LOCAL and WINDOW keys in rows beyond W; closed LOCAL keys in WINDOW rows within it
  'window-by-query-type': any(
    'rows beyond W', 'W < N', 'rows that hide a', 'rows that are (not )?WINDOW', '(in|of) WINDOW (rows|queries)',
  ),
  // LOCAL tokens of one KV head that a GLOBAL of another one follows
  'local-by-any-head': any('G > 1', 'of LOCAL tokens', 'see an earlier LOCAL key'),
  // LOCAL tokens that no GLOBAL follows, in all KV heads but the very last
  'local-scan-not-reset': any(
    'G > 1', 'of LOCAL tokens(?! that a GLOBAL)', 'that no GLOBAL', 'after the last GLOBAL', 'never hidden',
    'see an earlier LOCAL key', 'all (KV|query) heads but the last(?! of each)',
  ),
  // closed LOCAL keys
  'local-open-dkv': any(hiding('LOCAL')),
  'dv-dout-of-first-head': /H > G/,
  'dk-d-of-first-head': /H > G/,
  // query heads with h % G other than floor(h / R)
  'v-repeated-forward': any(
    'G > 1', 'H > G', 'whose KV head is not h mod G', 'all query heads but the first and (the )?last',
  ),
  'dm-group-mean': /H > G/,
  'lifetimes-of-batch-0': LATER_BATCHES,
  'dq-k-of-head-0': any(LATER_HEADS, QUERY_HEADS_OF_THEM),
  'type-grads-types-of-head-0': any(LATER_HEADS),
  // rows whose maximum rises in a later tile of 16
  'alpha-base-e': any(
    later(16), 'largest (visible )?score is in a later tile', 'largest (visible )?score is not in the(ir)? first tile',
    'maximum (rises|grows)',
  ),
  'backward-scaled-twice': /scale (is not|!=) 1\b/,
  // rows whose visible scores are all below -88
  'max-starts-at-0': /visible scores are all (negative|below)|scores? below -\d/,
  // rows that have hidden keys before them
  'lse-is-nu': /rows that hide a|largest score is at a hidden key/,
  // rows from 16
  'v-tile-stale-on-diagonal': any(later(16), 'tiles? of 16 on the diagonal'),
  'dq-diagonal-lost': /tiles? of 16 on the diagonal/,
  // keys that rows of the last, partial tile of 16 see
  'dkv-partial-rows-lost': any(
    'N % 16 != 0', 'last,? (partial )?tile of 16 (rows|queries)', String.raw`the last (row|query)\b(?! of)`,
    'never hidden',
  ),
  // rows from 32 that see keys of two or more splits of 32
  'split-weights-by-max': any(later(32)),
  'out-fragment-rows': any(WHOLE_TILES_OF_16),
  'dl-reversed': /(keys|chunks|tokens) but the (middle|one in the middle)/,
  // more than one step, and more than one head in all
  'cache-out-steps-first': /H > 1\b|(rows|queries) but the first and (the )?last|(more than (one|1)|several) steps?\b/,
  // channels from 4 floor(d / 4)
  'dk-vector-tail': any(
    'd % 4 != 0', 'components after the last whole vector of 4', 'last components?',
    String.raw`components? (from )?(4|8|12|16|20|24|28|32|64|80)\b`,
  ),
  // entries that are evicted after the step that brings them, in the steps from then on
  'live-bits-kept': any(
    'hidden before the end', 'tokens that are not GLOBAL', 'steps from [1-9]', 'all steps but the first',
    'evicted (later|in a later step)', 'brought by an earlier step',
  ),
  // rows from 32 that see keys of earlier tiles
  'dq-stored-not-added': any(later(32)),
  'd-over-all-heads': /H > 1\b/,
  'p-over-z-again': SEVERAL_KEYS,
  'dscores-over-tau-twice': /tau (is not|!=) 1\b|(chunks|tokens) that are not forced/,
  // rows i > 0 with i % 16 = 0
  'own-tile-skipped-at-edge': any(
    later(16), String.raw`first (row|query|key|token) of (each|a|its|their) tile of 16\b`,
    String.raw`(rows i|queries i|keys j|tokens j) % 16 = 0`,
  ),
  'dkv-last-key-unwritten': /in the last (key|token|chunk)\b(?! of)|in (key|token) [1-9]\d*\b/,
  // rows after the first step that see key 0
  'cache-sink-twice': any(
    String.raw`\b(key|token) 0\b`, 'the sink', 'steps from [1-9]', 'all steps but the first',
    'later steps than the first', 'after the first step',
  ),
  // rows that are not the last of their chunk
  'causal-by-chunk': any(
    String.raw`C > 1\b`, 'rows that begin a chunk', 'last( row| token)? of (each|a|their|its) chunk',
    'rows that do not end a chunk',
  ),
  // rows i % 32 < 15, where keys follow their tile of 16
  'causal-on-last-tile-only': any(
    String.raw`N > 16\b`, 'even tiles of 16 (rows|queries)', 'first half of each tile of 32 (rows|queries)',
    String.raw`(rows|queries) but the last of each tile of (16|32)\b`, 'tiles? of 16 on the diagonal',
  ),
  // keys that live beyond the tile of rows in which the last key of their tile of 16 ends
  'dkv-end-by-last-key': any(later(16), String.raw`(keys|tokens) but the last of each tile of 16\b`),
  'type-grads-chosen-only': /(tokens|chunks) that are not (GLOBAL|LOCAL|WINDOW)/,
  'dm-chunk-mean': /C > 1\b/,
  // chunks with a closed LOCAL chunk before them
  'dg-past-global': /closed LOCAL|LOCAL (keys|tokens|chunks) closed before|(after|behind) a GLOBAL that closes/,
  // chunks with LOCAL since the last GLOBAL before them
  'dg-charges-own-row': /LOCAL (chunks? |tokens? |keys? )?since|after (a chunk that is |a )?LOCAL/,
  // entries that end in a step with more of them than new tokens
  'evicts-as-many-as-come': any(
    HIDING, 'of LOCAL tokens(?! that no)', 'end in the same step', 'evicts? (several|two|more)',
  ),
  // LOCAL entries whose GLOBAL is not the end of its step
  'closes-by-last-of-step': any(
    'several tokens', 'more than one token', 'of LOCAL tokens(?! that no)', 'rows that hide a (LOCAL )?key',
    'see an earlier LOCAL key', 'not the last of (its|their|a) step', 'end before the end of a step',
  ),
  'bytes-in-blocks': /multiples? of 16\b/,
};
