/**
 * Wrong caches (§8).
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { chunkEnd, chunkOf, FOREVER, TokenType } from '../../core/lifetime.ts';
import type { Change } from './cache-change.ts';
import { cacheRules } from './cache-rules.ts';
import { mixedSlots, stepMasks, stepsOf } from './cache-steps.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { forwardHypotheses } from './forward-hypotheses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import type { Scene, Sees } from './scene.ts';

/** What happens to the entries of one KV head. */
interface History {
  readonly closedBy: Int32Array;
  readonly evictedAt: Int32Array;
  /** The positions held after each step. */
  readonly held: readonly (readonly number[])[];
  readonly last: Int32Array;
}

function* changes(scene: Scene): Generator<Change> {
  yield { name: 'evicted-early', shift: 1 };
  yield { name: 'evicted-late', shift: -1 };
  yield { name: 'never-evicted', never: true };
  yield { name: 'local-never', closes: () => [] };
  yield { name: 'closes-newest', closes: (open) => open.slice(-1) };
  yield { name: 'closes-cached', closes: (open, _, begin) => open.filter((j) => j < begin) };
  yield { name: 'closed-by-last', lastGlobal: true };
  yield { name: 'closes-again', again: true };
  yield { name: 'renumbered', renumbers: true };
  for (const least of [1, 2]) {
    const where = `where a step evicts ${least === 1 ? 'any' : 'two or more'}`;
    yield { name: 'entries-lost', detail: `the newest, ${where}`, keeps: (living, died) => (died < least ? living : living.slice(0, -1)) };
    yield { name: 'entries-lost', detail: `the oldest, ${where}`, keeps: (living, died) => (died < least ? living : living.slice(1)) };
  }
  for (const { name, last } of wrongLifetimes(scene)) if (last) yield { name, last };
  yield* cacheRules(scene);
}

function run(scene: Scene, head: number, change: Change): History {
  const { N, parameters: { steps, chunk: C } } = scene;
  const by = change.by?.(head) ?? head;
  const { own } = scene.plan(by);
  const type = (j: number): number => own[chunkOf(j, C)];
  const last = new Int32Array(N).fill(FOREVER);
  const [closedBy, evictedAt] = [new Int32Array(N).fill(-1), new Int32Array(N).fill(-1)];
  let open: number[] = [];
  let ever: number[] = [];
  let entries: number[] = [];
  const held: number[][] = [];
  let next = 0;
  for (const [r, T] of steps.entries()) {
    const begin = next;
    next += T;
    for (let j = begin; j < next; j++) entries.push(j);
    const ends: number[] = [];
    const step = { r, begin, next, ends };
    for (let c = Math.floor(begin / C); c < Math.floor(next / C); c++) {
      const tokens = Array.from({ length: C }, (_, n) => c * C + n);
      if (own[c] === TokenType.GLOBAL) {
        ends.push(chunkEnd(c, C));
        if (change.misses?.(ends.at(-1)!, step)) continue;
        const at = change.closedAt?.(ends.at(-1)!, step) ?? ends.at(-1)!;
        const closing = change.again ? ever.filter((j) => entries.includes(j))
          : change.closes?.(open, ends.at(-1)!, begin) ?? open;
        for (const j of closing) {
          [closedBy[j], last[j]] = [at, at];
        }
        open = open.filter((j) => !closing.includes(j));
      } else if (own[c] === TokenType.LOCAL) {
        open.push(...tokens);
        ever = [...ever, ...tokens];
      } else for (const j of tokens) last[j] = scene.last[by * N + j];
    }
    if (change.lastGlobal && ends.length > 1) {
      for (let j = 0; j < N; j++) if (ends.includes(closedBy[j])) closedBy[j] = last[j] = ends.at(-1)!;
    }
    if (change.last) {
      for (let j = 0; j < next; j++) last[j] = change.last(head, j);
      for (let j = 0; j < N; j++) if (closedBy[j] >= 0) closedBy[j] = last[j] < FOREVER ? last[j] : -1;
    }
    const dies = (j: number): boolean =>
      !change.never && (change.dead?.(j, last[j], step, type) ?? last[j] < next + (change.shift ?? 0));
    const living = [...change.evicts?.(entries, dies, step) ?? entries.filter((j) => !dies(j))];
    const left = new Set(living);
    for (const j of entries) if (!left.has(j)) evictedAt[j] = r;
    entries = change.keeps ? [...change.keeps(living, entries.length - living.length)] : living;
    if (change.keeps) open = open.filter((j) => entries.includes(j));
    held.push(change.renumbers ? entries.map((_, n) => n) : [...entries]);
  }
  return { closedBy, evictedAt, held, last };
}

