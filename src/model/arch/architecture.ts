/**
 * What one architecture has of its own. Everything else is common to all of them: src/model/decoder.ts.
 * @module
 */
import type { Fields } from '../config/config-fields.ts';

/** A decoder as transformers implements it, by what sets it apart from the others. */
export interface Architecture {
  /** Its class in transformers, as `architectures` of config.json names it. */
  readonly className: string;
  /** Projections of queries, keys and values have a bias. */
  readonly projectionBias: boolean;
  /** Queries and keys are normed head by head, before they are rotated. */
  readonly headNorm: boolean;
  /** What transformers takes for fields that config.json lacks. */
  readonly absent: {
    /** Default: as many as there are query heads. */
    readonly kvHeads?: number;
    /** Default: hidden size / query heads. */
    readonly headDim?: number;
    readonly maxPositions: number;
    readonly bos: number | null;
    readonly eos: number | null;
  };

  /**
   * Refuses what its fields ask for and is not computed here.
   *
   * @returns Tokens that a query sees, its own counted; undefined if it sees all.
   */
  window(fields: Fields, layers: number): number | undefined;

  /** Fields of config.json that only it has. */
  write(slidingWindow: number | undefined): object;
}

/** Refuses a `layer_types` that is not `wanted` for each of the layers. */
export function expectLayerTypes(fields: Fields, layers: number, wanted: string, why: string): void {
  fields.refuse('layer_types', (x) => x !== null &&
    !(Array.isArray(x) && x.length === layers && x.every((kind) => kind === wanted)),
  `${why} it must be "${wanted}" for each of the ${layers} layers`);
}
