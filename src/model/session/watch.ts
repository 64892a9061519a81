/**
 * Finds out where NaN or infinity came from. A pass registers the tensors of its layers here, but they are read only
 * once a result turns out not to be finite.
 * @module
 */
import type { Engine, Tensor } from '../../core/engine.ts';
import { NumericError, ValueError } from '../../core/errors.ts';
import { firstNotFinite } from '../../core/finite.ts';
import type { LayersMade } from '../../core/forms.ts';
import type { LayerInputs, Weights } from '../decoder.ts';

/** What stages are called. */
const PLACES = {
  input: (layer: number) => (layer === 0 ? 'the embedding, as layer 0 reads it' : `layer ${layer - 1}, as layer ${layer} reads its output`),
  queries: (layer: number) => `the queries of layer ${layer}`,
  keys: (layer: number) => `the keys of layer ${layer}`,
  values: (layer: number) => `the values of layer ${layer}`,
  attention: (layer: number) => `the attention of layer ${layer}`,
} as const;

/** An intermediate tensor: [B,N,D] or [B,heads,N,d]. */
interface Stage {
  readonly layer: number;
  readonly kind: keyof typeof PLACES;
  readonly tensor: Tensor;
}

/** The layers of one pass, and the weights that it read. It is valid until the pass's tape is disposed of. */
export class Watch {
  readonly #engine: Engine;
  readonly #weights: Weights;
  readonly #counts: readonly number[] | undefined;
  readonly #stages: Stage[] = [];
  #later: LayersMade['stages'] | undefined;
  readonly #owned: Tensor[] = [];

  /** @param counts How many tokens of each sequence count (default: all). */
  constructor(engine: Engine, weights: Weights, counts?: readonly number[]) {
    this.#engine = engine;
    this.#weights = weights;
    this.#counts = counts;
  }

  /** Registers the inputs of a layer's attention. */
  see(layer: number, { hidden, q, k, v }: LayerInputs): void {
    this.#stages.push(
      { layer, kind: 'input', tensor: hidden }, { layer, kind: 'queries', tensor: q },
      { layer, kind: 'keys', tensor: k }, { layer, kind: 'values', tensor: v },
    );
  }

  /** Registers the output of a layer's attention. */
  attended(layer: number, tensor: Tensor): void {
    this.#stages.push({ layer, kind: 'attention', tensor });
  }

  /** Registers what will be there when it is asked for: the stages of all layers at once. */
  later(stages: LayersMade['stages']): void {
    this.#later = stages;
  }

  #known(): readonly Stage[] {
    const later = this.#later?.() ?? [];
    this.#later = undefined;
    later.forEach((stage, layer) => {
      this.see(layer, stage);
      this.attended(layer, stage.attended);
    });
    this.#owned.push(...later.flatMap((stage) => Object.values(stage) as Tensor[]));
    return this.#stages;
  }

  /** Frees what was there when it was asked for. */
  dispose(): void {
    for (const tensor of this.#owned.splice(0)) tensor.dispose();
    this.#later = undefined;
  }

  /**
   * The error that says where numbers first stopped being finite.
   *
   * @param what The symptom, such as 'the loss is NaN'.
   */
  async blame(what: string): Promise<NumericError> {
    const found = await this.#first();
    const place = found ? `${found.value} first appears in ${PLACES[found.stage.kind](found.stage.layer)}` : 'the attention of every layer is finite, so it comes from the last feed-forward part, the last norm or the head';
    const cause = await this.#weight(found?.stage.layer ?? Infinity);
    return new NumericError(`${what}; ${place}; ${cause.bad ?? cause.overflow}`);
  }

  /** The same error if an operation has refused NaN; other errors are returned unchanged. */
  async explain(error: unknown): Promise<unknown> {
    if (!(error instanceof ValueError)) return error;
    if (await this.#first()) return this.blame('token types cannot be chosen');
    const { bad } = await this.#weight(this.#known().at(-1)?.layer ?? -1);
    return bad === undefined ? error : new NumericError(`token types cannot be chosen: ${bad}`);
  }

  /** The first stage that holds NaN or infinity, and which it is. */
  async #first(): Promise<{ stage: Stage; value: number } | undefined> {
    for (const stage of this.#known()) {
      let data: ArrayLike<number>;
      try {
        data = await this.#engine.read(stage.tensor);
      } catch {
        return undefined; // the computation of the tensor itself failed
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

  /** The cause: a weight that the layers up to `layer` read, or otherwise an overflow. */
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
    return { overflow: `all weights used up to there are finite, ${most}: an overflow of ${precision}; ${remedy}` };
  }
}

/** The layer that reads a weight: -1 for the embedding, and beyond all layers for the last norm and the head. */
function layerOf(name: string): number {
  const layer = /\.layers\.(\d+)\./.exec(name);
  if (layer) return Number(layer[1]);
  return name.includes('embed_tokens') ? -1 : Number.MAX_SAFE_INTEGER;
}

/** A step: its tokens [batch, T], of which sequence b took the first taken[b], at `positions`. */
export interface Step {
  readonly taken: readonly number[];
  readonly T: number;
  readonly positions: readonly number[];
}

/**
 * Refuses results of a step that are not finite. Rows beyond taken[b] are undefined and are not checked.
 *
 * @param what The name of the results.
 * @param data Rows of one width, one for each token (`all`) or for the last token of each sequence.
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
    throw await watch.blame(`the ${what} at ${place} are not finite: number ${at % width} is ${data[at]}`);
  }
}
