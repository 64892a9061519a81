/**
 * Which names that the diagnosis has learned since are true of the eleventh set's mutants, by the rule of
 * eleventh-names.ts: rules for pairs, formulas for lifetimes, and rows to which others are added. They were put down
 * from the author's words on 27 November 2026, before any verdict on the set was seen.
 * @module
 */
import type { Named } from './tenth-more-names.ts';

/** What a rule for pairs is followed by if it needs no more words, of pairs left out or counted though hidden. */
const END = '(, where it fails)?(: left out)?$';
const END_SEEN = '(, where it fails)?(, though hidden, count)?$';
/** Rows with i % 16 = 0, and the same as keys; row 0 is none of those that fail, but has one key alone. */
const TILE_STARTS = 'the first query of each tile of 16( but the first tile)?';
const STARTING_KEYS = 'the first key of each tile of 16( but the first tile)?';
const OWN = '(the pairs on the diagonal|tiles of 16 on the diagonal)';
/** A limit to some rows, and to others. */
const EVEN_ROWS = '(all tiles of 16 queries but the last and )?(even tiles of 16 queries'
  + '|the first half of each tile of 32 queries)( and all tiles of 16 queries but the last)?';
const EVEN_KEYS = '(even tiles of 16 keys|the first half of each tile of 32 keys)';
/** A limit to rows that have keys beyond their tile of 16. */
const NOT_LAST = ', for all tiles of 16 queries but the last';

const ownSkipped = new RegExp(`^(${OWN}|${STARTING_KEYS}, those (on the diagonal|in tiles of 16 on the diagonal)), `
  + `for (all queries but query 0 and )?${TILE_STARTS}${END}`);
const startsOnDiagonal = new RegExp(`^${STARTING_KEYS}, those on the diagonal(, for all queries but query 0)?${END}`);
const firstHalves = new RegExp('^(tiles of 16 on the diagonal|all keys but the first of each tile of 16, those in '
  + `tiles of 16 on the diagonal), for ${EVEN_ROWS}${END_SEEN}`);
const firstHalvesByKey = new RegExp(`^${EVEN_KEYS}, those in tiles of (16|32) on the diagonal`
  + `(, for ${EVEN_ROWS}|${NOT_LAST})?${END_SEEN}`);
const ownTilesSeen = new RegExp(`^tiles of 16 on the diagonal(${NOT_LAST})?${END_SEEN}`);
const ownChunkSeen = new RegExp(`^all keys but the first of each chunk, those of the query's own chunk${END_SEEN}`);
const lastOfWindow = new RegExp('^(earlier )?WINDOW keys, those (at the end of their life|W before the query)'
  + `(, for all queries but query 0)?${END}`);
const lastOfLife = new RegExp('^(earlier keys|keys|keys that are hidden before the end, those) '
  + `(at the end of their life|W before the query)(, for all queries but query 0)?${END}`);
const beyondW = new RegExp('^(keys that are not WINDOW, those|(LOCAL|GLOBAL) keys, those|keys) '
  + `more than W before the query, for WINDOW queries${END}`);
const closedWithinW = new RegExp('^(keys|LOCAL keys, those|LOCAL keys that a GLOBAL closes, those) '
  + `at most W before the query, for WINDOW queries${END_SEEN}`);
const localSeen = new RegExp(`^LOCAL keys( that a GLOBAL closes)?${END_SEEN}`);

/** Where LOCAL should end, but for the KV head. */
const NEXT = 'the end of the next GLOBAL';
const nextOfAny = new RegExp(`^LOCAL until (the earlier of (what is right|${NEXT}) and )?${NEXT} of any KV head$`);

/** By id. */
export const ELEVENTH_NEWER_NAMES: Readonly<Record<string, Partial<Named>>> = {
  // windows end W C after their chunk
  'window-in-chunks': { names: [['lifetimes-other', /^WINDOW until the end of its chunk plus W C$/]] },
  // the row i = last(j) of a WINDOW key of an earlier token, in the cache
  'window-by-cache-length': {
    names: [
      ['terms-weighed', lastOfWindow], ['pairs-hidden', lastOfWindow],
      ['lifetimes-other', /^WINDOW until the end of its chunk plus W - 1$/],
    ],
    parts: [
      ['terms-weighed', lastOfLife], ['pairs-hidden', lastOfLife],
      ['lifetimes-other', /^WINDOW until the token itself plus W - 1$/], // where a chunk is a token
    ],
  },
  // WINDOW rows see what is within W, whatever its type
  'window-by-query-type': {
    names: [],
    parts: [
      ['terms-weighed', beyondW], ['pairs-hidden', beyondW], ['pairs-seen', closedWithinW],
      ['terms-weighed', closedWithinW],
    ],
  },
  // LOCAL closed by the next GLOBAL of any KV head of the sequence
  'local-by-any-head': {
    names: [
      ['lifetimes-other', nextOfAny],
    ],
  },
  // LOCAL is never closed in the kernel of dk and dv
  'local-open-dkv': {
    names: [['lifetimes-other', /^LOCAL (until )?never$/], ['pairs-seen', localSeen], ['terms-weighed', localSeen]],
  },
  // rows i > 0 with i % 16 = 0 do not see themselves, which is all of their own tile
  'own-tile-skipped-at-edge': {
    names: [
      ['pairs-hidden', ownSkipped], ['terms-weighed', ownSkipped], ['pairs-hidden', startsOnDiagonal],
      ['terms-weighed', startsOnDiagonal],
    ],
    parts: [
      ['pairs-hidden', new RegExp(`^${OWN}, where it fails$`)],
      ['terms-weighed', new RegExp(`^${OWN}, where it fails: left out$`)],
    ],
  },
  // dk and dv of key N - 1, which row N - 1 alone sees, are 0
  'dkv-last-key-unwritten': {
    names: [['terms-weighed', /^the last key, (those on the diagonal|for the last query|where it fails): left out$/]],
    parts: [['terms-weighed', /^all pairs, where it fails: left out$/]],
  },
  // rows see the later keys of their chunk
  'causal-by-chunk': { names: [['pairs-seen', ownChunkSeen], ['terms-weighed', ownChunkSeen]] },
  // rows with i % 32 < 16 see the later keys of their tile of 16
  'causal-on-last-tile-only': {
    names: [
      ['pairs-seen', firstHalves], ['terms-weighed', firstHalves], ['pairs-seen', firstHalvesByKey],
      ['terms-weighed', firstHalvesByKey],
    ],
    parts: [['pairs-seen', ownTilesSeen], ['terms-weighed', ownTilesSeen]],
  },
  // dk and dv: rows after the tile of rows in which the last key of a tile of 16 keys ends are left out
  'dkv-end-by-last-key': {
    names: [], parts: [['lifetimes-other', /^all until last\(\) of the last token of its tile of 16$/]],
  },
};
