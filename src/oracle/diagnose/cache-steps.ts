/**
 * Caches whose bookkeeping is right, but whose queries read other entries of what a step holds.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypothesis } from './hypothesis.ts';
import type { HeadFact } from './row-facts.ts';
import type { Scene, Sees } from './scene.ts';

/** By token, the step that takes it in. */
export function stepsOf({ parameters: { steps } }: Scene): number[] {
  return steps.flatMap((T, r) => Array.from({ length: T }, () => r));
}

/** What holds of tokens of a cache, as rows of cache_out or as entries, by their step. */
export function* stepFacts(scene: Scene, rows: boolean): Generator<HeadFact> {
  const { N } = scene;
  if (scene.parameters.steps.length < 2) return;
  const { begin, end } = bounds(scene);
  const what = rows ? 'in rows' : 'of tokens';
  const fact = (text: string, has: HeadFact['has']): HeadFact => ({ text: `${what} ${text}`, has });
  yield fact('of the first step', (_, n) => begin(n) === 0);
  yield fact('of later steps than the first', (_, n) => begin(n) > 0);
  yield fact('in steps of one token', (_, n) => end(n) - begin(n) === 1);
  yield fact('in steps of several tokens', (_, n) => end(n) - begin(n) > 1);
  yield fact('that are the last of their step', (_, n) => n === end(n) - 1);
  yield fact('that are not the last of their step', (_, n) => n < end(n) - 1);
  yield fact('that are not the first of their step', (_, n) => n > begin(n));
  if (rows) return;
  const last = (head: number, n: number): number => scene.last[head * N + n];
  yield fact('that end before the end of a step', (head, n) => last(head, n) < N && last(head, n) < end(last(head, n)) - 1);
  yield fact('that end with the end of a step', (head, n) => last(head, n) < N && last(head, n) === end(last(head, n)) - 1);
  yield fact('that end in the same step as the one before', (head, n) =>
    n > 0 && last(head, n) < N && last(head, n - 1) < N && begin(last(head, n)) === begin(last(head, n - 1)));
}

/** What a query of the cache makes of entries. */
interface Read {
  /** The position of the key, and of the value, that is read. */
  readonly key: number;
  readonly value: number;
}

function attending(
  scene: Scene, reads: (head: number, i: number) => readonly Read[],
): (row: number) => ArrayLike<number> {
  const { N, d, parameters: { scale } } = scene;
  return (query) => {
    const head = scene.headOf(query);
    const all = reads(head, query % N);
    // A row without a key is what the kernel makes of nothing: NaN or 0.
    if (all.length === 0) return new Float64Array(d).fill(scene.outputs.cache_out.data[query * d] === 0 ? 0 : NaN);
    const S = all.map(({ key }) => scale * scene.product(query, head * N + key));
    const m = Math.max(...S);
    const out = new Float64Array(d);
    let Z = 0;
    for (const [n, { value }] of all.entries()) {
      const weight = Math.exp(S[n] - m);
      Z += weight;
      for (let c = 0; c < d; c++) out[c] = out[c] + weight * scene.v[(head * N + value) * d + c];
    }
    return out.map((x) => x / Z);
  };
}

/** The first tokens of steps, by token, and the first of the next ones. */
function bounds(scene: Scene): { readonly begin: (i: number) => number; readonly end: (i: number) => number } {
  const step = stepsOf(scene);
  const ends: number[] = [];
  scene.parameters.steps.forEach((T, r) => ends.push((ends[r - 1] ?? 0) + T));
  return { begin: (i) => ends[step[i]] - scene.parameters.steps[step[i]], end: (i) => ends[step[i]] };
}