/** cache_closed_by, cache_evicted_at, cache_live, cache_out, cache_bytes. */
export const cacheHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output === 'cache_bytes') return yield* bytes(scene);
  const { N, heads } = scene;
  if (output === 'cache_out') {
    yield* attending(scene);
    yield* stepMasks(scene);
    yield* mixedSlots(scene);
    yield* forwardHypotheses(scene, 'out');
  }
  for (const change of changes(scene)) {
    const histories: History[] = [];
    const history = (head: number): History => (histories[head] ??= run(scene, head, change));
    const live: Uint8Array[] = [];
    const held = (head: number, r: number): Uint8Array => (live[head * scene.parameters.steps.length + r] ??= (() => {
      const all = new Uint8Array(N);
      for (const j of history(head).held[r]) all[j] = 1;
      return all;
    })());
    const predict = output === 'cache_closed_by' ? (row: number) => [history(Math.floor(row / N)).closedBy[row % N]]
      : output === 'cache_evicted_at' ? (row: number) => [history(Math.floor(row / N)).evictedAt[row % N]]
        : (row: number) => [held(Math.floor(row / N) % heads, Math.floor(row / (N * heads)))[row % N]];
    if (output !== 'cache_out') {
      yield { name: change.name, predict, ...(change.detail !== undefined && { detail: change.detail }) };
      continue;
    }
    if (change.renumbers) continue;
    const steps = stepsOf(scene);
    const sees: Sees = (head, i, j) => {
      const gone = history(head).evictedAt[j];
      return j <= i && i <= history(head).last[j] && (gone < 0 || gone >= steps[i]);
    };
    yield { name: change.name, sees, predict: seeing(scene, sees) };
  }
};

function seeing(scene: Scene, sees: Sees): (row: number) => ArrayLike<number> {
  return (query) => {
    const row = scene.row(query, { sees });
    const m = Math.max(...row.S);
    const E = row.S.map((x) => Math.exp(x - m));
    const Z = E.reduce((a, b) => a + b, 0);
    return scene.weigh(row, E.map((x) => x / Z));
  };
}

