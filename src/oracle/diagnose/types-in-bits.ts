/**
 * Types that are stored in one number of bits and read in another.
 * @module
 */
import { TokenType } from '../../core/lifetime.ts';
import type { Scene } from './scene.ts';

const { GLOBAL } = TokenType;

/** The types that such a kernel has, by KV head and chunk. */
export function* typesInOtherBits(scene: Scene): Generator<{
  readonly detail: string;
  readonly type: (head: number, c: number) => number;
}> {
  const { N, chunks, types, parameters: { chunk: C } } = scene;
  if (chunks < 2) return;
  const of = (read: (n: number) => number) => (head: number, c: number): number => {
    if (N % C > 0 && c === chunks - 1) return GLOBAL;
    return read(head * chunks + c);
  };
  for (const [from, to, by] of [[64, 32, 2], [32, 8, 4], [32, 16, 2], [64, 8, 8]] as const) {
    yield {
      detail: `types of ${from} bits read as if they had ${to}: element n is types[n / ${by}], or 0`,
      type: of((n) => (n % by === 0 ? types[n / by] : GLOBAL)),
    };
  }
  for (const by of [2, 4] as const) {
    yield { detail: `element n is types[${by} n], as if elements were ${by} apart`, type: of((n) => types[by * n] ?? GLOBAL) };
    yield { detail: `element n is types[n / ${by}], rounded down`, type: of((n) => types[Math.floor(n / by)]) };
  }
}