/** What queries of a step may see instead of what they must. */
export function* stepMasks(scene: Scene): Generator<Hypothesis> {
  const { N } = scene;
  const { begin, end } = bounds(scene);
  const last = (head: number, j: number): number => scene.last[head * N + j];
  /** The entries that the step of query i holds while it attends: those of earlier steps, and its own. */
  const known = new Map<number, readonly number[]>();
  const held = (head: number, first: number): readonly number[] => {
    let all = known.get(head * N + first);
    if (!all) {
      all = Array.from({ length: end(first) }, (_, j) => j).filter((j) => j >= first || last(head, j) >= first);
      known.set(head * N + first, all);
    }
    return all;
  };
  const slots = new Map<number, Map<number, number>>();
  const slot = (head: number, i: number, j: number): number => {
    const first = begin(i);
    let all = slots.get(head * N + first);
    if (!all) slots.set(head * N + first, all = new Map(held(head, first).map((at, n) => [at, n])));
    return all.get(j) ?? Infinity;
  };
  const old = (head: number, i: number): number => slot(head, i, begin(i));
  const by = (name: DiagnosisName, detail: string, sees: Sees): Hypothesis => ({
    name, detail, sees, predict: attending(scene, (head, i) =>
      held(head, begin(i)).filter((j) => sees(head, i, j)).map((j) => ({ key: j, value: j }))),
  });
  const right = (head: number, i: number, j: number): boolean => j <= i && i <= last(head, j);
  const only = (name: DiagnosisName, detail: string, also: Sees): Hypothesis =>
    by(name, detail, (head, i, j) => right(head, i, j) && also(head, i, j));
  yield by('step-mask', 'positions up to the number of the query in its step', (head, i, j) => j <= i - begin(i) && i <= last(head, j));
  yield by('step-mask', 'slots up to the number of the query in its step', (head, i, j) => slot(head, i, j) <= i - begin(i) && i <= last(head, j));
  yield by('step-mask', 'positions up to the slot of the query', (head, i, j) => j <= slot(head, i, i) && i <= last(head, j));
  yield by('step-mask', 'the slot of the query is taken for its position', (head, i, j) =>
    j <= slot(head, i, i) && slot(head, i, i) <= last(head, j));
  yield only('step-mask', 'those of earlier steps and itself', (_, i, j) => j < begin(i) || j === i);
  yield only('step-mask', 'those of earlier steps alone', (_, i, j) => j < begin(i));
  yield only('step-mask', 'those of its own step alone', (_, i, j) => j >= begin(i));
  yield only('step-mask', 'all but itself, where its step has several tokens', (_, i, j) => j !== i || end(i) - begin(i) === 1);
  yield only('step-mask', 'all but the first token of its step', (_, i, j) => j !== begin(i) || j === i);
  yield only('step-mask', 'all but the last token of the step before', (_, i, j) => j !== begin(i) - 1);
  yield only('step-mask', 'those up to the first of its step', (_, i, j) => j <= begin(i));
  yield only('step-mask', 'what lives at the last token of its step', (head, i, j) => last(head, j) >= end(i) - 1);
  yield by('step-mask', 'what the last token of its step sees', (head, i, j) => last(head, j) >= end(i) - 1);
  yield by('step-mask', 'what the first token of its step sees', (head, i, j) => j <= begin(i) && last(head, j) >= begin(i));
  yield by('step-mask', 'all of its own step, and what it must see of earlier ones', (head, i, j) => j >= begin(i) || i <= last(head, j));
  yield only('step-mask', 'all but the newest entry of earlier steps', (head, i, j) => slot(head, i, j) !== old(head, i) - 1);
  yield only('step-mask', 'all but the oldest entry', (head, i, j) => slot(head, i, j) > 0 || j === i);
  for (const page of [4, 8, 16, 32, 64]) {
    if (page >= N) continue;
    const skips = (detail: string, reads: Sees): Hypothesis => only('tile-skipped', detail, reads);
    const whole = (n: number): number => n - n % page;
    yield skips(`the last, partial page of ${page} entries of earlier steps`, (head, i, j) =>
      j >= begin(i) || slot(head, i, j) < whole(old(head, i)));
    yield skips(`the last page of ${page} entries of earlier steps, if it is whole`, (head, i, j) =>
      j >= begin(i) || old(head, i) % page > 0 || slot(head, i, j) < old(head, i) - page);
    yield skips(`the last page of ${page} entries of earlier steps`, (head, i, j) =>
      j >= begin(i) || slot(head, i, j) < whole(old(head, i) - 1));
    const full = (head: number, i: number, j: number): boolean => slot(head, i, j) < whole(held(head, begin(i)).length);
    yield skips(`the last, partial page of ${page} entries`, full);
    yield skips(`the last, partial page of ${page} entries`, (head, i, j) => full(head, i, j) || j === i);
    yield skips(`the last page of ${page} entries, if it is whole`, (head, i, j) => {
      const all = held(head, begin(i)).length;
      return all % page > 0 || slot(head, i, j) < all - page || j === i;
    });
    yield skips(`all but the first page of ${page} entries of earlier steps`, (head, i, j) => j >= begin(i) || slot(head, i, j) < page);
    yield skips(`the first page of ${page} entries, where there are more`, (head, i, j) =>
      j >= begin(i) || slot(head, i, j) >= page || old(head, i) <= page);
    yield skips(`odd pages of ${page} entries of earlier steps`, (head, i, j) =>
      j >= begin(i) || Math.floor(slot(head, i, j) / page) % 2 === 0);
  }
}

/** A slot: the position that it is taken for, and those whose key, value and last() it holds. */
interface Slot {
  readonly j: number;
  readonly key: number;
  readonly value: number;
  readonly life: number;
}

/** Evictions that move parts of entries alone. */
export function* mixedSlots(scene: Scene): Generator<Hypothesis> {
  const { N, parameters: { steps } } = scene;
  const step = stepsOf(scene);
  const moves: readonly (readonly [string, (from: Slot, to: Slot) => Slot])[] = [
    ['values stay', ({ j, key, life }, { value }) => ({ j, key, life, value })],
    ['keys stay', ({ j, value, life }, { key }) => ({ j, key, life, value })],
    ['keys and values stay', ({ j, life }, { key, value }) => ({ j, key, life, value })],
    ['lifetimes stay', ({ j, key, value }, { life }) => ({ j, key, life, value })],
  ];
  for (const [words, move] of moves) {
    for (const fill of ['by those at the end', 'by those behind them'] as const) {
      const run = (head: number): readonly (readonly Slot[])[] => {
        const before: Slot[][] = [];
        let all: Slot[] = [];
        let next = 0;
        for (const T of steps) {
          for (let j = next; j < next + T; j++) all.push({ j, key: j, value: j, life: j });
          next += T;
          before.push([...all]);
          const dead = ({ j }: Slot): boolean => scene.last[head * N + j] < next;
          if (fill === 'by those behind them') {
            const kept = all.filter((each) => !dead(each));
            all = kept.map((each, n) => (each === all[n] ? each : move(each, all[n])));
            continue;
          }
          for (let n = 0; n < all.length;) {
            if (!dead(all[n])) {
              n++;
              continue;
            }
            const end = all.pop()!;
            if (n < all.length) all[n] = move(end, all[n]);
          }
        }
        return before;
      };
      const runs: (readonly (readonly Slot[])[])[] = [];
      yield {
        name: 'slots-mixed', detail: `${words} where evicted entries are replaced ${fill}`,
        predict: attending(scene, (head, i) =>
          (runs[head] ??= run(head))[step[i]].filter(({ j, life }) => j <= i && i <= scene.last[head * N + life])),
      };
    }
  }
}
