/**
 * §11 on the device: how a cache under a budget lies in memory, and the kernels that fill and move it.
 *
 * A KV head has `room` slots: keys and values [heads,room,d] and scores [heads,room,width], of which a rule makes an
 * entry's score. Its book has, after BOOK words, a list of all its slots and then their positions:
 *
 *     0 entries held    1 peakLive    2, 3 visiblePairs, low and high word    4 entries held before the newest step
 *
 * The list begins with the slots of the entries held, in the order of their positions: neither sums nor which of equal
 * scores is the oldest depend on slots. Free slots follow, of which a step's tokens take the first ones.
 * @module
 */
import { type SlotDtype, STORING } from './cache-kernels.ts';
import { type Kernel, kernel, type Template, template } from './template.ts';

/** Words of a head's book before its list. */
export const BOOK: number = 8;
/** Words of a head's book. */
export const bookWords = (room: number): number => BOOK + 2 * room;

/** What tokens are ranked by when they arrive, if at all. */
export const ON_ARRIVAL = { 'attention': 0, 'age': 0, 'key-norm': 1, 'types': 2 } as const;

/** The square of what a word of a row holds. */
const SQUARES: Readonly<Record<SlotDtype, string>> = {
  f32: 'return word * word;', f16: 'let both = unpack2x16float(word); return dot(both, both);',
};

const TAKING: Template<'THREADS' | 'SQUARE' | 'BITS' | 'WORD' | 'IN' | 'FUNCTIONS'> = template('budget take', `
// The T new tokens of each head, k and v [heads,T,d], go to free slots: a workgroup for each. steps has (position, tokens) for each
// sequence, unless all take T from position \`first\` on. A new entry's scores are 0, or what it is ranked by: minus the norm of its
// key as it is stored, or how far the score of GLOBAL, in types [heads,T,3], is above those of the other types.
struct Params { T: u32, d: u32, G: u32, room: u32, width: u32, rank: u32, same: u32, first: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> k: array<$BITS>;
@group(0) @binding(2) var<storage, read> v: array<$BITS>;
@group(0) @binding(3) var<storage, read> types: array<f32>;
@group(0) @binding(4) var<storage, read> steps: array<u32>;
@group(0) @binding(5) var<storage, read_write> keys: array<$WORD>;
@group(0) @binding(6) var<storage, read_write> values: array<$WORD>;
@group(0) @binding(7) var<storage, read_write> book: array<u32>;
@group(0) @binding(8) var<storage, read_write> scores: array<f32>;

const THREADS = $THREADSu;
var<workgroup> squares: array<f32, THREADS>;

fn square(word: $WORD) -> f32 { $SQUARE }
$FUNCTIONS

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let t = group.z * groups.x + group.x;
  let head = group.y;
  var first = p.first;
  var count = p.T;
  if (p.same == 0u) {
    first = steps[head / p.G * 2u];
    count = steps[head / p.G * 2u + 1u];
  }
  if (t >= count) { return; }
  let its = head * (${BOOK}u + 2u * p.room);
  let free = book[its + ${BOOK}u + book[its] + t];
  let slot = head * p.room + free;
  let row = (head * p.T + t) * p.d;
  let words = (p.d + $INu - 1u) / $INu;
  var sum = 0.0;
  for (var c = lane; c < words; c += THREADS) {
    let word = keyWord(row, c * $INu);
    keys[slot * words + c] = word;
    values[slot * words + c] = valueWord(row, c * $INu);
    sum += square(word);
  }
  squares[lane] = sum;
  workgroupBarrier();
  for (var n = lane; n < p.width; n += THREADS) {
    var score = 0.0;
    if (p.rank == 1u) {
      var all = 0.0;
      for (var other = 0u; other < THREADS; other++) { all += squares[other]; }
      score = -sqrt(all);
    }
    if (p.rank == 2u) {
      let at = (head * p.T + t) * 3u;
      let most = max(types[at + 1u], types[at + 2u]);
      score = types[at] - most - log(exp(types[at + 1u] - most) + exp(types[at + 2u] - most));
    }
    scores[slot * p.width + n] = score;
  }
  if (lane > 0u) { return; }
  book[its + ${BOOK}u + p.room + free] = first + t;
  if (t == 0u) { book[its + 4u] = book[its]; }
}`, 'THREADS', 'SQUARE', 'BITS', 'WORD', 'IN', 'FUNCTIONS');

/** The kernel that appends. */
export const take = (THREADS: number, stored: SlotDtype): Kernel =>
  TAKING({ THREADS, SQUARE: SQUARES[stored], ...STORING[stored] });

export const PACK: Kernel = kernel('budget pack', `
// The entries held, in the order of their list, to the first slots of new memory: a thread for each word of keys, of scores and of
// the list; workgroups (x, head, z), where z folds a long row of them.
struct Params { words: u32, width: u32, before: u32, room: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> oldKeys: array<u32>;
@group(0) @binding(2) var<storage, read> oldValues: array<u32>;
@group(0) @binding(3) var<storage, read> oldBook: array<u32>;
@group(0) @binding(4) var<storage, read> oldScores: array<f32>;
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;
@group(0) @binding(6) var<storage, read_write> values: array<u32>;
@group(0) @binding(7) var<storage, read_write> book: array<u32>;
@group(0) @binding(8) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.z * groups.x + group.x) * 64u + lane;
  let old = group.y * (${BOOK}u + 2u * p.before);
  let own = group.y * (${BOOK}u + 2u * p.room);
  let all = oldBook[old];
  if (n < all * p.words) {
    let source = (group.y * p.before + oldBook[old + ${BOOK}u + n / p.words]) * p.words + n % p.words;
    keys[group.y * p.room * p.words + n] = oldKeys[source];
    values[group.y * p.room * p.words + n] = oldValues[source];
  }
  if (n < all * p.width) {
    scores[group.y * p.room * p.width + n] = oldScores[(group.y * p.before + oldBook[old + ${BOOK}u + n / p.width]) * p.width + n % p.width];
  }
  if (n < p.room) {
    book[own + ${BOOK}u + n] = n;
    var position = 0u;
    if (n < all) { position = oldBook[old + ${BOOK}u + p.before + oldBook[old + ${BOOK}u + n]]; }
    book[own + ${BOOK}u + p.room + n] = position;
  }
  if (n < ${BOOK}u) { book[own + n] = oldBook[old + n]; }
}`);
