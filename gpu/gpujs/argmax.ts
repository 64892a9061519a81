/**
 * The index of the largest number of a row. A row is split into parts, since there may be only one row of many numbers.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

/** The largest number of float32, beyond which nothing is finite. NaN is neither below nor above. */
const MOST = '3.4028234663852886e38';

const BEST_OF_PART = kernel('argmax of parts', 'x | V length', `
  let best = this.thread.x * length;
  let largest = x[this.thread.y * V + this.thread.x * length];
  let strange = 0;
  for (let t = 0; t < length; t++) {
    if (this.thread.x * length + t < V) {
      const value = x[this.thread.y * V + this.thread.x * length + t];
      let finite = 0;
      if (value >= -${MOST} && value <= ${MOST}) {
        finite = 1;
      }
      if (finite < 1) {
        strange = 1;
      }
      if (value > largest) {
        largest = value;
        best = this.thread.x * length + t;
      }
    }
  }
  if (strange > 0) {
    return -1;
  }
  return best;`);

const BEST = kernel('argmax', 'x ofParts | V parts', `
  let best = ofParts[this.thread.x * parts];
  let strange = 0;
  if (best < 0) {
    strange = 1;
    best = 0;
  }
  let largest = x[at(this.thread.x, V, best)];
  for (let p = 1; p < parts; p++) {
    const other = ofParts[this.thread.x * parts + p];
    if (other < 0) {
      strange = 1;
    }
    if (other >= 0) {
      const value = x[at(this.thread.x, V, other)];
      if (value > largest) {
        largest = value;
        best = other;
      }
    }
  }
  if (strange > 0) {
    return -1;
  }
  return best;`, { flat: true });

/** The least numbers per part. */
const PART = 64;

/** The index of the largest number of each of `rows` rows of V, ties to the lowest; -1 if one is not finite. */
export async function argmax(scope: Scope, x: Memory, rows: number, V: number): Promise<Memory> {
  const length = Math.max(PART, Math.ceil(Math.sqrt(V)));
  const parts = Math.ceil(V / length);
  const ofParts = await scope.run(BEST_OF_PART, [parts, rows], [x], [V, length]);
  if (parts === 1) return ofParts;
  const best = await scope.run(BEST, [rows], [x, ofParts], [V, parts]);
  scope.free(ofParts);
  return best;
}
