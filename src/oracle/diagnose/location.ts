/**
 * Says where an output fails: in which batches, heads, rows, tokens and components, whether or not a mistake is known.
 *
 * A fact is a property that everything that fails has and not everything else, such as "odd query heads". It is exact
 * if whatever has the property fails.
 * @module
 */
import { TokenType } from '../../core/lifetime.ts';
import { AXES, type Axis } from '../judge/outputs.ts';
import { TILES } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** Where an output fails. */
export interface Location {
  /** In words, the most telling first: "only in odd query heads". Empty if failures are everywhere. */
  readonly where: readonly string[];
  /** Every fact that is true, for comparison with those of other cases. */
  readonly facts: readonly string[];
  /** Whether an element lies in a batch and head in which something fails. */
  readonly inHead: (at: number) => boolean;
  /** Whether an element lies in rows of which all fail; undefined if no property describes them. */
  readonly inRows: ((at: number) => boolean) | undefined;
}

/** What fewer failures than this have in common may be chance, unless nothing else has it. */
const MANY = 4;

interface Fact {
  readonly text: string;
  readonly has: (n: number) => boolean;
}
interface Found extends Fact {
  readonly exact: boolean;
}

/** Where `failing` is 1. @param skip Elements that are not compared. */
export function locate(scene: Scene, output: OutputName, failing: Uint8Array, skip: ReadonlySet<number>): Location {
  const { shape } = scene.expected[output];
  const axes = AXES[output];
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const on = (axis: number, at: number): number => Math.floor(at / strides[axis]) % shape[axis];
  const fails = shape.map((size) => new Uint8Array(size));
  const headAxes = axes.flatMap((axis, n) => (axis === 'batch' || axis === 'head' || axis === 'kvHead' ? [n] : []));
  const headOf = (at: number): number => headAxes.reduce((sum, axis) => sum * shape[axis] + on(axis, at), 0);
  const heads = new Set<number>();
  failing.forEach((bad, at) => {
    if (!bad) return;
    fails.forEach((axis, n) => (axis[on(n, at)] = 1));
    heads.add(headOf(at));
  });
  const compared = shape.map((size) => new Uint8Array(size));
  failing.forEach((_, at) => {
    if (skip.has(at) || !heads.has(headOf(at))) return;
    compared.forEach((axis, n) => (axis[on(n, at)] = 1));
  });
  const [where, facts]: [string[], string[]] = [[], []];
  let inRows: Location['inRows'];
  axes.forEach((axis, n) => {
    const size = shape[n];
    if (size === undefined || size < 2) return;
    const own = headAxes.includes(n) ? new Uint8Array(size).fill(1) : compared[n];
    const found = matching(factsOf(scene, output, axis, size, [...heads]), fails[n], own);
    facts.push(...found.map(({ text }) => text));
    const many = fails[n].reduce((a, b) => a + b, 0) >= MANY;
    const best = found.find(({ exact }) => exact) ?? (many ? found[0] : undefined);
    if (!best) return;
    where.push(`only ${best.text}`);
    const exact = found.find((each) => each.exact);
    if (exact && !headAxes.includes(n) && axis !== 'other' && !inRows) inRows = (at) => exact.has(on(n, at));
  });
  const keyAxis = axes.indexOf('key');
  if (keyAxis >= 0 && axes.includes('kvHead')) {
    const kv = axes.indexOf('kvHead');
    const b = axes.indexOf('batch');
    const chunks = shape[keyAxis] < scene.N || scene.parameters.chunk === 1;
    const type = typeOfAll(scene, failing, (at) => ({
      head: on(b, at) * shape[kv] + on(kv, at),
      chunk: chunks ? on(keyAxis, at) : Math.floor(on(keyAxis, at) / scene.parameters.chunk),
    }));
    if (type) {
      where.push(`only of ${type} tokens`);
      facts.push(`of ${type} tokens`);
    }
  }
  return { where, facts, inHead: (at) => heads.has(headOf(at)), inRows };
}

/** The facts that are true of all that fail, and not of all that is compared. */
function matching(facts: Iterable<Fact>, fails: Uint8Array, compared: Uint8Array): Found[] {
  const all = Array.from(fails.keys()).filter((n) => compared[n] || fails[n]);
  const bad = all.filter((n) => fails[n]);
  if (bad.length === 0 || bad.length === all.length) return [];
  const found: Found[] = [];
  for (const fact of facts) {
    if (!bad.every(fact.has)) continue;
    const having = all.filter(fact.has);
    if (having.length === all.length) continue;
    found.push({ ...fact, exact: having.length === bad.length });
  }
  return found;
}

