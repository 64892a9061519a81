/**
 * What distinguishes one architecture from the others. What they have in common is in src/model/decoder.ts.
 * @module
 */
import type { Fields } from '../config/config-fields.ts';

/** What distinguishes a decoder, as transformers implements it, from the others. */
export interface Architecture {
  /** The name of its class in transformers, which `architectures` of config.json holds. */
  readonly className: string;
  /** Whether projections of queries, keys and values have a bias. */
  readonly projectionBias: boolean;
  /** Whether queries and keys are normalised per head before they are rotated. */
  readonly headNorm: boolean;
  /** The defaults of transformers for fields that config.json lacks. */
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
   * Reads the sliding window, and refuses fields that ask for something that is not supported.
   *
   * @returns How many tokens a query sees, including its own; undefined if it sees all.
   */
  window(fields: Fields, layers: number): number | undefined;

  /** The fields of config.json that are specific to it. */
  write(slidingWindow: number | undefined): object;
}

/** Refuses `layer_types` other than `wanted` for each of the layers. */
export function expectLayerTypes(fields: Fields, layers: number, wanted: string, why: string): void {
  fields.refuse('layer_types', (x) => x !== null &&
    !(Array.isArray(x) && x.length === layers && x.every((kind) => kind === wanted)),
  `${why} it must be "${wanted}" for each of the ${layers} layers`);
}
