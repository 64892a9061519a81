/**
 * The cases of `natsearch vectors`, each meant to catch mistakes that kernels make.
 * @module
 */
import { PAIRWISE } from './pairwise.ts';
import type { Recipe, ScoredTypes } from './recipes.ts';

/**
 * `small` runs in seconds and ships with the package; `tiles` has the sizes that kernels for GPUs take, `fp8` some of
 * them with inputs that are exact in both fp8 formats; `full` adds to
 * `small` sizes that span many tiles.
 */
export type SuiteName = 'small' | 'tiles' | 'fp8' | 'full';

const TRAINING: ScoredTypes = { scores: 'spread', noise: true, forced: 'ends' };
const INFERENCE: ScoredTypes = { scores: 'spread', noise: false, forced: 'first' };
const SMALL = { queryHeads: 2, kvHeads: 1, tokens: 21, headDim: 4, window: 4, types: TRAINING } as const;

type Changes = Partial<Omit<Recipe, 'name' | 'why'>>;
const recipe = (name: string, why: string, changes: Changes): Recipe => ({ name, why, ...SMALL, ...changes });

/** Steps of `size` tokens, then the rest. */
const every = (size: number, tokens: number): number[] =>
  Array.from({ length: Math.ceil(tokens / size) }, (_, r) => Math.min(size, tokens - r * size));
/** A prefill, then one token at a time. */
const decode = (prefill: number, tokens: number): number[] => [prefill, ...every(1, tokens - prefill)];
const given = (...pattern: string[]): Changes => ({ types: { pattern } });
/** `letters` repeated, but GLOBAL at the positions `at`. */
const withGlobals = (letters: string, tokens: number, at: readonly number[]): string =>
  Array.from({ length: tokens }, (_, j) => (at.includes(j) ? 'G' : letters[j % letters.length])).join('');

const SIZES: readonly Recipe[] = [
  recipe('one-token', 'a row that sees itself alone: Z = 1, no gradient to q and k', { tokens: 1, steps: [1] }),
  recipe('odd-3', 'loops that take two queries or keys at a time', { tokens: 3, steps: [2, 1] }),
  recipe('odd-31', 'vector loads that run past N', { tokens: 31, headDim: 3, steps: every(4, 31) }),
  ...[63, 64, 65, 127, 129, 257].map((tokens) => recipe(
    `tile-${tokens}`, 'the last tile: off-by-one bounds, keys beyond N that count, a tile skipped too eagerly',
    { tokens, headDim: tokens < 200 ? 8 : 4, window: 16, rule: tokens % 3 === 0 ? 'exact' : 'bounded',
      steps: every(64, tokens) },
  )),
  recipe('tile-edges', 'GLOBAL tokens on both sides of tile edges, and a window of one tile: block skipping', {
    tokens: 130, window: 32, ...given(withGlobals('LLW', 130, [0, 15, 16, 31, 32, 63, 64, 127, 128])),
    steps: every(32, 130),
  }),
  recipe('head-1', 'a head of one number: padding of d', { headDim: 1 }),
  recipe('head-5', 'd no multiple of a vector: what is read beyond it', { headDim: 5, scale: 0.5 }),
  recipe('head-64', 'd of real models: several accumulators a row', { tokens: 17, headDim: 64, steps: every(9, 17) }),
  recipe('head-128', 'd of real models', { tokens: 9, headDim: 128 }),
];

const HEADS: readonly Recipe[] = [
  recipe('group-1', 'one query head a KV head: types must differ by head', { queryHeads: 3, kvHeads: 3, steps: every(8, 21) }),
  recipe('group-3', 'query head h reads KV head floor(h / 3), not h mod G; dk, dv, dg, dl, dw sum over the group', {
    queryHeads: 6, kvHeads: 2, tokens: 33, steps: every(16, 33),
  }),
  recipe('group-8', 'eight query heads on one KV head: all of them in the sums', { queryHeads: 8, tokens: 19, steps: every(7, 19) }),
  recipe('batch', 'strides of batch and head: one sequence must not read the next', {
    batch: 3, queryHeads: 4, kvHeads: 2, tokens: 17, steps: decode(12, 17),
  }),
];

