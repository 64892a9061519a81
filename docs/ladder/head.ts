/**
 * What every rung of the ladder computes: attention of one head, under the lifetimes of its tokens.
 * @module
 */

/** N tokens; q, k and v [N,d]; their types; and the last query that sees each. */
export interface Head {
  readonly N: number;
  readonly d: number;
  readonly q: Float32Array<ArrayBuffer>;
  readonly k: Float32Array<ArrayBuffer>;
  readonly v: Float32Array<ArrayBuffer>;
  readonly types: Int32Array<ArrayBuffer>;
  readonly last: Int32Array<ArrayBuffer>;
  readonly window: number;
}

/** The lifetime of a token that is seen for ever. */
export const FOREVER: number = 2 ** 31 - 1;

/** A head of numbers in -1..1, one tenth of its tokens GLOBAL, three tenths LOCAL and the rest WINDOW. */
export function exampleHead(N: number, d: number, window: number, random: () => number = Math.random): Head {
  const real = (): Float32Array<ArrayBuffer> => Float32Array.from({ length: N * d }, () => 2 * random() - 1);
  const drawn = (): number => [0, 1, 1, 1, 2, 2, 2, 2, 2, 2][Math.floor(10 * random())];
  const types = Int32Array.from({ length: N }, (_, t) => (t === 0 ? 0 : drawn()));
  const last = new Int32Array(N);
  let closing = FOREVER;
  for (let j = N - 1; j >= 0; j--) {
    last[j] = types[j] === 0 ? FOREVER : types[j] === 1 ? closing : j + window;
    if (types[j] === 0) closing = j;
  }
  return { N, d, q: real(), k: real(), v: real(), types, last, window };
}
