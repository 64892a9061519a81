/**
 * The weights of an adapter: a scorer for each layer, and changes of q and k if it has any.
 * @module
 */
import { FileFormatError } from '../../core/errors.ts';
import { firstNotFinite } from '../../core/finite.ts';
import type { NDArray } from '../../core/tensor.ts';
import { encodeSafetensors } from '../../formats/safetensors.ts';
import { scorerNames } from '../config/names.ts';
import { lowRankShapes, type Sizes, TARGETS } from '../low-rank.ts';

/** A safetensors file in float32, with the names that Hugging Face, PEFT and the authors' code use. */
export function encodeAdapter(
  weights: ReadonlyMap<string, NDArray>, metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const tensors = [...weights].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' }] as const);
  return encodeSafetensors(tensors, { format: 'pt', ...metadata });
}

/**
 * Separates scorers from changes.
 *
 * @param sizes The sizes of the base.
 * @param rank That of the changes, or 0.
 * @param shares For how many layers a kept share was measured.
 * @param file The name of the file in messages.
 * @throws {FileFormatError} If there is anything but one scorer [3G, D] per layer, and A [rank, D] and B [rows, rank]
 *   for each changed projection, or a number is not finite.
 */
export function splitWeights(
  tensors: ReadonlyMap<string, NDArray>, sizes: Sizes, rank: number, shares: number, file: string,
): { scorers: Map<string, NDArray>; changes: Map<string, NDArray> } {
  const { layers, kvHeads, hiddenSize } = sizes;
  const fail = (what: string): never => {
    throw new FileFormatError(`${file} ${what}: copy the adapter again, or fine-tune again`);
  };
  const changes = rank === 0 ? 0 : 2 * TARGETS.length * layers;
  if (tensors.size !== layers + changes || shares !== layers) {
    const [what, more] = rank === 0 ? ['scorers', ''] : ['tensors', `, which have a scorer each and ${changes} matrices of changes of q and k`];
    fail(`holds ${tensors.size} ${what} and the config ${shares} kept shares for the base's ${layers} layers${more}`);
  }
  const shapes = lowRankShapes(sizes, rank);
  const taken = (name: string, shape: readonly number[]): [string, NDArray] => {
    const { data, shape: found } = tensors.get(name) ?? fail(`lacks '${name}'`);
    if (String(found) !== String(shape)) fail(`holds '${name}' as [${found}], but for the base it must be [${shape}]`);
    const wrong = firstNotFinite(data);
    if (wrong >= 0) fail(`holds '${name}' with ${data[wrong]} at element ${wrong}, which is not a finite number`);
    return [name, { data, shape: found }];
  };
  return {
    scorers: new Map(scorerNames(sizes).map((name) => taken(name, [3 * kvHeads, hiddenSize]))),
    changes: new Map([...shapes].map(([name, shape]) => taken(name, shape))),
  };
}