const WINDOWS: readonly Recipe[] = [
  recipe('window-0', 'a WINDOW token that only its own query sees', { window: 0, ...given('GWWLWWW'), steps: decode(9, 21) }),
  recipe('window-1', 'W off by one: the query at j + W still sees j', { window: 1, ...given('GWWLWWW'), steps: decode(9, 21) }),
  recipe('window-mixed', 'windows that end inside, at and after the next GLOBAL', {
    tokens: 33, window: 7, ...given('GWLWWLW', 'WWLGWWW'), kvHeads: 2, rule: 'exact', steps: decode(20, 33),
  }),
  recipe('window-beyond', 'W > N: nothing leaves, and j + W lies past the end', { window: 50, ...given('WWL'), steps: decode(9, 21) }),
  recipe('window-34', 'a window above 32 that ends inside: one cut to the size of a tile', {
    queryHeads: 4, kvHeads: 2, tokens: 70, window: 34, ...given('GWWLWWWW', 'WWLGWWW'), steps: every(16, 70),
  }),
  recipe('window-70', 'a window above 64 that ends inside, and is no multiple of a tile', {
    queryHeads: 2, kvHeads: 2, tokens: 150, window: 70, ...given('GWWWW', 'WWLW'), rule: 'exact', steps: every(64, 150),
  }),
  recipe('window-scored', 'dw sums j..j+W and no further, for every type of token', { tokens: 29, window: 3, rule: 'exact' }),
];

const CHUNKS: readonly Recipe[] = [
  recipe('chunk-2', 'LOCAL ends with the last token of the closing chunk, not its first', {
    chunk: 2, ...given('LLGLWGWL'), rule: 'exact', steps: every(1, 21),
  }),
  recipe('chunk-4', 'an unfinished last chunk: GLOBAL whatever its scores, and its gradient', {
    tokens: 18, chunk: 4, types: { scores: 'spread', noise: true, forced: 'first' }, steps: [6, 1, 1, 1, 5, 4],
  }),
  recipe('chunk-whole', 'N a multiple of C: the last chunk is full and keeps its type', {
    tokens: 20, chunk: 5, ...given('GLWL'), steps: every(3, 20),
  }),
  recipe('chunk-window', 'W counts from the end of the chunk, not from the token', {
    tokens: 40, chunk: 16, window: 3, ...given('GWW', 'WLG'), kvHeads: 2, steps: every(6, 40),
  }),
  recipe('chunk-beyond', 'C > N: one chunk, never full', { tokens: 9, chunk: 32, ...given('W'), steps: every(2, 9) }),
];