const WORDS: Readonly<Record<Axis, readonly [one: string, many: string]>> = {
  batch: ['batch', 'batches'], head: ['query head', 'query heads'], kvHead: ['KV head', 'KV heads'], query: ['row', 'rows'],
  key: ['key', 'keys'], step: ['step', 'steps'], other: ['component', 'components'],
};

/** Everything that may be said about the numbers along an axis, the most telling first. */
function* factsOf(
  scene: Scene, output: OutputName, axis: Axis, size: number, heads: readonly number[],
): Generator<Fact> {
  const chunked = axis === 'key' && size === scene.chunks && scene.parameters.chunk > 1;
  const [one, many] = chunked ? ['chunk', 'chunks'] : WORDS[axis];
  const isHead = axis === 'head' || axis === 'kvHead';
  if (isHead && size > 2) yield* parities(many);
  for (let n = 0; n < size; n++) yield { text: `in ${one} ${n}`, has: (at) => at === n };
  if (isHead && size === 2) yield* parities(many);
  if (axis === 'other') yield* parities(many);
  if (axis === 'head' && scene.R > 1) {
    yield { text: 'in the last query head of each group', has: (at) => at % scene.R === scene.R - 1 };
    yield { text: 'in the first query head of each group', has: (at) => at % scene.R === 0 };
  }
  if (axis === 'query' || (axis === 'key' && !chunked)) {
    if (axis === 'query' && output !== 'dm_rows') yield { text: 'in rows with one visible key', has: (i) => visibleKeys(scene, heads, output, i) === 1 };
    yield { text: `in the last ${axis === 'query' ? 'row' : 'key'}`, has: (n) => n === size - 1 };
    for (const tile of TILES) {
      if (size > tile && size % tile > 0) yield { text: `in the last tile of ${tile} ${many}, which is not whole`, has: (n) => n >= size - size % tile };
    }
    for (const tile of [16, 32, 64, 128, 256]) {
      for (let first = 0; first < size; first += tile) {
        if (first + tile < size || first === 0) yield { text: `in ${many} ${first} to ${first + tile - 1}`, has: (n) => n >= first && n < first + tile };
      }
    }
    for (const tile of [...TILES].sort((a, b) => b - a)) {
      if (size <= tile) continue;
      for (const rest of [tile - 1, ...Array.from({ length: tile - 1 }, (_, n) => n)]) {
        yield { text: `in ${many} ${axis === 'query' ? 'i' : 'j'} % ${tile} = ${rest}`, has: (n) => n % tile === rest };
      }
    }
  }
  const marks = new Set([...isHead || axis === 'batch' || axis === 'step' ? Array.from({ length: size }, (_, n) => n) : [8, 16, 32, 64, 128, 256, 512]]);
  for (const first of [...marks].filter((n) => n > 0 && n < size).sort((a, b) => b - a)) {
    yield { text: `in ${many} from ${first}`, has: (n) => n >= first };
  }
  for (const first of [...marks].filter((n) => n > 0 && n < size).sort((a, b) => a - b)) {
    yield { text: `in ${many} below ${first}`, has: (n) => n < first };
  }
}

function* parities(many: string): Generator<Fact> {
  yield { text: `in odd ${many}`, has: (n) => n % 2 === 1 };
  yield { text: `in even ${many}`, has: (n) => n % 2 === 0 };
}

/** KV heads b G + g of the heads b H + h or b G + g that fail. */
function kvHeadsOf(scene: Scene, heads: readonly number[], output: OutputName): number[] {
  return [...new Set(AXES[output].includes('head') ? heads.map((head) => Math.floor(head / scene.R)) : heads)];
}

/** The type that every token has of which something fails, if there are others in the same heads. */
function typeOfAll(
  scene: Scene, failing: Uint8Array, places: (at: number) => { head: number; chunk: number },
): string | undefined {
  const found = new Set<number>();
  const heads = new Set<number>();
  failing.forEach((level, at) => {
    if (level === 0) return;
    const { head, chunk } = places(at);
    heads.add(head);
    found.add(scene.plan(head).own[chunk]);
  });
  const [only] = found;
  const others = [...heads].some((head) => scene.plan(head).own.some((type) => type !== only));
  if (found.size !== 1 || !others) return undefined;
  return { [TokenType.GLOBAL]: 'GLOBAL', [TokenType.LOCAL]: 'LOCAL', [TokenType.WINDOW]: 'WINDOW' }[only];
}

/** How many keys row i sees, the most over the heads that fail. */
function visibleKeys(scene: Scene, heads: readonly number[], output: OutputName, i: number): number {
  let most = 0;
  for (const head of kvHeadsOf(scene, heads, output)) {
    let n = 0;
    for (let j = 0; j <= i && n < 2; j++) if (scene.sees(head, i, j)) n++;
    most = Math.max(most, n);
  }
  return most;
}
