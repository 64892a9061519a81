/**
 * Shows a text with the type of every token, by colour or by a line of letters below each line.
 * @module
 */
import { type LifetimeOptions, TOKEN_TYPE_NAMES } from '../core/lifetime.ts';
import type { Tokenizer } from '../model/tokenizer/tokenizer.ts';
import { colours, formatShare, type Output, printable, wantsColour } from './terminal.ts';

/** The letter below a character of each type if there is no colour. */
const LETTERS = ['G', 'L', '.', ' '];
/** The type of a token that was never fed: the last of a context is predicted, but nothing comes after it. */
const NONE = 3;

/** The types that evaluate() chose while it read a text, for every layer and KV head. */
export class TypeRecord {
  readonly #context: number;
  readonly #chunk: number;
  readonly #length: number;
  readonly #kvHeads: number;
  readonly #starts: number;
  readonly #types: Uint8Array[][];

  /**
   * @param sizes The number of tokens, the tokens per context and per chunk, the layers and KV heads, and how many
   *   tokens the tokenizer puts before a text (default 1).
   */
  constructor(
    sizes: { length: number; context: number; chunk: number; layers: number; kvHeads: number; starts?: number },
  ) {
    this.#context = sizes.context;
    this.#chunk = sizes.chunk;
    this.#length = sizes.length;
    this.#kvHeads = sizes.kvHeads;
    this.#starts = sizes.starts ?? 1;
    const head = () => new Uint8Array(sizes.length).fill(NONE);
    this.#types = Array.from({ length: sizes.layers }, () => Array.from({ length: sizes.kvHeads }, head));
  }

  /**
   * Takes what evaluate() passes to onTypes. Row r is chunk floor(at / C) + r of the context, counted in inputs. The
   * first inputs are the S starts, so input p is token p - S of the text. Later calls know more about a chunk.
   */
  add(layer: number, from: number, types: Int32Array, at: number = from % this.#context): void {
    const start = from - at;
    const first = Math.floor(at / this.#chunk);
    const rows = types.length / this.#kvHeads;
    const S = this.#starts;
    const inputs = S + Math.min(this.#context, this.#length - start) - 1; // the last token is not fed
    for (const [g, head] of this.#types[layer].entries()) {
      for (let r = 0; r < rows; r++) {
        const p = (first + r) * this.#chunk;
        const end = Math.min(p + this.#chunk, inputs);
        if (end > p) head.fill(types[g * rows + r], start + Math.max(0, p - S), start + Math.max(0, end - S));
      }
    }
  }

  /** The types of one head, one per token. */
  head(layer: number, g: number): Uint8Array {
    return this.#types[layer][g];
  }

  /** The head whose first `length` tokens are most mixed, by the entropy of its types. */
  mostVaried(length: number): { layer: number; head: number } {
    let best = { layer: 0, head: 0, entropy: -1 };
    for (const [layer, heads] of this.#types.entries()) {
      for (const [head, types] of heads.entries()) {
        const shares = typeShares(types.subarray(0, length));
        const entropy = -shares.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
        if (entropy > best.entropy) best = { layer, head, entropy };
      }
    }
    return { layer: best.layer, head: best.head };
  }
}

/** The shares of GLOBAL, LOCAL and WINDOW. */
export function typeShares(types: Uint8Array): number[] {
  const counts = [0, 0, 0];
  for (const type of types) if (type !== NONE) counts[type] = counts[type] + 1;
  const total = counts.reduce((a, b) => a + b, 0);
  return counts.map((count) => count / Math.max(1, total));
}

/** The first `most` characters of `text`, up to the end of a word, with the longest-lived type among their tokens. */
export function typedCharacters(
  tokenizer: Tokenizer, text: string, types: Uint8Array, most: number,
): { character: string; type: number }[] {
  const characters: { character: string; type: number }[] = [];
  let at = 0;
  for (const character of text) {
    const count = tokenizer.encode(character).length;
    characters.push({ character, type: Math.min(NONE, ...types.subarray(at, at + count)) });
    at += count;
    if (characters.length >= most && character === ' ') break;
  }
  return characters;
}

/** The passage, wrapped to `width` columns, and coloured if `stream` shows colour. */
export function formatPassage(
  characters: readonly { character: string; type: number }[], stream: Output, width = 78,
): string {
  const lines = wrap(characters, width);
  if (!wantsColour(stream)) {
    return lines.map((line) => {
      const text = line.map(({ character }) => printable(character, stream)).join('');
      return `${text}\n${line.map(({ type }) => LETTERS[type]).join('')}`;
    }).join('\n');
  }
  const paint = painters(stream);
  return lines.map((line) => {
    let painted = '';
    for (let from = 0, to = 0; from < line.length; from = to) { // runs of one type
      while (to < line.length && line[to].type === line[from].type) to++;
      const run = line.slice(from, to).map(({ character }) => character).join('');
      painted += paint[line[from].type](printable(run, stream));
    }
    return painted;
  }).join('\n');
}

/** What the marks mean, with the share of each type. */
export function formatLegend(
  shares: readonly number[], { window, localWindow }: Pick<LifetimeOptions, 'window' | 'localWindow'>, stream: Output,
): string {
  const local = localWindow === undefined ? 'kept until the next GLOBAL' : `kept for ${localWindow} more tokens`;
  const meaning = ['kept for good', local, `kept for ${window} more tokens`];
  const paint = painters(stream);
  return TOKEN_TYPE_NAMES.map((name, type) => {
    const mark = wantsColour(stream) ? paint[type](` ${name} `) : `${LETTERS[type]} ${name}`;
    return `${mark} ${meaning[type]}, ${formatShare(shares[type])}`;
  }).join('\n');
}

function painters(stream: Output): ((text: string) => string)[] {
  const c = colours(stream);
  return [(text) => c.black(c.bgYellow(text)), (text) => c.underline(c.cyan(text)), c.dim, (text) => text];
}

/** Breaks lines at spaces and at the text's own newlines, and drops empty lines. */
function wrap<T extends { character: string }>(characters: readonly T[], width: number): T[][] {
  const lines: T[][] = [[]];
  let word: T[] = [];
  const flush = () => {
    if (lines[lines.length - 1].length + word.length > width) lines.push([]);
    lines[lines.length - 1].push(...word);
    word = [];
  };
  for (const one of characters) {
    if (one.character === '\n') {
      flush();
      lines.push([]);
      continue;
    }
    word.push(one);
    if (one.character === ' ') flush();
  }
  flush();
  return lines.filter((line) => line.length > 0);
}