const TYPES: readonly Recipe[] = [
  recipe('all-global', 'plain causal attention: the causal mask, scale, softmax', { ...given('G'), steps: decode(7, 21) }),
  recipe('all-local', 'no GLOBAL ever comes: nothing closes LOCAL, not even LOCAL', { ...given('L'), steps: decode(7, 21) }),
  recipe('all-window', 'plain sliding window: W + 1 keys a row', { ...given('W'), steps: decode(7, 21) }),
  recipe('global-first', 'a GLOBAL at 0 closes nothing after it', { ...given(withGlobals('LLW', 21, [0])), steps: decode(7, 21) }),
  recipe('global-last', 'the last query closes every LOCAL and still sees them all', {
    ...given(withGlobals('LLW', 21, [20])), rule: 'exact', steps: every(5, 21),
  }),
  recipe('global-adjacent', 'GLOBAL next to GLOBAL: only the first closes; a GLOBAL outlives the next', {
    ...given(withGlobals('LLW', 21, [0, 6, 7, 8, 14, 15])), rule: 'exact', steps: every(7, 21),
  }),
  recipe('global-absent', 'LOCAL and WINDOW alone, the first token too', { ...given('LWWLL', 'WLL'), kvHeads: 2, steps: decode(7, 21) }),
  recipe('inference', 'types without noise; the last token is not forced', { types: INFERENCE, steps: decode(7, 21) }),
  recipe('unforced', 'nothing is forced: the first token may be LOCAL or WINDOW', { types: { scores: 'spread', noise: true } }),
  recipe('tied', 'equal scores: the lowest index wins', { tokens: 33, types: { scores: 'tied', noise: false } }),
  recipe('near-tied', 'scores apart whose float32 probabilities are equal: argmax of scores, not of probabilities', {
    tokens: 33, temperature: 4096, types: { scores: 'near', noise: false },
  }),
  recipe('temperature-2', 'dscores divides by tau once; tau moves no type', { temperature: 2 }),
  recipe('temperature-half', 'tau < 1, noise inside the softmax', { temperature: 0.5, kvHeads: 2, rule: 'exact' }),
  recipe('price', 'the price enters dscores for all three types, with (g, l, w) of section 7', { price: 2 ** -4, queryHeads: 4, kvHeads: 2 }),
  recipe('price-chunks', 'the price of a chunk is that of its tokens, an unfinished one included', {
    price: 2 ** -6, tokens: 22, chunk: 4, types: { scores: 'spread', noise: true, forced: 'first' }, rule: 'exact',
  }),
];

const LOGITS: readonly Recipe[] = [
  recipe('flat', 'every visible key weighs the same: lse = log(count), out = mean', { tokens: 33, logits: 'flat', steps: decode(20, 33) }),
  recipe('one-sign-keys', 'sums of 320 terms of one sign: out, dv and dk summed in 16 bits stop growing', {
    tokens: 320, headDim: 2, logits: 'equal-keys', scale: 1, ...given('G'),
  }),
  recipe('one-sign-queries', 'sums of 320 terms of one sign: dq summed in 16 bits stops growing', {
    tokens: 320, headDim: 2, logits: 'equal-queries', scale: 1, ...given('G'),
  }),
  recipe('sharp', 'few keys carry a row: rescaling in the online softmax', { tokens: 70, logits: 'sharp', steps: every(32, 70) }),
  recipe('rising', 'each tile has a new maximum: one that is stale overflows', { tokens: 70, scale: 1, logits: 'rising', steps: every(32, 70) }),
  recipe('falling', 'hidden keys lie 128 above the visible: a maximum over all causal keys underflows the row', {
    tokens: 70, scale: 1, logits: 'falling', ...given('W'), steps: every(32, 70),
  }),
  recipe('large', 'scores of 1e4: softmax without its maximum, and -1e4 instead of a mask', { tokens: 33, scale: 0.5, logits: 'large' }),
  recipe('close', 'scores at 1e4 and -1e4 that differ by 1e-3: products in less than float32', {
    queryHeads: 4, kvHeads: 2, tokens: 33, scale: 1, logits: 'close', steps: every(16, 33),
  }),
  recipe('scale', 'scale is not 1 / sqrt(d): it multiplies once, dq and dk too', { scale: 0.125 }),
  recipe('rule-exact', 'n is lse: hidden keys may weigh more than 1 in dM', {
    draws: 'rule', rule: 'exact', tokens: 33, scale: 0.25, logits: 'sharp', ...given('GWLWWLWW'),
  }),
  recipe('rule-bounded', 'n is the log-sum-exp over all causal keys; out, dq, dk, dv are those of rule-exact', {
    draws: 'rule', rule: 'bounded', tokens: 33, scale: 0.25, logits: 'sharp', ...given('GWLWWLWW'),
  }),
];

