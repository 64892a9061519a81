/**
 * §6: choosing token types, and the straight-through gradient to their scores.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

/**
 * Types are compared exactly: score + noise is kept as its rounded sum and the rounding error of that sum (Knuth's
 * TwoSum), so that the order is that of the exact sums. No comparison with NaN holds, which leaves type 3.
 */
const TYPES = kernel('token types', 'scores noise force | G n noisy forced', `
  const b = Math.floor((this.thread.y + 0.5) / G);
  if (forced > 0) {
    if (force[at(b, n, this.thread.x)] === 1) {
      return 0;
    }
  }
  const row = at(this.thread.y, n, this.thread.x);
  let a0 = scores[at(row, 3, 0)];
  let a1 = scores[at(row, 3, 1)];
  let a2 = scores[at(row, 3, 2)];
  let e0 = 0;
  let e1 = 0;
  let e2 = 0;
  if (noisy > 0) {
    const n0 = noise[at(row, 3, 0)];
    const n1 = noise[at(row, 3, 1)];
    const n2 = noise[at(row, 3, 2)];
    const s0 = a0 + n0;
    const s1 = a1 + n1;
    const s2 = a2 + n2;
    const b0 = s0 - a0;
    const b1 = s1 - a1;
    const b2 = s2 - a2;
    e0 = (a0 - (s0 - b0)) + (n0 - b0);
    e1 = (a1 - (s1 - b1)) + (n1 - b1);
    e2 = (a2 - (s2 - b2)) + (n2 - b2);
    a0 = s0;
    a1 = s1;
    a2 = s2;
  }
  let type = 3;
  if ((a2 > a0 || (a2 === a0 && e2 >= e0)) && (a2 > a1 || (a2 === a1 && e2 >= e1))) {
    type = 2;
  }
  if ((a1 > a0 || (a1 === a0 && e1 >= e0)) && (a1 > a2 || (a1 === a2 && e1 >= e2))) {
    type = 1;
  }
  if ((a0 > a1 || (a0 === a1 && e0 >= e1)) && (a0 > a2 || (a0 === a2 && e0 >= e2))) {
    type = 0;
  }
  return type;`);

const PROBABILITIES = kernel('type probabilities', 'scores noise | noisy | temperature', `
  let a0 = scores[this.thread.y * 3];
  let a1 = scores[this.thread.y * 3 + 1];
  let a2 = scores[this.thread.y * 3 + 2];
  if (noisy > 0) {
    a0 = a0 + noise[this.thread.y * 3];
    a1 = a1 + noise[this.thread.y * 3 + 1];
    a2 = a2 + noise[this.thread.y * 3 + 2];
  }
  const max = Math.max(a0, Math.max(a1, a2));
  const x0 = Math.exp((a0 - max) / temperature);
  const x1 = Math.exp((a1 - max) / temperature);
  const x2 = Math.exp((a2 - max) / temperature);
  const Z = x0 + x1 + x2;
  let y = x0;
  if (this.thread.x === 1) {
    y = x1;
  }
  if (this.thread.x === 2) {
    y = x2;
  }
  return y / Z;`);

/** Types [B,G,Nc] of scores [B,G,Nc,3]. */
export function tokenTypes(
  scope: Scope, scores: Memory, options: { noise?: Memory; forceGlobal?: Memory }, B: number, G: number, Nc: number,
): Promise<Memory> {
  const { noise, forceGlobal } = options;
  // An absent array is not read, so that another one may stand in for it.
  const arrays = [scores, noise ?? scores, forceGlobal ?? scores];
  return scope.run(TYPES, [Nc, B * G], arrays, [G, Nc, noise ? 1 : 0, forceGlobal ? 1 : 0]);
}

/** Their probabilities, [rows,3] for `rows` = B G Nc. */
export function typeProbabilities(
  scope: Scope, scores: Memory, noise: Memory | undefined, temperature: number, rows: number,
): Promise<Memory> {
  return scope.run(PROBABILITIES, [3, rows], [scores, noise ?? scores], [noise ? 1 : 0], [temperature]);
}

const BACKWARD = kernel('token types backward', 'dTypes y force | G n forced | temperature', `
  const b = Math.floor((this.thread.z + 0.5) / G);
  if (forced > 0) {
    if (force[at(b, n, this.thread.y)] === 1) {
      return 0;
    }
  }
  const row = at(this.thread.z, n, this.thread.y);
  const mean = y[at(row, 3, 0)] * dTypes[at(row, 3, 0)] + y[at(row, 3, 1)] * dTypes[at(row, 3, 1)]
    + y[at(row, 3, 2)] * dTypes[at(row, 3, 2)];
  return y[at(row, 3, this.thread.x)] * (dTypes[at(row, 3, this.thread.x)] - mean) / temperature;`);

/** dscores = y (dt - sum_c y_c dt_c) / temperature, 0 where forced. */
export function tokenTypesBackward(
  scope: Scope, dTypes: Memory, y: Memory, options: { temperature: number; forceGlobal?: Memory },
  B: number, G: number, Nc: number,
): Promise<Memory> {
  const { temperature, forceGlobal } = options;
  const forced = forceGlobal ? 1 : 0;
  return scope.run(BACKWARD, [3, Nc, B * G], [dTypes, y, forceGlobal ?? y], [G, Nc, forced], [temperature]);
}
