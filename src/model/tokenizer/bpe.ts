/**
 * Byte-pair encoding: among all neighbours that can merge, repeatedly merges those of the lowest rank, leftmost first,
 * until none can merge any more.
 * @module
 */
import { ValueError } from '../../core/errors.ts';
import { shown } from '../config/config-fields.ts';
import type { BpeTable } from './hf-tokenizer-file.ts';

/** How many words are cached. */
const CACHED = 20_000;
/** The length up to which words are cached. */
const CACHED_LENGTH = 64;
/** The length from which a word is cut where that makes no difference. */
const LONG = 32;
/** A number above any code point. */
const CODE_POINTS = 0x110000;

/** Encodes words. */
export class Bpe {
  readonly #table: BpeTable;
  /** Numbers tokens from 0 to span - 1, so that two of them make a small key. */
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #ids: readonly number[];
  readonly #span: number;
  /** The rank of a merge by left * span + right. */
  readonly #ranks: ReadonlyMap<number, number>;
  /** The token that a merge makes, by its rank. */
  readonly #merged: Int32Array;
  /** Pairs of characters that are neighbours in some token made by merges; undefined if that cannot be determined. */
  readonly #joined: ReadonlySet<number> | undefined;
  readonly #known = new Map<number, boolean>();
  /** The cached ids of short words. */
  readonly #words = new Map<string, readonly number[]>();
  /** The cached ids of the parts of long words, as the vocabulary spells them. */
  readonly #pieces = new Map<string, readonly number[]>();

  constructor(table: BpeTable) {
    this.#table = table;
    this.#numbers = new Map([...table.vocabulary.keys()].map((token, n) => [token, n]));
    this.#ids = [...table.vocabulary.values()];
    this.#span = this.#ids.length;
    const number = (token: string) => this.#numbers.get(token)!;
    this.#ranks = new Map(table.merges.map(([a, b], rank) => [number(a) * this.#span + number(b), rank]));
    this.#merged = Int32Array.from(table.merges, ([a, b]) => number(a + b));
    this.#joined = joinedCharacters(table);
  }