const HIDDEN = { batch: 2, queryHeads: 4, kvHeads: 2, tokens: 70, window: 3, ...given(withGlobals('WWLW', 70, [0, 9, 40])) };
const CACHES: readonly Recipe[] = [
  recipe('hidden-nan', 'NaN in keys and values that later queries must not read, as 0 * NaN would', {
    ...HIDDEN, poison: { with: 'nan', positions: [1, 5, 30, 38] }, steps: every(10, 70),
  }),
  recipe('hidden-infinity', 'infinities in hidden keys and values: inf - inf, 0 * inf', {
    ...HIDDEN, poison: { with: 'infinity', positions: [1, 5, 30, 38] }, steps: every(10, 70),
  }),
  recipe('prefill-cuts-segment', 'steps that end inside a LOCAL segment, before its GLOBAL, and with it', {
    tokens: 30, ...given(withGlobals('LLLW', 30, [0, 12, 20])), steps: [5, 3, 4, 1, 7, 1, 9],
  }),
  recipe('prefill-cuts-window', 'steps that end inside a window, at j + W, and after it', {
    tokens: 30, window: 6, ...given('GWWWWLWWWW'), steps: [3, 4, 1, 6, 7, 9],
  }),
  recipe('prefill-cuts-chunk', 'steps that end inside a chunk: its type counts only once it is full', {
    tokens: 30, chunk: 4, ...given('GLWLGWLW'), steps: [3, 1, 1, 5, 4, 7, 2, 7],
  }),
  recipe('prefill-at-once', 'one step for everything: entries may be dropped only after it has attended', {
    tokens: 30, ...given('GLLWWG'), steps: [30],
  }),
  recipe('ragged', 'heads that keep all, one, and some entries: no padding to the longest', {
    queryHeads: 4, kvHeads: 4, tokens: 65, window: 0, ...given('G', 'W', 'L', withGlobals('LWL', 65, [0, 20, 50])),
    headDim: 2, steps: decode(33, 65),
  }),
  recipe('forgets', 'memory follows what is alive: neither the context nor the longest head', {
    queryHeads: 3, kvHeads: 3, tokens: 300, headDim: 4, window: 5,
    ...given('GGW', 'W', withGlobals('WWLW', 300, [0, 110, 111, 240])), backward: false, steps: every(30, 300),
  }),
  recipe('long-decode', 'a window that wraps many times: a slot reused too early, or overwritten', {
    queryHeads: 2, kvHeads: 2, tokens: 160, headDim: 2, window: 5, ...given('W', withGlobals('WWLW', 160, [0, 50, 51, 120])),
    backward: false, steps: every(1, 160),
  }),
];

const small: readonly Recipe[] = [
  ...SIZES, ...HEADS, ...WINDOWS, ...CHUNKS, ...TYPES, ...LOGITS, ...CACHES, ...PAIRWISE,
];

const LARGE = { queryHeads: 4, kvHeads: 2, headDim: 32, window: 32 };
const large: readonly Recipe[] = [
  ...[255, 256, 511, 512, 513, 1023, 1024, 1025].map((tokens, n) => recipe(
    `full-${tokens}`, 'many tiles, and the one that is not whole', {
      ...LARGE, tokens, rule: n % 2 === 0 ? 'bounded' : 'exact', steps: every(128, tokens),
    },
  )),
  recipe('full-chunks', 'chunks of 64 against tiles of other sizes', {
    ...LARGE, tokens: 1000, chunk: 64, window: 100, types: { scores: 'spread', noise: true, forced: 'first' },
    steps: every(100, 1000),
  }),
  recipe('full-batch', 'strides at size', { ...LARGE, batch: 4, queryHeads: 8, tokens: 300, headDim: 16 }),
  recipe('full-falling', 'hidden keys far above the visible, over many tiles', {
    ...LARGE, tokens: 700, scale: 1, logits: 'falling', ...given('W'), steps: every(128, 700),
  }),
  recipe('full-flat', 'sums of a thousand equal terms: bfloat16 stops at 256, float16 at 2048', {
    ...LARGE, tokens: 1025, logits: 'flat', ...given('G'),
  }),
  recipe('full-decode', 'a decode far beyond the window, heads of very different sizes', {
    queryHeads: 4, kvHeads: 4, tokens: 600, headDim: 8, window: 17,
    ...given('W', 'G', withGlobals('L', 600, [0, 100, 101, 350]), withGlobals('WLL', 600, [0, 250])),
    backward: false, steps: decode(64, 600),
  }),
  recipe('long', 'the size of a real layer', { queryHeads: 8, kvHeads: 2, tokens: 4096, headDim: 64, window: 256, steps: every(512, 4096) }),
];

