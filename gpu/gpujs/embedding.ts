/**
 * Token embedding and its gradient.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const EMBEDDING = kernel('embedding', 'weight ids | width', `
  const id = ids[this.thread.y];
  return weight[at(id, width, this.thread.x)];`);

/** out[n] = weight[ids[n]]: weight [V,D], ids of `rows` -> [rows,D]. */
export function embedding(scope: Scope, weight: Memory, ids: Memory, rows: number, width: number): Promise<Memory> {
  return scope.run(EMBEDDING, [width, rows], [weight, ids], [width]);
}

const EMBEDDING_BACKWARD = kernel('embedding backward', 'dOut starts order | width', `
  const first = starts[this.thread.y];
  const count = starts[this.thread.y + 1] - first;
  let sum = 0;
  for (let t = 0; t < count; t++) {
    const row = order[first + t];
    sum += dOut[at(row, width, this.thread.x)];
  }
  return sum;`);

/** dWeight[id] = sum of dOut[n] over the n with ids[n] = id, which the host sorts by id: [V,D]. */
export function embeddingBackward(
  scope: Scope, dOut: Memory, ids: Int32Array, vocabulary: number, width: number,
): Promise<Memory> {
  const starts = new Float32Array(vocabulary + 1);
  for (const id of ids) starts[id + 1] = starts[id + 1] + 1;
  for (let id = 0; id < vocabulary; id++) starts[id + 1] = starts[id + 1] + starts[id];
  const next = starts.slice();
  const order = new Float32Array(Math.max(ids.length, 1));
  ids.forEach((id, n) => {
    order[next[id]] = n;
    next[id] = next[id] + 1;
  });
  return scope.run(EMBEDDING_BACKWARD, [width, vocabulary], [dOut, scope.upload(starts), scope.upload(order)], [width]);
}