/** Caches whose bookkeeping is right, but whose queries attend to the wrong entries. */
function* attending(scene: Scene): Generator<Hypothesis> {
  const { N, parameters: { steps, window: W, chunk: C } } = scene;
  const step = stepsOf(scene);
  const ends: number[] = [];
  steps.forEach((T, r) => ends.push((ends[r - 1] ?? 0) + T));
  const end = (i: number): number => ends[step[i]];
  const begin = (i: number): number => end(i) - steps[step[i]];
  const last = (head: number, j: number): number => scene.last[head * N + j];
  const type = (head: number, j: number): number => scene.plan(head).own[Math.floor(j / C)];
  const by = (name: DiagnosisName, sees: Sees): Hypothesis => ({ name, sees, predict: seeing(scene, sees) });
  const limited = (name: DiagnosisName, also: Sees): Hypothesis =>
    by(name, (head, i, j) => scene.sees(head, i, j) && (j === i || also(head, i, j)));
  const { LOCAL, WINDOW } = TokenType;
  yield limited('evicted-before-attending', (head, i, j) => last(head, j) >= end(i));
  yield by('evicted-before-attending', (head, i, j) => scene.sees(head, i, j) && last(head, j) >= end(i));
  yield limited('evicted-before-attending', (head, i, j) => j >= begin(i) || last(head, j) >= end(i));
  yield limited('local-gone-at-closing', (head, i, j) => type(head, j) !== LOCAL || last(head, j) !== i);
  for (const make of [limited, by]) {
    yield make('local-gone-at-closing', (head, i, j) =>
      scene.sees(head, i, j) && (type(head, j) !== LOCAL || last(head, j) >= end(i)));
  }
  const dying = (head: number, i: number): number[] => {
    const all: number[] = [];
    for (let j = 0; j < begin(i); j++) if (last(head, j) >= begin(i) && last(head, j) < end(i)) all.push(j);
    return all;
  };
  yield limited('slot-reused', (head, i, j) => !dying(head, i).slice(0, end(i) - begin(i)).includes(j));
  yield limited('slot-reused', (head, i, j) => !dying(head, i).slice(0, 1).includes(j));
  yield limited('slot-reused', (head, i, j) => !dying(head, i).slice(0, i - begin(i) + 1).includes(j));
  yield limited('ring-short', (head, i, j) => type(head, j) !== WINDOW || i < last(head, j));
  const windows = (head: number, from: number, to: number): number => {
    let count = 0;
    for (let j = from; j < to; j++) if (type(head, j) === WINDOW) count++;
    return count;
  };
  for (const slots of [W + 1, W]) {
    const name = slots === W ? 'ring-short' : 'ring-overwritten';
    yield limited(name, (head, i, j) => type(head, j) !== WINDOW || j >= end(i) - slots);
    yield by(name, (head, i, j) => scene.sees(head, i, j) && (type(head, j) !== WINDOW || j >= end(i) - slots));
    yield limited(name, (head, i, j) => type(head, j) !== WINDOW || windows(head, j + 1, end(i)) < slots);
    yield limited(name, (head, i, j) => type(head, j) !== WINDOW || windows(head, j + 1, i + 1) < slots);
  }
  yield by('causal-missing', (head, i, j) => j < end(i) && i <= last(head, j));
  yield by('steps-unmasked', (head, i, j) =>
    (type(head, j) === LOCAL ? j <= i && last(head, j) >= begin(i) : scene.sees(head, i, j)));
  yield by('steps-unmasked', (head, i, j) => j <= i && last(head, j) >= begin(i));
  yield by('steps-unmasked', (head, i, j) => j < end(i) && last(head, j) >= begin(i));
  yield by('never-evicted', (_, i, j) => j <= i);
}

function* bytes(scene: Scene): Generator<Hypothesis> {
  const { N, heads, d, parameters: { steps, kvHeads: G } } = scene;
  const live = (scene.expected.cache_live as IntegerTensor).data;
  const count = (r: number, head: number): number => {
    let held = 0;
    for (let j = 0; j < N; j++) held += live[(r * heads + head) * N + j];
    return held;
  };
  const seen = (r: number): number => steps.slice(0, r + 1).reduce((a, b) => a + b, 0);
  const all = Array.from({ length: heads }, (_, head) => head);
  const mates = (head: number): number[] => all.filter((each) => Math.floor(each / G) === Math.floor(head / G));
  const rules: readonly (readonly [DiagnosisName, (r: number, head: number) => number])[] = [
    ['bytes-half', (r, head) => count(r, head) / 2],
    ['bytes-longest', (r) => Math.max(...all.map((head) => count(r, head)))],
    ['bytes-longest', (r, head) => Math.max(...mates(head).map((each) => count(r, each)))],
    ['bytes-context', (r) => seen(r)],
    ['bytes-context', () => N],
    ['bytes-context', (r, head) => Math.max(...Array.from({ length: r + 1 }, (_, n) => count(n, head)))],
  ];
  for (const [name, entries] of rules) {
    for (const width of [4, 8, 2]) {
      yield { name, predict: (row) => [entries(Math.floor(row / heads), row % heads) * 2 * d * width] };
    }
  }
}
