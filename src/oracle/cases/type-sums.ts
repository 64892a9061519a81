/**
 * Sums over the pairs that each type gradient of §5 adds or subtracts, from which the budget bounds rounding errors.
 * @module
 */
import { chunkCount, chunkEnd, chunkOf, TokenType, windowEnd } from '../../core/lifetime.ts';

/** Sums over the pairs of one head's type gradients, with (dg, dl, dw) of chunk c at 3c. */
export interface TypeSums {
  /** Sums of a first quantity of each pair. */
  readonly first: Float64Array;
  /** Sums of a second quantity of each pair. */
  readonly second: Float64Array;
  /** Numbers of pairs. */
  readonly count: Float64Array;
  /** Adds row i, whose pair (i,j) has the quantities first[j] >= 0 and second[j] >= 0. */
  addRow(i: number, first: Float64Array, second: Float64Array): void;
}

/** Sums that start at 0, for one head's types [Nc] and N tokens. */
export function typeSums(types: Int32Array, N: number, { window, chunk }: { window: number; chunk: number }): TypeSums {
  const chunks = chunkCount(N, chunk);
  const { own, closing, previousGlobal } = planOf(types, N, chunk);
  const [A, B, count] = [0, 1, 2].map(() => new Float64Array(3 * chunks)) as [Float64Array, Float64Array, Float64Array];
  const add = (at: number, a: number, b: number, n: number): void => {
    A[at] = A[at] + a;
    B[at] = B[at] + b;
    count[at] = count[at] + n;
  };
  return {
    first: A, second: B, count,
    addRow(i, first, second) {
      const r = chunkOf(i, chunk);
      const p = previousGlobal[r]; // only GLOBAL chunk p and the chunks after it can still close something at i
      const oldest = p < 0 ? 0 : previousGlobal[p] + 1;
      let openA = 0, openB = 0, open = 0; // LOCAL pairs since the GLOBAL before c
      for (let c = 0; c <= r; c++) {
        let a = 0;
        let b = 0;
        const begin = c * chunk;
        const end = Math.min(begin + chunk, i + 1);
        for (let j = begin; j < end; j++) {
          a += first[j];
          b += second[j];
        }
        const n = end - begin;
        add(3 * c, a, b, n);
        if (i <= closing[c]) add(3 * c + 1, a, b, n);
        if (i <= windowEnd(c, chunk, window)) add(3 * c + 2, a, b, n);
        if (c < oldest) continue;
        if (c >= p && c < r) add(3 * c, openA, openB, open);
        if (own[c] === TokenType.GLOBAL) openA = openB = open = 0;
        else if (own[c] === TokenType.LOCAL) {
          openA += a;
          openB += b;
          open += n;
        }
      }
    },
  };
}

/**
 * The types with an unfinished last chunk made GLOBAL (`own`), e(c) of §5 in tokens (`closing`), and the last GLOBAL
 * chunk before each chunk, or -1 (`previousGlobal`).
 */
export function planOf(types: Int32Array, N: number, chunk: number): {
  own: Int32Array; closing: Int32Array; previousGlobal: Int32Array;
} {
  const chunks = chunkCount(N, chunk);
  const own = Int32Array.from(types);
  if (chunks > 0 && chunkEnd(chunks - 1, chunk) >= N) own[chunks - 1] = TokenType.GLOBAL;
  const [closing, previousGlobal] = [new Int32Array(chunks), new Int32Array(chunks)];
  for (let c = chunks - 1, end = N - 1; c >= 0; c--) {
    closing[c] = end;
    if (own[c] === TokenType.GLOBAL) end = Math.min(chunkEnd(c, chunk), N - 1);
  }
  for (let c = 0, previous = -1; c < chunks; c++) {
    previousGlobal[c] = previous;
    if (own[c] === TokenType.GLOBAL) previous = c;
  }
  return { own, closing, previousGlobal };
}
