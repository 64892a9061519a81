/**
 * Where NaN or an infinity came from. A pass leaves its layers' tensors here; nothing is read before a result is
 * found to be no number.
 * @module
 */
import type { Engine, Tensor } from '../../core/engine.ts';
import { NumericError, ValueError } from '../../core/errors.ts';
import { firstNotFinite } from '../../core/finite.ts';
import type { LayerInputs, Weights } from '../decoder.ts';

/** A tensor on the way: [B,N,D] or [B,heads,N,d]. */
interface Stage {
  readonly layer: number;
  readonly place: string;
  readonly tensor: Tensor;
}

/** The layers of one pass, and the weights that it read. Valid until the pass's tape is disposed of. */
export class Watch {
  readonly #engine: Engine;
  readonly #weights: Weights;
  readonly #counts: readonly number[] | undefined;
  readonly #stages: Stage[] = [];

  /** @param counts How many tokens of each sequence count (default: all). */
  constructor(engine: Engine, weights: Weights, counts?: readonly number[]) {
    this.#engine = engine;
    this.#weights = weights;
    this.#counts = counts;
  }

  /** Remembers what a layer's attention gets. */
  see(layer: number, { hidden, q, k, v }: LayerInputs): void {
    const add = (place: string, tensor: Tensor) => this.#stages.push({ layer, place, tensor });
    add(layer === 0 ? 'the embedding, as layer 0 reads it' : `layer ${layer - 1}, as layer ${layer} reads its output`, hidden);
    add(`the queries of layer ${layer}`, q);
    add(`the keys of layer ${layer}`, k);
    add(`the values of layer ${layer}`, v);
  }

  /** Remembers what it gives. */
  attended(layer: number, tensor: Tensor): void {
    this.#stages.push({ layer, place: `the attention of layer ${layer}`, tensor });
  }

  /**
   * The error that says where a result stopped being a number.
   *
   * @param what The result, and what it is: 'the loss is NaN'.
   */
  async blame(what: string): Promise<NumericError> {
    const found = await this.#first();
    const place = found ? `${found.value} first appears in ${found.stage.place}` : 'every layer\'s attention still had numbers, so it comes of the last feed-forward, norm or head';
    const cause = await this.#weight(found?.stage.layer ?? Infinity);
    return new NumericError(`${what}; ${place}; ${cause.bad ?? cause.overflow}`);
  }

  /** The same of an operation that refused NaN, if there is any; any other error as it is. */
  async explain(error: unknown): Promise<unknown> {
    if (!(error instanceof ValueError)) return error;
    if (await this.#first()) return this.blame('token types cannot be chosen');
    const { bad } = await this.#weight(this.#stages.at(-1)?.layer ?? -1);
    return bad === undefined ? error : new NumericError(`token types cannot be chosen: ${bad}`);
  }

  /** The first stage that holds what is no number, and what that is. */
  async #first(): Promise<{ stage: Stage; value: number } | undefined> {
    for (const stage of this.#stages) {
      let data: ArrayLike<number>;
      try {
        data = await this.#engine.read(stage.tensor);
      } catch {
        return undefined; // its own computation failed
      }
      const at = this.#firstOf(data, stage.tensor.shape);
      if (at >= 0) return { stage, value: data[at] };
    }
    return undefined;
  }

  #firstOf(data: ArrayLike<number>, shape: readonly number[]): number {
    const [N, width] = [shape[shape.length - 2], shape[shape.length - 1]];
    const each = data.length / shape[0];
    for (let at = firstNotFinite(data); at >= 0; at = firstNotFinite(data, at + 1)) {
      const token = Math.floor(at / width) % N;
      if (token < (this.#counts?.[Math.floor(at / each)] ?? N)) return at;
    }
    return -1;
  }

  /** Why: a weight that the layers up to `layer` read, or else an overflow. */
  async #weight(layer: number): Promise<{ bad?: string; overflow: string }> {
    const cause = 'its file is damaged, or the training that made it diverged';
    let largest = { name: '', value: 0 };
    for (const [name, weight] of this.#weights) {
      if (layerOf(name) > layer) continue;
      const data = await this.#engine.read(weight);
      const at = firstNotFinite(data);
      if (at >= 0) return { bad: `the weight '${name}' holds ${data[at]} at element ${at}: ${cause}`, overflow: '' };
      for (const x of data) if (Math.abs(x) > Math.abs(largest.value)) largest = { name, value: x };
    }
    const { precision } = this.#engine;
    const remedy = precision === 'float32' ? 'compute in float64, without a GPU' : cause;
    const most = `the largest ${largest.value.toPrecision(3)} in '${largest.name}'`;
    return { overflow: `all weights read until there are finite, ${most}: an overflow of ${precision}; ${remedy}` };
  }
}

/** The layer that reads a weight; -1 for the embedding, and what comes last counts as behind them all. */
function layerOf(name: string): number {
  const layer = /\.layers\.(\d+)\./.exec(name);
  if (layer) return Number(layer[1]);
  return name.includes('embed_tokens') ? -1 : Number.MAX_SAFE_INTEGER;
}

/** What a step was: its tokens [batch, T], of which sequence b took the first taken[b], at `positions`. */
interface Step {
  readonly taken: readonly number[];
  readonly T: number;
  readonly positions: readonly number[];
}

/**
 * Refuses results of a step that are no numbers. Rows beyond taken[b] mean nothing and are not looked at.
 *
 * @param what Their name.
 * @param data Rows of one width: one for each token (`all`), or for the last token of each sequence.
 */
export async function checkRows(
  what: string, data: ArrayLike<number>, wanted: 'all' | 'last', { taken, T, positions }: Step, watch: Watch,
): Promise<void> {
  const rows = wanted === 'all' ? T : 1;
  const width = data.length / (taken.length * rows);
  for (const [b, count] of taken.entries()) {
    const begin = b * rows * width;
    const at = firstNotFinite(data, begin, begin + Math.min(count, rows) * width);
    if (at < 0) continue;
    const t = wanted === 'all' ? Math.floor((at - begin) / width) : count - 1;
    const place = `position ${positions[b * T + t]} of sequence ${b}`;
    throw await watch.blame(`the ${what} at ${place} are no numbers: number ${at % width} is ${data[at]}`);
  }
}