/** Head sizes and lengths that GPU kernels are built for, and one token less and more. */
const sizedFor = (tokens: number, changes: Changes): Recipe[] => [-1, 0, 1].map((off) => recipe(
  `tiles-${tokens + off}-d${changes.headDim}`,
  off === 0 ? 'whole tiles alone: the sizes that a kernel is built for' : 'one token less or more than whole tiles: their bounds',
  { queryHeads: 4, kvHeads: 2, ...changes, tokens: tokens + off, rule: off === 0 ? 'exact' : 'bounded' },
));
const CHUNKED: Changes = { chunk: 32, types: { scores: 'spread', noise: true, forced: 'first' } };
const tiles: readonly Recipe[] = [
  ...sizedFor(128, { headDim: 32, window: 64 }),
  ...sizedFor(256, { headDim: 64, window: 64, ...CHUNKED }),
  ...sizedFor(192, { headDim: 128, window: 64, queryHeads: 2, kvHeads: 1 }),
  ...sizedFor(384, { headDim: 128, window: 256, queryHeads: 2, kvHeads: 1, ...CHUNKED }),
  ...sizedFor(512, { headDim: 64, window: 256, queryHeads: 2, kvHeads: 2 }),
  recipe('tiles-batch', 'a batch at size: strides of batch, head and token', {
    batch: 3, queryHeads: 8, kvHeads: 2, tokens: 192, headDim: 64, window: 64,
  }),
  recipe('tiles-causal', 'plain causal attention, which other kernels can be compared with', {
    queryHeads: 4, kvHeads: 2, tokens: 320, headDim: 64, window: 64, ...given('G'),
  }),
  recipe('tiles-window', 'plain sliding-window attention', {
    queryHeads: 4, kvHeads: 2, tokens: 320, headDim: 64, window: 64, ...given('W'),
  }),
  recipe('tiles-falling', 'hidden keys above the visible ones, at size', {
    queryHeads: 4, kvHeads: 2, tokens: 320, headDim: 64, window: 64, scale: 1, logits: 'falling', ...given('W'),
  }),
  recipe('tiles-decode', 'a cache at size, whose pages fill, empty and are used again', {
    queryHeads: 8, kvHeads: 2, tokens: 320, headDim: 64, window: 64, backward: false, steps: decode(256, 320),
  }),
];

const FP8: Changes = { exact: 'e5m2', queryHeads: 4, kvHeads: 2, window: 64 };
const fp8: readonly Recipe[] = [
  recipe('fp8-causal', 'plain causal attention with inputs of three bits', { ...FP8, tokens: 128, headDim: 64, ...given('G') }),
  recipe('fp8-tile', 'whole tiles', { ...FP8, tokens: 256, headDim: 64 }),
  recipe('fp8-partial', 'a partial tile', { ...FP8, tokens: 193, headDim: 32, rule: 'exact' }),
  recipe('fp8-chunks', 'chunks', { ...FP8, tokens: 192, headDim: 128, queryHeads: 2, kvHeads: 1, ...CHUNKED }),
  recipe('fp8-batch', 'a batch', { ...FP8, batch: 2, tokens: 128, headDim: 32 }),
  recipe('fp8-sharp', 'weights that vanish below the least subnormal', { ...FP8, tokens: 128, headDim: 32, logits: 'sharp' }),
];

/** The recipes of a suite, in the order in which they are made. */
export const SUITES: Readonly<Record<SuiteName, readonly Recipe[]>> = { small, tiles, fp8, full: [...small, ...large] };
