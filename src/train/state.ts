/**
 * The state that a run resumes from, and the checks on it.
 * @module
 */
import { ConfigError, NumericError, ValueError } from '../core/errors.ts';
import { expectFinite } from '../core/finite.ts';
import { expectWhole } from '../core/shape.ts';
import type { NDArray } from '../core/tensor.ts';

/** Weights and AdamW's moments, by name. */
export interface Moments {
  readonly weights: ReadonlyMap<string, NDArray>;
  readonly m: ReadonlyMap<string, NDArray>;
  readonly v: ReadonlyMap<string, NDArray>;
}

export const PARTS = ['weights', 'm', 'v'] as const;

/** All tensors of a state, by their names in its file. */
export function* tensorsOf(state: Moments): Generator<[string, NDArray]> {
  for (const part of PARTS) for (const [name, tensor] of state[part]) yield [`${part}/${name}`, tensor];
}

/**
 * Refuses a state from which no run with weights of these shapes can resume.
 *
 * @throws {ConfigError} If a tensor is missing or of another shape.
 * @throws {NumericError} If one holds NaN, an infinity, or a square below 0.
 */
export function checkState(state: Moments & { step: number }, shapes: ReadonlyMap<string, readonly number[]>): void {
  expectWhole('the step of the state', state.step, 0);
  for (const part of PARTS) {
    if (!(state[part] instanceof Map)) throw new ValueError(`the state has no ${part}: pass what state() returned`);
    for (const [name, shape] of shapes) {
      const found = state[part].get(name);
      if (!found) throw new ConfigError(`the state has no '${part}/${name}': it belongs to another config`);
      if (String(found.shape) !== String(shape) && String(found.shape) !== `1,${String(shape)}`) {
        throw new ConfigError(`the state holds '${part}/${name}' as [${found.shape}], not [${shape}]: it belongs to another config`);
      }
    }
    const strange = [...state[part].keys()].find((name) => !shapes.has(name));
    if (strange !== undefined) throw new ConfigError(`the state holds '${part}/${strange}', which the config has no place for`);
  }
  expectFinite(tensorsOf(state), 'F64', 'the state to resume from', 'training cannot resume from it; go back to an earlier one');
  for (const [name, { data }] of state.v) {
    const at = data.findIndex((x) => x < 0);
    if (at >= 0) throw new NumericError(`the state to resume from holds ${data[at]} in 'v/${name}' at element ${at}: a mean of squares is 0 or more, so the state was damaged`);
  }
}