  /**
   * Appends to `out` the ids of `word`, or as many of the first of them as `out` needs.
   *
   * @param spell Spells a word as the vocabulary does. It must be the same function for all words.
   * @param most How many ids `out` needs.
   */
  encode(word: string, out: number[], spell: (word: string) => string, most: number): void {
    const all = (): readonly number[] => this.#idsOf(spell(word), Infinity);
    if (word.length < LONG) append(out, this.#words.get(word) ?? remember(this.#words, word, all()));
    else append(out, this.#idsOf(spell(word), most - out.length));
  }

  #idsOf(word: string, most: number): readonly number[] {
    const whole = this.#table.ignoreMerges ? this.#table.vocabulary.get(word) : undefined;
    if (whole !== undefined) return [whole];
    if (word.length < LONG || !this.#joined) return this.#merge(this.#symbols(word));
    const ids: number[] = [];
    for (const part of this.#parts(word)) {
      append(ids, this.#pieces.get(part) ?? remember(this.#pieces, part, this.#merge(this.#symbols(part))));
      if (ids.length >= most) break;
    }
    return ids;
  }

  /**
   * Whether a cut between the characters `a` and `b` (code points) makes no difference. A merge joins two runs of
   * characters into a token. If no token made by merges has these two as neighbours, no merge ever crosses the cut, and
   * on either side the merges happen in the same order as in the whole. Both characters must have tokens, as those
   * without may fuse or vanish.
   */
  separable(a: number, b: number): boolean {
    return this.#joined !== undefined && !this.#joined.has(a * CODE_POINTS + b) && this.#isKnown(a) && this.#isKnown(b);
  }

  *#parts(word: string): Generator<string> {
    let [start, before] = [0, -1];
    for (let at = 0; at < word.length;) {
      const character = word.codePointAt(at)!;
      if (before >= 0 && this.separable(before, character)) {
        yield word.slice(start, at);
        start = at;
      }
      before = character;
      at += character > 0xffff ? 2 : 1;
    }
    yield word.slice(start);
  }

  #isKnown(character: number): boolean {
    let known = this.#known.get(character);
    if (known === undefined) {
      const text = String.fromCodePoint(character);
      known = this.#numbers.has(text) || this.#bytesOf(text) !== undefined;
      this.#known.set(character, known);
    }
    return known;
  }

  /** The tokens of characters, or of their bytes in UTF-8, or the unknown token. */
  #symbols(part: string): number[] {
    const symbols: number[] = [];
    let unknown = false; // whether the last symbol is unknown, so that the next may fuse with it
    for (const character of part) {
      const own = this.#numbers.get(character);
      const bytes = own === undefined ? this.#bytesOf(character) : undefined;
      if (own !== undefined) symbols.push(own);
      else if (bytes) symbols.push(...bytes);
      else if (this.#table.unknown === undefined) continue; // dropped, as in Hugging Face's tokenizers
      else if (!unknown || !this.#table.fuseUnknown) symbols.push(this.#unknown(character));
      unknown = own === undefined && !bytes;
    }
    return symbols;
  }

  #bytesOf(character: string): number[] | undefined {
    if (!this.#table.byteFallback) return undefined;
    const bytes = Array.from(new TextEncoder().encode(character), (byte) => this.#numbers.get(byteToken(byte)));
    return bytes.includes(undefined) ? undefined : bytes as number[];
  }

  #unknown(character: string): number {
    const token = this.#table.unknown!;
    const found = this.#numbers.get(token);
    if (found !== undefined) return found;
    throw new ValueError(`the text has ${shown(character)}, for which the vocabulary has no token, and it lacks its own unk_token ${shown(token)}: use another text or the model's own tokenizer.json`);
  }

  /** Merges neighbours in place. `next` and `before` make symbols a linked list without those merged away. */
  #merge(symbols: number[]): number[] {
    const n = symbols.length;
    const next = Int32Array.from(symbols, (_, at) => at + 1);
    const before = Int32Array.from(symbols, (_, at) => at - 1);
    const queue = new Queue();
    const rankAt = (at: number) => this.#ranks.get(symbols[at] * this.#span + symbols[next[at]]);
    const offer = (at: number) => {
      if (at < 0 || next[at] >= n) return;
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank * n + at); // sorts by rank, then from the left
    };
    for (let at = 0; at < n; at++) offer(at);
    while (queue.size > 0) {
      const first = queue.pop();
      const at = first % n;
      const rank = (first - at) / n;
      const gone = next[at];
      if (symbols[at] < 0 || gone >= n || rankAt(at) !== rank) continue; // has been merged with another since
      symbols[at] = this.#merged[rank];
      symbols[gone] = -1;
      next[at] = next[gone];
      if (next[at] < n) before[next[at]] = at;
      offer(before[at]);
      offer(at);
    }
    return symbols.filter((symbol) => symbol >= 0).map((symbol) => this.#ids[symbol]);
  }
}

function append(out: number[], ids: readonly number[]): void {
  for (const id of ids) out.push(id);
}

function remember(cache: Map<string, readonly number[]>, key: string, ids: readonly number[]): readonly number[] {
  if (key.length > CACHED_LENGTH) return ids;
  if (cache.size >= CACHED) cache.clear();
  cache.set(key, ids);
  return ids;
}

/** A binary heap of numbers with the least on top. */
class Queue {
  readonly #items: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent] <= item) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }

  pop(): number {
    const items = this.#items;
    const top = items[0];
    const item = items.pop()!;
    const n = items.length;
    if (n === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= n) break;
      if (child + 1 < n && items[child + 1] < items[child]) child++;
      if (items[child] >= item) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = item;
    return top;
  }
}

/** The token of a byte, such as <0x0A>. */
function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** The pairs a * CODE_POINTS + b of characters that merges join: the last of one token and the first of the other. */
function joinedCharacters({ merges, byteFallback }: BpeTable): Set<number> | undefined {
  const joined = new Set<number>();
  for (const [a, b] of merges) {
    if (a === '' || b === '') return undefined;
    // A byte's token has several characters in its name, although the byte is at most one character of the text.
    if (byteFallback && (/<0x[\dA-F]{2}>$/.test(a) || /^<0x[\dA-F]{2}>/.test(b))) return undefined;
    joined.add(lastCodePoint(a) * CODE_POINTS + b.codePointAt(0)!);
  }
  return joined;
}

/** The code point that a text ends with. */
export function lastCodePoint(text: string): number {
  const last = text.codePointAt(text.length - 2);
  return last !== undefined && last > 0xffff ? last : text.charCodeAt(text.length - 1);
}
