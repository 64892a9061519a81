/**
 * What the age of a token counts where learned scores rank (§11, `nats-rank`).
 * @module
 */

/** By how much a token ranks above an equal one before it: a number from 0 for each layer and KV head. */
export type Recency = readonly (readonly number[])[];

/** Whether a value is that, for a model of this shape. */
export function isRecency(value: unknown, layers: unknown, kvHeads: unknown): value is Recency {
  const good = (x: unknown): boolean => typeof x === 'number' && x >= 0 && Number.isFinite(x);
  return Array.isArray(value) && value.length === layers &&
    value.every((each) => Array.isArray(each) && each.length === kvHeads && each.every(good));
}
