/**
 * Which answers are true of the eleventh set's mutants, put down from the author's words (eleventh/README.md) on 27
 * November 2026, before any verdict on the set was seen, by someone who knew the list of names and how reports speak,
 * and not the diagnosis. Names of the kinds from 8 are in eleventh-more-names.ts, those that the diagnosis learned
 * before the first verdict in eleventh-newer-names.ts, places in eleventh-places.ts.
 *
 * The rule is that of the eighth to the tenth set, for every kernel alike: would a reader who gets this name or place
 * be told the truth and be helped?
 * - A name counts if it is true of the cause (`names`). Where the name alone is too wide, only with a detail that is
 *   true; a detail that is false makes it false. No detail is '': cases that give different ones leave it out.
 * - A name that says a part of the cause counts if that part is true and leads to the line at fault (`parts`);
 *   `strictly` leaves them out.
 * - A name that describes a consequence, or that fits numbers of some cases and says what the kernel does not do, does
 *   not count, however near it is.
 * - A place counts if the author's words say it, in any wording that is true of them. A place that is true and much
 *   wider than the mistake does not, nor do the outputs.
 * @module
 */
import type { EighthAnswers } from './eighth-names.ts';
import { ELEVENTH_MORE_NAMES } from './eleventh-more-names.ts';
import { ELEVENTH_NEWER_NAMES } from './eleventh-newer-names.ts';
import { ELEVENTH_PLACES } from './eleventh-places.ts';
import type { Answers, TrueName } from './sixth-names.ts';
import type { Named } from './tenth-more-names.ts';

const FIRST_OF_GROUP = 'first query head of (the|each|a|its|their) group';
const OF_HEAD_0 = String.raw`(\bhead 0\b|first (KV )?head\b)`;
/** Hidden keys of one type count, without a claim that some do not or that the age does not matter. */
const thoughHidden = (type: string, never: string): TrueName =>
  ['terms-weighed', new RegExp(`^(?!.*(${never}|longer)).*${type} keys hidden .*though hidden`)];

