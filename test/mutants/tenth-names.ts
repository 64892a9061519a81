/**
 * Which answers are true of the tenth set's mutants, put down from the author's words (tenth/README.md) on 27 November
 * 2026, before any verdict on the set was seen, by someone who knew the list of names and how reports speak, and not
 * the diagnosis. Names of the kinds from 8 are in tenth-more-names.ts, places in tenth-places.ts.
 *
 * The rule is that of the eighth and the ninth set, for every kernel alike: would a reader who gets this name or place
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
import type { Answers, TrueName } from './sixth-names.ts';
import { type Named, TENTH_MORE_NAMES } from './tenth-more-names.ts';
import { TENTH_PLACES } from './tenth-places.ts';

const OF_BATCH_0 = 'batch 0|first (batch|sequence)';
/** LOCAL keys count after their end, and other keys do not. */
const localThoughHidden = (never: string): TrueName =>
  ['terms-weighed', new RegExp(String.raw`^(?!.*(${never})).*LOCAL keys hidden .*though hidden`)];

/** Of the kinds 1 to 7, by id. */
const NAMES: Readonly<Record<string, Named>> = {
  // 1. roundings
  // dP = dout v^T in bfloat16, before D is subtracted, for dq and dk
  'dp-bf16': {
    names: [['intermediate-rounded', /^(dP|P')( = dout v)? to (bfloat16|8 bits)(?!.*(cut|for dM))/]],
    parts: [['intermediate-rounded', /^(dP|P')( = dout v)?$/]],
  },
  // scale log2(e) q in float16, for everything that reads q
  'q-scaled-f16': {
    names: [
      ['q-scaled-f16', /^(?!.*(cut|backward|alone))/],
      ['intermediate-rounded', /^(scale( log2\(e\))? q|q times (the )?scale( log2\(e\))?) to (float16|11 bits)$/],
      ['input-rounded', /^q,? (times (the )?scale|scaled)\b.* to (float16|11 bits)$/],
    ],
    parts: [
      ['q-scaled-f16', /^(?!.*cut).*(backward|alone)/],
      ['intermediate-rounded', /^(scale( log2\(e\))? q|q times (the )?scale( log2\(e\))?) to (float16|11 bits), for/],
    ],
  },
  // P in float16 in P^T dout, which makes dv
  'p-f16-dv': {
    names: [
      ['probabilities-f16', /^(?!.*(cut|tiles|maximum|forward|dq|dk|dM))/],
      ['probabilities-bits', /^(?!.*(cut|tiles|maximum|forward|dq|dk|dM)).*(\b11 bits|\bfloat16)/],
      ['intermediate-rounded', /^[PA] to (float16|11 bits)(?!.*(cut|dq|dk|dM))/],
    ],
    parts: [['probabilities-tf32', /^(?!.*(cut|tiles|maximum|forward|dq|dk|dM))/]],
  },
  // 2. windows
  // i - j < W in the forward; the backward is right
  'window-strict-forward': {
    names: [
      ['window-short', /^(?!.*backward)/], ['window-other', /^W - 1\b(?!.*backward)/],
      ['terms-weighed', /^(earlier )?WINDOW keys (at the end of their life|W before the query).*left out/],
      ['pairs-hidden', /^(earlier )?WINDOW keys (at the end of their life|W before the query)/],
    ],
    parts: [
      ['last-excluded', /^(?!.*backward)/], ['pairs-hidden', /^(keys (at the end of their life|W before)|i - j = W$)/],
      ['terms-weighed', /^keys (at the end of their life|W before the query): left out/],
    ],
  },
  // W / 2 for W, in everything
  'window-halved': {
    names: [['window-other', /^$|\bW \/ 2\b|\bhalf\b|\bhalved\b/]],
    parts: [['dw-rows-other', /^up to (half the window|W \/ 2)/], ['dw-rows-other', /^in [^:]*: .*(half the|W \/ 2)/]],
  },
  // LOCAL keys end W after their chunk too, in training
  'window-bounds-local': {
    names: [
      ['local-other', /^(?!.*late).*((own|its|their|the) window\b|within W\b|W .*after (its|the|their) (own )?chunk)/],
      ['pairs-hidden', /^LOCAL keys.*(more than W|(beyond|past) (W|the window|their window)|W \+ 1 or more)/],
      ['terms-weighed', /^(earlier )?LOCAL keys.*(more than W|beyond (W|the window|their window)).*left out/],
    ],
  },
  // 3. the closing of LOCAL
  // LOCAL closed by the first GLOBAL of a later block of 16 chunks, never by one of its own
  'local-scan-exclusive': {
    names: [
      ['local-other', /^(?!.*\b(early|late)\b).*\b(later|next|another|other) (block|tile)s?\b(?!.* of (?!16\b)\d)/],
      ['local-other', /^not .*(its|the|their)? ?(own|same) (block|tile)\b(?!.* of (?!16\b)\d)/],
      ['closes-some', /^(those |LOCALs? )?(of|in) (earlier|other) blocks?/],
    ],
    parts: [
      ['local-other', /^$/], ['global-missed', /^$|block/], ['closes-some', /^$/], localThoughHidden('WINDOW|GLOBAL'),
    ],
  },
  // LOCAL ends W after the end of the chunk that closes it
  'local-plus-window': {
    names: [
      ['local-other', /^$|(\bW\b|the window\b).*(late|after|longer)|(late|after|longer).*(\bW\b|the window\b)|\+ W\b/],
    ],
    parts: [['local-other', /^\d+ tokens late$/], localThoughHidden('WINDOW|GLOBAL|longer')],
  },
  // i < last(j) for LOCAL keys in the kernel of dk and dv
  'local-strict-dkv': {
    names: [
      'local-early', ['local-other', /^(1|one) tokens? early$/],
      ['terms-weighed', /^(earlier )?LOCAL keys at the end of their life.*left out/],
      ['pairs-hidden', /^(earlier )?LOCAL keys at the end of their life/],
    ],
    parts: [
      'last-excluded', ['local-other', /^$/], ['terms-weighed', /^keys at the end of their life: left out/],
      ['pairs-hidden', /^keys at the end of their life/],
    ],
  },
  // 4. groups
  // q of the first query head of the group, in the forward: out and lse are those of that head
  'q-of-first-head-forward': {
    names: [['input-misread', /^q\b(?! and)(?!.*(in the product|for dP|for D\b|for d[qkv]\b)).*first query head of/]],
    parts: [
      ['input-misread', /^q: (query )?head 0(?!.*(in the product|for dP|for D\b|for d[qkv]\b))/],
      ['rows-moved', /all query heads of a group hold its first$|every query head holds query head 0$/],
      ['rows-moved', /^(query head 0 holds query head 0; )?(query )?head 1 holds (query )?head 0\b/],
    ],
  },
  // the accumulator of dq is not cleared between the query heads of a group
  'dq-carried-in-group': {
    names: [
      ['group-other', /query heads? .*before|before .*query heads?|not cleared|carried/],
      ['other-tensor', /head.*before.*added|added.*head.*before/],
      ['rows-moved', /sums?\b.*heads? .*before|heads? .*before.*\b(sum|add)/],
      ['terms-weighed', /(query )?heads? .*before.*(added|count)/],
    ],
  },
  // dm_rows of the last query head of a group alone
  'dm-rows-last-head': {
    names: [
      'group-last', ['group-other', /^$|^the last of each group/],
      ['group-other', /^KV head 0 sums query heads? [1-9]\d*(?!\d|, \d)/], ['dm-rows-other', /last query head/],
      ['terms-weighed', /^all query heads but the last( of each group)?: left out/],
    ],
    parts: [['dm-rows-other', /^$/]],
  },
  // dk and dv of query head h are added to KV head h mod G
  'dkv-to-head-mod': {
    names: ['group-modulo', ['group-other', /^$|h mod G|^KV head 0 sums query heads? 0, [2-9]/]],
  },
  // 5. inputs of another batch or head
  // q of batch 0 in dS^T q, which makes dk
  'dk-q-of-batch-0': {
    names: [
      ['input-misread', new RegExp(String.raw`^q\b(?! and)(?!.*(for S|for dP|for D\b|d[qv]\b)).*(${OF_BATCH_0})`)],
    ],
  },
  // lse of batch 0 in the backward of q, k and v
  'lse-of-batch-0-backward': {
    names: [['intermediate-misread', new RegExp(String.raw`^lse\b.*(${OF_BATCH_0})`)]],
    parts: [
      ['intermediate-misread', /^$/], 'row-factor', ['row-weight', new RegExp(`^(in the backward)?$|${OF_BATCH_0}`)],
      ['normaliser-other', new RegExp(`^(in the backward)?$|${OF_BATCH_0}`)],
    ],
  },
  // v of KV head 0 in the cache; k is right
  'cache-v-of-head-0': {
    names: [
      ['input-misread', /^v\b(?! and)(?!.*for (?!cache_out)).*(\bhead 0\b|first KV head)/],
      ['kv-first', /^(of )?v\b(?! and)/], ['kv-other', /^v\b(?! and).*KV heads? 0\b/],
    ],
  },
  // 6. base and scale
  // S times log2(e) in e^x, in the cache
  'cache-log2e-exp': {
    names: [
      ['scale-off', /^$|^(S times )?(log2\(e\)|1 \/ ln 2)(?! squared)|^1\.44\d*$|^scale log2\(e\) in the place of/],
    ],
    parts: [['exp-function', /^(?!.*x\^2)/]],
  },
  // 1 / sqrt(H d) for the scale, everywhere
  'scale-of-width': {
    names: [['scale-off', /^$|^[\d.]+$|sqrt\(H d\)|1 \/ (sqrt\(H\)|(the )?root of (H$|the query heads$))|\bwidth\b/]],
    parts: [['scale-off', /^1 \/ sqrt\(\d+\) in the place of the scale$/], ['factor', /sqrt\(H d\)|1 \/ sqrt\(H\)/]],
  },
  // 2^(S - n) for e^(S - n) in the weights of dM
  'dm-exp2': {
    names: [['exp2-weights', /^(?!.*(backward|diagonal|tiles))/], ['dm-other', /2\^|exp2|ln 2/]],
    parts: [['exp-function', /^(?!.*x\^2)/]],
  },
  // 7. lse and the maximum
  // lse = the maximum of the last tile of 16 keys + ln Z
  'lse-tile-maximum': {
    names: [
      ['lse-max-other', /^$|(last|own) (visible )?tile of (16\b|keys)|tile of (16 )?keys on the diagonal/],
    ],
  },
  // lse = m - ln Z
  'lse-minus-log': {
    names: [
      ['lse-sum-other', /^$|^(-|minus )(ln|log) ?\(?Z|(ln|log) ?\(?1 \/ Z|(ln|log) ?\(?Z\)?.*(other sign|subtracted)/],
      ['sign', /\b(ln|log)\b/],
    ],
  },
  // the maximum of a whole tile of 16 rows, all of its keys, for each of its rows
  'max-of-row-tile': {
    names: [
      ['max-causal', /\brows\b|tile of 16/], ['max-missing', /the maximum .*(rows|tile of 16)/],
      ['online-stale', /the maximum .*of (its|the|their) tile of 16 rows/],
    ],
  },
};

/** By id. */
export const TENTH_ANSWERS: Readonly<Record<string, EighthAnswers>> = Object.fromEntries(
  Object.entries({ ...NAMES, ...TENTH_MORE_NAMES })
    .map(([id, each]) => [id, { ...each, ...(TENTH_PLACES[id] && { places: TENTH_PLACES[id] }) }]),
);

/** By id, the true names that the diagnosis has learned since the first meeting, which the page of it leaves out. */
export const LATER_ANSWERS: Readonly<Partial<Record<string, readonly TrueName[]>>> = {
  'key-tiles-rounded-down': [['pairs-hidden', /^tiles of (16|32) on the diagonal/]],
  'dkv-start-rounded-up': [['terms-weighed', /^tiles of 16 on the diagonal/]],
  'local-plus-window': [['lifetimes-other', /^LOCAL until the end of the next GLOBAL plus W$/]],
  'local-scan-exclusive': [['lifetimes-other', /^LOCAL until the end of the first GLOBAL of a later block of 16 chunks$/]],
  'window-bounds-local': [['lifetimes-other', /^LOCAL until (the earlier of what is right and )?the end of its window$/]],
  'lifetimes-by-key-pair': [['lifetimes-other', /last\(\) of the first token of its pair of tokens/]],
  'dm-rows-carried': [['rows-carried', /^what was written at the row before is added/]],
  'dq-carried-in-group': [['rows-carried', /^what was written at the (query )?head before/]],
  'decode-own-key-twice': [['terms-weighed', /in (later )?steps of one token.*: times 2/]],
};

/** All answers that are true of a mutant. */
export function answersOf(id: string): Answers {
  const { names, parts = [], places } = TENTH_ANSWERS[id];
  return { names: [...names, ...parts, ...LATER_ANSWERS[id] ?? []], ...(places && { places }) };
}

/** The answers without names that say a part of the cause alone. */
export function strictly(id: string): Answers {
  const { names, places } = TENTH_ANSWERS[id];
  return { names, ...(places && { places }) };
}
