/**
 * Gradients of a forward pass that makes the same mistake: its lse and D, for any mask or scale.
 * @module
 */
import type { Change } from './backward-change.ts';
import type { RowOptions, Scene, Sees } from './scene.ts';

/** The keys that a query of a KV head sees, and lse and D of the query heads that read it. */
interface Forward {
  readonly keys: Int32Array;
  readonly hash: number;
  readonly lse: Float64Array;
  readonly D: Float64Array;
}

/** How many sets of keys are kept for a row. Many masks have the same one. */
const MOST_SETS = 24;

/** The forward passes of one case and scale. */
class Forwards {
  readonly #scene: Scene;
  readonly #scale: number;
  readonly #sets: Forward[][];
  readonly #keys: Int32Array;
  readonly #S: Float64Array;

  constructor(scene: Scene, scale: number) {
    this.#scene = scene;
    this.#scale = scale;
    this.#sets = Array.from({ length: scene.heads * scene.N }, () => []);
    this.#keys = new Int32Array(scene.N);
    this.#S = new Float64Array(scene.N);
  }

  /** That of query i of a KV head if it sees what `sees` says. */
  of(head: number, i: number, sees: Sees): Forward {
    const { N, R } = this.#scene;
    const keys = this.#keys;
    const lasts = sees.lasts?.(head);
    let [length, hash] = [0, 0];
    const end = lasts ? i : N - 1;
    for (let j = 0; j <= end; j++) {
      if (lasts ? i > lasts[j] : !sees(head, i, j)) continue;
      keys[length++] = j;
      hash = Math.imul(hash + j + 1, 0x9e3779b1);
    }
    const sets = this.#sets[head * N + i];
    for (const each of sets) if (each.hash === hash && same(each.keys, keys, length)) return each;
    const unknown = (): Float64Array => new Float64Array(R).fill(NaN);
    const made = { keys: keys.slice(0, length), hash, lse: unknown(), D: unknown() };
    if (sets.length < MOST_SETS) sets.push(made);
    return made;
  }

  /** Computes lse and D of query head r of the group. */
  compute({ keys, lse, D }: Forward, head: number, i: number, r: number): void {
    const scene = this.#scene;
    const [query, first, S] = [(head * scene.R + r) * scene.N + i, head * scene.N, this.#S];
    let [m, Z, total] = [-Infinity, 0, 0];
    for (let n = 0; n < keys.length; n++) m = Math.max(m, S[n] = this.#scale * scene.product(query, first + keys[n]));
    for (let n = 0; n < keys.length; n++) Z += Math.exp(S[n] - m);
    const own = m + Math.log(Z);
    for (let n = 0; n < keys.length; n++) total += Math.exp(S[n] - own) * scene.gain(query, first + keys[n]);
    [lse[r], D[r]] = [own, total];
  }
}

function same(a: Int32Array, b: Int32Array, length: number): boolean {
  if (a.length !== length) return false;
  for (let n = 0; n < length; n++) if (a[n] !== b[n]) return false;
  return true;
}

const KNOWN = new WeakMap<Scene, Map<number, Forwards>>();

function forwardsOf(scene: Scene, scale: number): Forwards {
  let all = KNOWN.get(scene);
  if (!all) KNOWN.set(scene, all = new Map());
  let own = all.get(scale);
  if (!own) all.set(scale, own = new Forwards(scene, scale));
  return own;
}

/** The weights and P' - D of a forward pass that makes the same mistake. */
export function ownForward(
  scene: Scene, { sees = scene.sees, scale = scene.parameters.scale }: RowOptions,
): Required<Pick<Change, 'weight' | 'change'>> {
  const { N, R } = scene;
  const forwards = forwardsOf(scene, scale);
  let rows: (Forward | undefined)[] | undefined;
  const at = (query: number): { forward: Forward; r: number } => {
    const [row, i] = [Math.floor(query / N), query % N];
    const head = Math.floor(row / R);
    rows ??= Array.from({ length: scene.heads * N });
    const forward = rows[head * N + i] ??= forwards.of(head, i, sees);
    const r = row - head * R;
    if (Number.isNaN(forward.lse[r])) forwards.compute(forward, head, i, r);
    return { forward, r };
  };
  return {
    weight: (query, S) => {
      const { forward, r } = at(query);
      return Math.exp(S - forward.lse[r]);
    },
    change: (query, key) => {
      const { forward, r } = at(query);
      return scene.gain(query, key) - forward.D[r];
    },
  };
}