/** Of the kinds 1 to 7, by id. */
const NAMES: Readonly<Record<string, Named>> = {
  // 1. roundings
  // lse is stored in bfloat16, and the backward reads it
  'lse-bf16': {
    names: [
      'stored-bf16', 'lse-bf16',
      ['intermediate-rounded', /^lse( of the forward)? to (bfloat16|8 bits)(?!.*(cut|for))/],
    ],
    parts: [['intermediate-rounded', /^lse to (bfloat16|8 bits),? for(?!.*cut)/]],
  },
  // k in e4m3, without a scale, in the cache; v is right
  'cache-k-e4m3': {
    names: [
      [
        'input-rounded',
        /^k( (in|of) the cache)? to (fp8 )?(e4m3|4 bits)(?!.*(cut|scaled|for (?!(cache_out|S|the cache)\b)))/,
      ],
      [
        'intermediate-rounded',
        /^k( (in|of) the cache)? to (fp8 )?(e4m3|4 bits)(?!.*(cut|scaled|for (?!(cache_out|S|the cache)\b)))/,
      ],
    ],
    parts: [['input-rounded', /^k( (in|of) the cache)?$/]],
  },
  // dk and dv of each query head in bfloat16, then summed in float32
  'dkv-heads-bf16': {
    names: [
      ['intermediate-rounded', /^d[kv]( and d[kv])? of (each|a|every) query head to (bfloat16|8 bits)(?!.*cut)/],
      ['intermediate-rounded', /^d[kv]( and d[kv])? to (bfloat16|8 bits),? before the sum over .*(group|heads)/],
    ],
    parts: [
      ['stored-bf16', /query head/],
      ['intermediate-rounded', /^d[kv]( and d[kv])? of (each|a|every) query head$/],
    ],
  },
  // 2. windows
  // windows end W C after their chunk, in lifetimes; dw is right
  'window-in-chunks': {
    names: [
      'window-in-chunks', ['window-other', /\bW (times )?C\b|\bC (times )?W\b|(in|W) (whole )?chunks\b(?!.*round)/],
    ],
    parts: [['window-other', /^$/], thoughHidden('WINDOW', 'LOCAL|GLOBAL')],
  },
  // the row i = last(j) of a WINDOW key of an earlier token, in the cache; eviction is right
  'window-by-cache-length': {
    names: [
      'window-short', ['window-other', /^W - 1\b/],
      ['terms-weighed', /^(earlier )?WINDOW keys (at the end of their life|W before the query).*left out/],
      ['pairs-hidden', /^(earlier )?WINDOW keys (at the end of their life|W before the query)/],
    ],
    parts: [
      'last-excluded', ['pairs-hidden', /^((earlier )?keys (at the end of their life|W before)|i - j = W$)/],
      ['terms-weighed', /^(earlier )?keys (at the end of their life|W before the query): left out/],
    ],
  },
  // WINDOW rows see what is within W, whatever its type; other rows see all WINDOW keys
  'window-by-query-type': {
    names: [
      ['types-moved', /\b(query|queries|rows?)\b(?!.*(tile|head|batch))/],
      ['window-other', /type of (the|its) (query|row)|where the (query|row) is|of (queries|rows) that are WINDOW/],
      ['ends-by-tile', /type of (the|its) (query|row)/], ['mask-ignored', /(queries|rows) that are not WINDOW/],
    ],
    parts: [
      ['window-forever', /(queries|rows) that are not WINDOW/],
      ['pairs-hidden', /(more than|beyond) W.*((queries|rows) that are WINDOW|WINDOW (queries|rows))/],
      ['pairs-seen', /WINDOW keys.*(queries|rows) that are not WINDOW/],
      ['terms-weighed', /WINDOW keys.*(queries|rows) that are not WINDOW.*though hidden/],
    ],
  },
  // 3. the closing of LOCAL
  // LOCAL closed by the next GLOBAL of any KV head of the sequence, in lifetimes; dl and dg are right
  'local-by-any-head': {
    names: [
      ['local-by-neighbour', /^$|(any|all|(an)?other|either) (of )?(the )?(KV )?heads?\b/],
      ['local-other', /(any|all|(an)?other|either|neighbouring) (of )?(the )?KV heads?\b/],
    ],
    parts: [['local-other', /^$/]],
  },
  // LOCAL that no GLOBAL follows ends at the first GLOBAL of the KV head after
  'local-scan-not-reset': {
    names: [
      ['local-by-neighbour', /of the next (KV )?head|(KV )?head (after|behind)|next GLOBAL of a later/],
      ['local-other', /(next|later) KV head|KV head (after|behind)|head after|not reset|carried/],
    ],
    parts: [
      ['local-by-neighbour', /^$/], ['local-other', /^$|no GLOBAL (closes|follows)/],
      ['pairs-hidden', /LOCAL keys that no GLOBAL (closes|follows)/],
      ['terms-weighed', /LOCAL keys that no GLOBAL (closes|follows).*left out/],
    ],
  },
  // LOCAL is never closed in the kernel of dk and dv; windows end rightly
  'local-open-dkv': {
    names: [
      ['local-never', /^(?!.*(forward|dq|dM|cache))/], ['local-other', /\bnever\b/],
      ['pairs-seen', /^(hidden |earlier |closed )*LOCAL keys(, though hidden)?$/],
      ['terms-weighed', /^(hidden |earlier |closed )*LOCAL keys,? though hidden(?!.*times)/],
      ['terms-weighed', /^(?!.*(WINDOW|GLOBAL|times)).*LOCAL keys hidden longer.*though hidden/],
      ['backward-unmasked', /of LOCAL|LOCAL (keys|tokens) (alone|only)/],
      ['mask-ignored', /of LOCAL|LOCAL (keys|tokens) (alone|only)/],
    ],
    parts: [['local-other', /^$/], thoughHidden('LOCAL', 'WINDOW|GLOBAL|times')],
  },
  // 4. groups
  // dv = the sum over the group of P^T times dout of its first query head
  'dv-dout-of-first-head': {
    names: [
      ['input-misread', new RegExp(String.raw`^dout\b(?! and)(?!.*for (dP|D|S|d[qk]|dM)\b).*${FIRST_OF_GROUP}`)],
      ['other-tensor', new RegExp(`dout.*${FIRST_OF_GROUP}`)],
    ],
    parts: [['input-misread', /^dout: (query )?head 0\b(?!.*for (dP|D|S|d[qk]|dM)\b)/]],
  },
  // dS for dk with D of the first query head of the group
  'dk-d-of-first-head': {
    names: [
      ['intermediate-misread', new RegExp(String.raw`^D\b(?! and)(?!.*for (d[qv]|dM)\b).*${FIRST_OF_GROUP}`)],
      ['terms-weighed', new RegExp(String.raw`^D\b(?!.*for (d[qv]|dM)\b).*${FIRST_OF_GROUP}`)],
    ],
    parts: [['intermediate-misread', /^$|^D of (query )?head 0\b(?!.*for (d[qv]|dM)\b)/]],
  },
  // out from v of KV head h mod G; k and the backward are right
  'v-repeated-forward': {
    names: [
      ['input-misread', /^v\b(?! and)(?!.*for (dP|d[qkv]|D|cache_out)\b).*(h mod G|h % G|KV heads 0, 1\b)/],
      ['gqa-modulo', /^(of |for )?v\b(?! and)/], ['gqa-modulo', /\bv alone\b/],
      ['kv-other', /^(?=.*\bv\b)(?!.*\bk\b).*(h mod G|KV heads 0, 1\b)/],
    ],
  },
  // dM is the mean over the group
  'dm-group-mean': {
    names: [
      'group-mean', ['factor', /^$|1 \/ (the query heads of a group|R\b)|^0\.\d+$/],
      ['group-other', /\bmean\b|1 \/ (the query heads|R\b)|\b0\.\d+ (times|of)|times 0\.\d+/],
      ['dm-rows-other', /mean over .*(group|query heads)|1 \/ (the query heads|R\b)/],
      ['dm-other', /mean over .*(group|query heads)|1 \/ (the query heads|R\b)/],
      ['row-weight', /^(dM|dm_rows of each key) times 1 \/ the query heads of a group/],
      ['terms-weighed', /^(all (terms|pairs|rows|keys)|every (term|pair)):? times 0\.\d+$/],
    ],
    parts: [['dm-rows-other', /^$/]],
  },
  // 5. inputs of another batch or head
  // last of the same KV head of batch 0, in training
  'lifetimes-of-batch-0': {
    names: [
      'types-of-first-batch', ['types-moved', /^$|^(?!of batch 0\b).*\bbatch 0\b|first (batch|sequence)/],
    ],
  },
  // dq from k of KV head 0; S and dk are right
  'dq-k-of-head-0': {
    names: [
      ['input-misread', new RegExp(String.raw`^k\b(?! and)(?!.*for (S|dP|D|d[kv]|dM|out)\b).*${OF_HEAD_0}`)],
      ['other-tensor', new RegExp(String.raw`^k of (KV )?${OF_HEAD_0}.*dq`)],
      ['kv-first', /^(of |for )?k\b(?! and)/], ['kv-other', /^(?=.*\bk\b)(?!.*\bv\b).*KV heads? 0\b/],
    ],
    parts: [['kv-first', /^(for dq( alone)?)?$/], ['kv-other', /^$|^(every |all )?query heads? .*KV head 0( |,|$)/]],
  },
  // dl and dg by the types of KV head 0; the mask and dw are right
  'type-grads-types-of-head-0': {
    names: [
      ['types-of-first-head', /\b(dl|dg|gradients?|sums?)\b/], ['types-moved', new RegExp(OF_HEAD_0)],
      ['input-misread', new RegExp(String.raw`^types\b(?! and).*${OF_HEAD_0}`)],
      ['dl-rows-other', new RegExp(OF_HEAD_0)], ['dg-charge-other', new RegExp(OF_HEAD_0)],
    ],
    parts: [
      ['types-of-first-head', /^$/], ['types-moved', /^$/], ['dl-rows-other', /^$/], ['dg-charge-other', /^$/],
      ['local-by-neighbour', /^of KV head 0\b/],
    ],
  },
  // 6. base and scale
  // alpha = e^((m_old - m_new) log2(e)): earlier tiles of 16 are rescaled too much
  'alpha-base-e': {
    names: [
      ['exp2-rescaling', /\be\^.*(log2\(e\)|base 2|1\.44)|(log2\(e\)|base 2|1\.44).*\be\^|too (small|much)/],
      ['online-stale', /(log2\(e\)|base 2).*(rescal|\be\^)|(rescal|\be\^).*(log2\(e\)|base 2|1\.44)/],
      ['scale-off', /(rescal|maximum (rises|grows)).*(log2\(e\)|1\.44)/],
      ['scale-off', /(log2\(e\)|1\.44).*(rescal|maximum (rises|grows))/],
      ['splits-merged', /tiles? of 16.*(log2\(e\)|base 2|1\.44)/],
      ['terms-weighed', /rescal.*(log2\(e\)|1\.44|base 2)/],
    ],
    parts: [['terms-weighed', /maximum (rises|grows).*(less than once|too small)/]],
  },
  // dk times log2(e)
  'dk-in-base-2': {
    names: [
      ['factor', /^$|^(log2\(e\)|1 \/ ln 2|1\.44\d*)$|^scale log2\(e\) in the place of/],
      ['row-weight', /^dk of each key times (log2\(e\)|1 \/ ln 2|1\.44\d*)/],
      ['input-misread', /^q\b(?! and)(?!.*for (S|dP|d[qv])\b).*(log2\(e\)|1\.44)/],
      ['input-rounded', /^q times (log2\(e\)|1\.44\d*)$/],
      ['terms-weighed', /^(all|every|each|dS)\b.*times (1\.44\d*|log2\(e\))/],
    ],
    parts: [['factor', /^log2\(e\) \/ sqrt\(d\) in the place of the scale$/]],
  },
  // P = e^(scale S - lse), S with the scale, for dq, dk and dv
  'backward-scaled-twice': {
    names: [
      ['scale-twice', /^(?!.*(dM|\bnu\b|forward))/],
      ['scale-off', /^(?!.*(dM|\bnu\b|forward|lse times))(S times )?((the )?scale|[\d.]+|1 \/ sqrt\(d\))(,|$)/],
      ['scale-off', /^$|^in the backward$|^(?!.*dM).*scale squared in the place of the scale/],
      ['input-misread', /^[qk] times the scale,? (for|in) (S|q \. k)\b/],
    ],
    parts: [['scale-off', /^1 \/ (sqrt\(d\) after|d in the place of) the scale(, in the backward)?$/]],
  },
  // 7. lse and the maximum
  // lse = log(the sum of e^(lse_s - the largest lse_s)) over splits of 32
  'lse-merge-no-max': {
    names: [
      ['lse-no-max', /split|merge|\b32\b/], ['lse-max-other', /(split|merge).*\b(0|no|without|left out)\b/],
      ['splits-merged', /lse.*(without|no|less|minus|left out).*(maximum|largest)/],
      ['lse-sum-other', /(split|\b32\b).*(less|minus|without|relative to|over) (the|their) (largest|maximum)/],
    ],
    parts: [['lse-no-max', /^$/], ['lse-max-other', /^(0|)$/]],
  },
  // the running maximum starts at 0
  'max-starts-at-0': {
    names: [
      ['max-missing', /(starts?|initialised) (at|with) 0|at least 0|never below 0/],
      ['online-stale', /(starts?|initialised) (at|with) 0|at least 0|never below 0/],
      ['max-causal', /(starts?|initialised) (at|with) 0|at least 0|never below 0/],
    ],
    parts: [['max-missing', /^$|scores are all (negative|below)/]],
  },
  // lse = nu, of all keys up to the query
  'lse-is-nu': {
    names: [
      ['lse-sum-other', /^$|(all|causal) keys up to the query|hidden (ones|keys)(?! left out)|\bnu\b/],
      ['other-tensor', /\bnu in the place of lse|lse holds nu\b/], ['intermediate-misread', /\bnu in the place of lse/],
      ['mask-ignored', /\blse\b( alone)?$/], ['normalised-by-all', /\blse\b/],
    ],
    parts: [
      ['normalised-by-all', /^(in the backward)?$/], ['row-weight', /\bnu\b/],
      ['normaliser-other', /\bnu\b|hidden ones|all keys up to the query/],
    ],
  },
};

/** By id. */
export const ELEVENTH_ANSWERS: Readonly<Record<string, EighthAnswers>> = Object.fromEntries(
  Object.entries({ ...NAMES, ...ELEVENTH_MORE_NAMES })
    .map(([id, { names, parts = [] }]) => {
      const { names: newer = [], parts: newerParts = [] } = ELEVENTH_NEWER_NAMES[id] ?? {};
      const places = ELEVENTH_PLACES[id];
      return [id, { names: [...names, ...newer], parts: [...parts, ...newerParts], ...(places && { places }) }];
    }),
);

/** By id, the true names that the diagnosis has learned since the first meeting, which the page of it leaves out. */
export const LATER_ANSWERS: Readonly<Partial<Record<string, readonly TrueName[]>>> = {};

/** All answers that are true of a mutant. */
export function answersOf(id: string): Answers {
  const { names, parts = [], places } = ELEVENTH_ANSWERS[id];
  return { names: [...names, ...parts, ...LATER_ANSWERS[id] ?? []], ...(places && { places }) };
}

/** The answers without names that say a part of the cause alone. */
export function strictly(id: string): Answers {
  const { names, places } = ELEVENTH_ANSWERS[id];
  return { names, ...(places && { places }) };
}
