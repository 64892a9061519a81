/** What the reader has set, and its form in the address. */

/** The letters of the types, by number. */
export const LETTERS = 'GLW';
/** The fewest tokens. */
export const LEAST = 8;
/** The most tokens. */
export const MOST = 40;

/** Everything that can be set. */
export interface Setting {
  /** A letter for each token. With chunks, that of a chunk's first token counts. */
  readonly types: string;
  readonly window: number;
  readonly chunk: number;
  /** The query and the key that are looked at. */
  readonly i: number;
  readonly j: number;
  /** Names the numbers of q, k, v and the cotangent. */
  readonly seed: number;
  /** The price of keeping everything, in nats per token. */
  readonly lambda: number;
  readonly rule: 'bounded' | 'exact';
}

/** The running example of the chapters. */
export const EXAMPLE: Setting = {
  types: 'GLLWGLWW', window: 2, chunk: 1, i: 5, j: 2, seed: 1, lambda: 0, rule: 'bounded',
};

const clamp = (x: number, least: number, most: number): number => Math.max(least, Math.min(most, Math.round(x) || 0));

/** The setting with every number in its range. More tokens than there are letters are WINDOW. */
export function within(given: Setting): Setting {
  const letters = given.types.toUpperCase().replace(/[^GLW]/g, '').slice(0, MOST);
  const types = letters.padEnd(LEAST, 'W');
  const N = types.length;
  return {
    types, window: clamp(given.window, 0, MOST), chunk: clamp(given.chunk, 1, 4),
    i: clamp(given.i, 0, N - 1), j: clamp(given.j, 0, N - 1),
    seed: clamp(given.seed, 1, 9999), lambda: Math.max(0, Math.min(9, Number(given.lambda) || 0)),
    rule: given.rule === 'exact' ? 'exact' : 'bounded',
  };
}

/** The address after #, such as types=GLLWGLWW&W=2&C=1&i=5&j=2&seed=1. */
export function toHash({ types, window, chunk, i, j, seed, lambda, rule }: Setting): string {
  const extra = `${lambda > 0 ? `&lambda=${lambda}` : ''}${rule === 'exact' ? '&rule=exact' : ''}`;
  return `#types=${types}&W=${window}&C=${chunk}&i=${i}&j=${j}&seed=${seed}${extra}`;
}

/** The setting of an address; what it does not say is that of the example. */
export function fromHash(hash: string): Setting {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const number = (name: string, otherwise: number): number => (given.has(name) ? Number(given.get(name)) : otherwise);
  return within({
    types: given.get('types') ?? EXAMPLE.types, window: number('W', EXAMPLE.window), chunk: number('C', EXAMPLE.chunk),
    i: number('i', EXAMPLE.i), j: number('j', EXAMPLE.j), seed: number('seed', EXAMPLE.seed),
    lambda: number('lambda', EXAMPLE.lambda), rule: given.get('rule') === 'exact' ? 'exact' : 'bounded',
  });
}

/** Sets the type of the chunk of token j. */
export function withType(setting: Setting, j: number, letter: string): Setting {
  const begin = j - (j % setting.chunk);
  const types = [...setting.types];
  for (let n = begin; n < Math.min(begin + setting.chunk, types.length); n++) types[n] = letter;
  return { ...setting, types: types.join('') };
}
