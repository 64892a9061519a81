/**
 * What the kernels for few rows do with their rows first: norm them, or put them together from the parts of attention.
 * @module
 */
import { joinParts, LOWEST, noting, partition, partsOfHead } from './fast/index.ts';

/** Attention whose parts are the rows of a product: see fast/decode.ts. */
export interface MergedParts {
  /** KV heads of all sequences. */
  readonly heads: number;
  /** Query heads per KV head. */
  readonly group: number;
  readonly d: number;
  /** Parts are whole multiples of so many entries. */
  readonly step: number;
}

/** Functions that put together row after row, four numbers at a time, and note in the book what a query saw. */
export function mergeFunctions({ heads, group, d, step }: MergedParts): string {
  const layout = { slots: true, fresh: true } as const;
  const across = d / 4;
  return `const LOWEST = ${LOWEST};
${partition({ heads, layout }, step)}
fn merged(n: u32, size: u32) -> vec4f {
  let column = n % ${across};
  let query = n / ${across} % ${group};
  let head = n / ${across * group};
  ${partsOfHead(heads, true, true)}
  var top = LOWEST;
  var l = 0f;
  var sum = vec4f();
  ${joinParts(group, across, '0u', 1)}
  return select(sum / l, vec4f(), l == 0);
}
fn note(head: u32, size: u32) {
  ${partsOfHead(heads, true, true)}
  ${noting(true, group)}
}`.replaceAll('P.', 'p.');
}

/** Puts all rows together in workgroup memory, which takes ${'`vectors`'} numbers of four for each. */
export function merge({ heads }: MergedParts, R: number, THREADS: number): string {
  return `{
    let size = part_size();
    for (var n = thread; n < ${R}u * p.vectors; n += ${THREADS}u) {
      let value = merged(n, size);
      normed[n] = value;
      if (block == 0u) { attended[n] = value; }
    }
    for (var head = thread; head < select(0u, ${heads}u, block == 0u); head += ${THREADS}u) { note(head, size); }
  }
  workgroupBarrier();`;
}

/** The arrays in workgroup memory that norm() or stage() needs. */
export const normArrays = (R: number, subgroups: boolean, THREADS: number): string => subgroups
  ? `var<workgroup> squares: array<vec2f, ${R * THREADS / 32}>;`
  : `var<workgroup> squares: array<vec2f, ${R * THREADS}>;\nvar<workgroup> sixteenths: array<vec2f, ${16 * R}>;`;

/** What the factor of a row follows from, given the means of its squares. */
const FACTORS = `let limit = LARGE * p.small;
    let scaled = total.y > limit * limit;
    let inverse = select(inverseSqrt(total.x + p.epsilon), inverseSqrt(total.y + p.epsilon * p.small * p.small), scaled);`;

/** Adds the squares of a value, and of the value times small. */
const squared = (x: string): string => `let small = value * p.small;
      sum += ${x === 'f32' ? 'vec2f(value * value, small * small)' : 'vec2f(dot(value, value), dot(small, small))'};`;

/** Finds the factors of all rows. No barrier is in a loop, as some drivers compile these slowly. */
export function norm(R: number, x: string, keeps: boolean, THREADS: number): string {
  return `for (var r = 0u; r < ${R}u; r++) {
    var sum = vec2f();                 // of the squares, and of the squares of x small
    for (var n = thread; n < p.vectors; n += ${THREADS}u) {
      let value = x[r * p.vectors + n];
      ${squared(x)}
    }
    squares[r * ${THREADS}u + thread] = sum;
  }
  workgroupBarrier();
  if (thread < ${16 * R}u) {
    var sum = vec2f();
    for (var n = 0u; n < ${THREADS / 16}u; n++) { sum += squares[thread * ${THREADS / 16}u + n]; }
    sixteenths[thread] = sum;
  }
  workgroupBarrier();
  for (var r = 0u; r < ${R}u; r++) {
    var total = vec2f();
    for (var n = 0u; n < 16u; n++) { total += sixteenths[r * 16u + n]; }
    total /= f32(p.vectors * ${x === 'f32' ? 1 : 4}u);
    ${FACTORS}
    if (thread == 0u) { factors[r] = vec2f(select(1.0, p.small, scaled), inverse); }
    ${keeps ? `for (var n = thread; n < p.vectors; n += ${THREADS}u) {
      let value = x[r * p.vectors + n] * select(1.0, p.small, scaled) * inverse * gain[n];
      if (block == 0u) { hidden[r * p.vectors + n] = value; }
    }` : ''}
  }
  workgroupBarrier();`;
}

/**
 * With subgroups: puts all rows, times the gain, into workgroup memory. The factor of a row multiplies its products
 * instead, so that these need not wait for it; until then rows are LEAST times as large, lest products be infinite.
 */
export function stage(R: number, x: string, THREADS: number): string {
  return `for (var r = 0u; r < ${R}u; r++) {
    var sum = vec2f();                 // of the squares, and of the squares of x small
    for (var n = thread; n < p.vectors; n += ${THREADS}u) {
      let value = x[r * p.vectors + n];
      normed[r * p.vectors + n] = value * LEAST * gain[n];
      ${squared(x)}
    }
    sum = subgroupAdd(sum);
    if (lane == 0u) { squares[r * ${THREADS / 32}u + team] = sum; }
  }
  workgroupBarrier();`;
}

/** The function factor_of(r), for after stage(). */
export const factorFunction = (x: string, THREADS: number): string => `const LEAST = 0x1p-20;
fn factor_of(r: u32) -> f32 {
    var total = vec2f();
    for (var n = 0u; n < ${THREADS / 32}u; n++) { total += squares[r * ${THREADS / 32}u + n]; }
    total /= f32(p.vectors * ${x === 'f32' ? 1 : 4}u);
    ${FACTORS}
    return select(1.0, p.small, scaled) * inverse / LEAST;
}`;
