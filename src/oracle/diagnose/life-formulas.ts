/**
 * Ends of lifetimes (§2) by formulas that a kernel may have instead: places that the algorithm knows, such as the end
 * of the next GLOBAL chunk, with something added, and the earlier or the later of two of them. All are tried.
 * @module
 */
import { chunkEnd, chunkOf, FOREVER, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { gradientsBy } from './backward-hypotheses.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { differencesOf, type Last } from './life-rows.ts';
import { maskedRow } from './pair-terms.ts';
import { MOST_KEPT, type Scene, type Sees } from './scene.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** An end of the life of token j in words. */
interface End {
  readonly words: string;
  readonly of: (head: number, j: number) => number;
}

/** The most formulas that are told of one case. */
const TOLD = 40;

/** Tokens of chunks that a scan may find. */
function* chunkEnds(scene: Scene): Generator<End> {
  const { chunks, parameters: { chunk: C, kvHeads: G } } = scene;
  const type = (head: number, c: number): number => scene.plan(head).own[c];
  const first = (head: number, from: number, has: (type: number, c: number) => boolean, nth = 1): number => {
    let left = nth;
    for (let c = from; c < chunks; c++) if (has(type(head, c), c) && --left === 0) return c;
    return -1;
  };
  const found: (readonly [words: string, of: (head: number, c: number) => number])[] = [
    ['the next GLOBAL', (head, c) => first(head, c + 1, (each) => each === GLOBAL)],
    ['the second GLOBAL after it', (head, c) => first(head, c + 1, (each) => each === GLOBAL, 2)],
    ['the third GLOBAL after it', (head, c) => first(head, c + 1, (each) => each === GLOBAL, 3)],
    ['the last GLOBAL', (head, c) => {
      const last = scene.plan(head).own.lastIndexOf(GLOBAL);
      return last > c ? last : -1;
    }],
    ['the next WINDOW', (head, c) => first(head, c + 1, (each) => each === WINDOW)],
    ['the next LOCAL', (head, c) => first(head, c + 1, (each) => each === LOCAL)],
    ['the second LOCAL after it', (head, c) => first(head, c + 1, (each) => each === LOCAL, 2)],
    ['the next chunk that is not GLOBAL', (head, c) => first(head, c + 1, (each) => each !== GLOBAL)],
    ['the next chunk that is not LOCAL', (head, c) => first(head, c + 1, (each) => each !== LOCAL)],
    ['the next chunk that is not WINDOW', (head, c) => first(head, c + 1, (each) => each !== WINDOW)],
    ['the next chunk of its own type', (head, c) => first(head, c + 1, (each) => each === type(head, c))],
    ['the next GLOBAL but one right behind it', (head, c) => first(head, c + 2, (each) => each === GLOBAL)],
    ['the next GLOBAL behind an odd number of chunks', (head, c) => first(head, c + 1, (each, at) => each === GLOBAL && at % 2 === 1)],
    ['the next GLOBAL behind an even number of chunks', (head, c) => first(head, c + 1, (each, at) => each === GLOBAL && at % 2 === 0)],
    ['the last of the next GLOBALs in a row', (head, c) => {
      let at = first(head, c + 1, (each) => each === GLOBAL);
      while (at >= 0 && at + 1 < chunks && type(head, at + 1) === GLOBAL) at++;
      return at;
    }],
    ['the next GLOBAL that another type follows', (head, c) => first(head, c + 1, (each, at) => each === GLOBAL && at + 1 < chunks && type(head, at + 1) !== GLOBAL)],
    ['the next GLOBAL but the last chunk', (head, c) => {
      const at = first(head, c + 1, (each) => each === GLOBAL);
      return at === chunks - 1 ? -1 : at;
    }],
    ...[2, 4, 8, 16, 32, 64].filter((block) => block < chunks).flatMap((block) => [
      [`the first GLOBAL of a later block of ${block} chunks`, (head: number, c: number) => first(head, (Math.floor(c / block) + 1) * block, (each) => each === GLOBAL)],
      [`the last GLOBAL of its block of ${block} chunks`, (head: number, c: number) => {
        const end = Math.min(Math.floor(c / block) * block + block, chunks);
        for (let at = end - 1; at > c; at--) if (type(head, at) === GLOBAL) return at;
        return -1;
      }],
      [`the next GLOBAL, not the first chunk of a block of ${block}`, (head: number, c: number) => first(head, c + 1, (each, at) => each === GLOBAL && at % block > 0)],
      [`the next GLOBAL, not the last chunk of a block of ${block}`, (head: number, c: number) => first(head, c + 1, (each, at) => each === GLOBAL && at % block < block - 1)],
      [`the next GLOBAL up to the block of ${block} chunks after its own`, (head: number, c: number) => {
        const at = first(head, c + 1, (each) => each === GLOBAL);
        return at >= (Math.floor(c / block) + 2) * block ? -1 : at;
      }],
    ] as const),
    ...[2, 4, 8, 16, 32, 64, 128].filter((reach) => reach < chunks).flatMap((reach) => [
      [`the next GLOBAL among the ${reach} chunks after it`, (head: number, c: number) => {
        const at = first(head, c + 1, (each) => each === GLOBAL);
        return at - c > reach ? -1 : at;
      }],
      [`the next GLOBAL less than ${reach} chunks after it`, (head: number, c: number) => {
        const at = first(head, c + 1, (each) => each === GLOBAL);
        return at - c >= reach ? -1 : at;
      }],
    ] as const),
    ...G > 1 ? ([
      ['the next GLOBAL of all KV heads', 'every'], ['the next GLOBAL of any KV head', 'some'],
    ] as const).map(([words, how]) =>
      [words, (head: number, c: number) => {
        const heads = Array.from({ length: G }, (_each, g) => head - head % G + g);
        return first(head, c + 1, (_, at) => heads[how]((each) => type(each, at) === GLOBAL));
      }] as const) : [],
  ];
  for (const [words, of] of found) {
    const end = (to: (c: number, j: number) => number): End['of'] => (head, j) => {
      const c = of(head, chunkOf(j, C));
      return c < 0 ? FOREVER : to(c, j);
    };
    yield { words: `the end of ${words}`, of: end((c) => chunkEnd(c, C)) };
    yield { words: `the token before ${words}`, of: end((c) => c * C - 1) };
    if (C > 1) yield { words: `the first token of ${words}`, of: end((c) => c * C) };
    if (C > 1) yield { words: `its own place in ${words}`, of: end((c, j) => c * C + j % C) };
  }
}

/** Tokens after which a window, or nothing, may be counted. */
function* tokens(scene: Scene): Generator<End> {
  const { N, parameters: { chunk: C } } = scene;
  yield { words: 'the token itself', of: (_, j) => j };
  if (C > 1) {
    yield { words: 'the end of its chunk', of: (_, j) => chunkEnd(chunkOf(j, C), C) };
    yield { words: 'the first token of its chunk', of: (_, j) => chunkOf(j, C) * C };
  }
  for (const tile of TILES.filter((each) => each < N)) {
    yield { words: `the end of its tile of ${tile}`, of: (_, j) => j - j % tile + tile - 1 };
    yield { words: `the first token of its tile of ${tile}`, of: (_, j) => j - j % tile };
  }
}

/** Lifetimes of other tokens. */
function* others(scene: Scene): Generator<End> {
  const { N, parameters: { chunk: C } } = scene;
  const last = (head: number, j: number): number => scene.last[head * N + Math.min(Math.max(j, 0), N - 1)];
  for (const tile of [...new Set([2, 4, 8, 16, 32, 64, C])].filter((each) => each > 1 && each < N)) {
    const from = (j: number): number => j - j % tile;
    const to = (j: number): number => Math.min(from(j) + tile, N) - 1;
    const range = (head: number, j: number): number[] => {
      const all: number[] = [];
      for (let n = from(j); n <= to(j); n++) all.push(last(head, n));
      return all;
    };
    const its = tile === 2 ? 'pair of tokens' : tile === C ? 'chunk' : `tile of ${tile}`;
    yield { words: `last() of the first token of its ${its}`, of: (head, j) => last(head, from(j)) };
    yield { words: `last() of the last token of its ${its}`, of: (head, j) => last(head, to(j)) };
    yield { words: `the largest last() of its ${its}`, of: (head, j) => Math.max(...range(head, j)) };
    yield { words: `the least last() of its ${its}`, of: (head, j) => Math.min(...range(head, j)) };
    yield { words: `last() of the token ${tile} before it`, of: (head, j) => last(head, j - tile) };
    yield { words: `last() of the token ${tile} behind it`, of: (head, j) => last(head, j + tile) };
  }
  for (const by of [-2, -1, 1, 2]) {
    yield { words: `last() of the token ${Math.abs(by)} ${by < 0 ? 'before' : 'behind'} it`, of: (head, j) => last(head, j + by) };
  }
  yield { words: 'last() of the token on the other side of its pair', of: (head, j) => last(head, j ^ 1) };
  const largest = new Map<number, number[]>();
  yield { words: 'the largest last() so far', of: (head, j) => {
    let all = largest.get(head);
    if (!all) {
      all = [];
      for (let n = 0; n < N; n++) all.push(Math.max(all[n - 1] ?? -1, last(head, n)));
      largest.set(head, all);
    }
    return all[j];
  } };
}

/** Ends, each in the words of its parts. */
function* ends(scene: Scene): Generator<End> {
  const { N, parameters: { chunk: C, window: W } } = scene;
  /** The same, computed once. */
  const kept = ({ words, of }: End): End => {
    const known: Int32Array[] = [];
    const lasts = (head: number): Int32Array =>
      (known[head] ??= Int32Array.from({ length: N }, (_, n) => Math.min(of(head, n), FOREVER)));
    return { words, of: (head, j) => lasts(head)[j] };
  };
  const plus = ({ words, of }: End, by: number, more: string): End =>
    ({ words: `${words}${more}`, of: (head, j) => Math.min(of(head, j) + by, FOREVER) });
  const right: End = { words: 'what is right', of: (head, j) => scene.last[head * N + j] };
  const window = kept({ words: 'the end of its window', of: (_, j) => chunkEnd(chunkOf(j, C), C) + W });
  const closing = [...chunkEnds(scene)].map(kept);
  const [global] = closing;
  const offsets: (readonly [number, string])[] = [
    [W, ' plus W'], ...C > 1 ? [[C, ' plus C'], [-C, ' less C']] as const : [], [1, ' plus 1'], [-1, ' less 1'], [W + 1, ' plus W + 1'], [W - 1, ' plus W - 1'],
  ];
  yield { words: 'never', of: () => FOREVER };
  yield window;
  for (const each of closing) yield each;
  for (const each of closing) for (const [by, more] of offsets) yield plus(each, by, more);
  const sizes: (readonly [number, string])[] = [
    [0, ''], [W, ' plus W'], [W - 1, ' plus W - 1'], [W + 1, ' plus W + 1'], [W >> 1, ' plus W / 2'], [2 * W, ' plus 2 W'], [W * C, ' plus W C'], [C, ' plus C'],
    [Math.floor(W / C) * C, ' plus W rounded down to whole chunks'], [Math.ceil(W / C) * C, ' plus W rounded up to whole chunks'], [W + C, ' plus W + C'],
  ];
  for (const each of tokens(scene)) for (const [by, more] of sizes) yield plus(each, by, more);
  for (const each of others(scene)) yield kept(each);
  for (const type of [GLOBAL, LOCAL, WINDOW]) {
    yield { words: `the ${TOKEN_TYPE_NAMES[type]} token W such tokens after it`, of: (head, j) => {
      let left = W;
      const { own } = scene.plan(head);
      for (let n = j + 1; n < N; n++) if (own[chunkOf(n, C)] === type && --left <= 0) return n;
      return FOREVER;
    } };
  }
  for (const tile of TILES.filter((each) => each < N)) {
    const endOf = (n: number): number => (n >= FOREVER ? n : n - n % tile + tile - 1);
    yield { words: `${right.words}, up to the end of its tile of ${tile}`, of: (head, j) => endOf(right.of(head, j)) };
    yield { words: `${right.words}, down to the first row of its tile of ${tile}`, of: (head, j) => endOf(right.of(head, j)) - tile + 1 };
    yield { words: `${right.words}, down to the row before its tile of ${tile}`, of: (head, j) => endOf(right.of(head, j)) - tile };
    for (const each of [window, global]) {
      yield { words: `${each.words}, up to the end of its tile of ${tile}`, of: (head, j) => endOf(each.of(head, j)) };
    }
  }
  const firsts = [right, window, global];
  const seconds = [window, ...closing, ...[...tokens(scene)].map((each) => plus(each, W, ' plus W')), ...[...tokens(scene)].slice(3),
    ...TILES.filter((each) => each < N).map((tile): End => ({ words: `${tile} tokens after it`, of: (_, j) => j + tile })),
    ...[2, 3, 4].map((n): End => ({ words: `${n} W tokens after it`, of: (_, j) => j + n * W }))];
  for (const a of firsts) {
    for (const b of seconds) {
      if (a.words === b.words) continue;
      yield { words: `the earlier of ${a.words} and ${b.words}`, of: (head, j) => Math.min(a.of(head, j), b.of(head, j)) };
      yield { words: `the later of ${a.words} and ${b.words}`, of: (head, j) => Math.max(a.of(head, j), b.of(head, j)) };
    }
  }
}

/** Which tokens have another end. */
const KINDS: readonly (readonly [words: string, of: readonly number[]])[] = [
  ['LOCAL', [LOCAL]], ['WINDOW', [WINDOW]], ['GLOBAL', [GLOBAL]], ['LOCAL and WINDOW', [LOCAL, WINDOW]], ['all', [GLOBAL, LOCAL, WINDOW]],
];

/** Lifetimes by other formulas, of tokens of some types. */
export const lifeFormulas: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, parameters: { chunk: C } } = scene;
  if (N > MOST_KEPT || N < 4) return;
  const differs = differencesOf(scene, output);
  if (!differs) return;
  const type = (head: number, j: number): number => scene.plan(head).own[chunkOf(j, C)];
  const may = new Set(output === 'last' ? [...scene.failing.keys()].filter((at) => scene.failing[at] > 0)
    .map((at) => type(Math.floor(at / N), at % N)) : [GLOBAL, LOCAL, WINDOW]);
  let told = 0;
  for (const { words, of } of ends(scene)) {
    for (const [kind, types] of KINDS) {
      if (types.every((type) => !may.has(type))) continue;
      const by = (least: boolean): Last => (head, j) => {
        if (!types.includes(type(head, j))) return scene.last[head * N + j];
        const end = of(head, j);
        return least && end < j ? j : end;
      };
      const last = [by(false), by(true)].find(differs);
      if (!last) continue;
      if (told++ >= TOLD) return;
      const made: Int32Array[] = [];
      const lasts = (head: number): Int32Array =>
        (made[head] ??= Int32Array.from({ length: N }, (_, j) => last(head, j)));
      const seen = (head: number, i: number, j: number): boolean => j <= i && i <= lasts(head)[j];
      const sees: Sees = Object.assign(seen, { lasts });
      const common = { name: 'lifetimes-other', ofRule: true, sees, detail: `${kind} until ${words}`.replace('until never', 'never') } as const;
      if (output === 'last') yield { ...common, predict: (n) => [last(Math.floor(n / N), n % N)] };
      else if (output === 'mask') yield { ...common, predict: (n) => [Number(sees(Math.floor(n / (N * N)), Math.floor(n / N) % N, n % N))] };
      else if (output === 'out' || output === 'lse') {
        yield { ...common, predict: (query) => maskedRow(scene, output, query, sees) };
      } else if (output === 'dv' || output === 'dq' || output === 'dk') {
        yield* gradientsBy(scene, output, [{ ...common, only: output }]);
      }
    }
  }
};
