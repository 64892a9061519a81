/**
 * Byte-pair encoding: of all neighbours that have a merge, the most urgent become one, the leftmost first, until none
 * are left.
 * @module
 */
import { ValueError } from '../../core/errors.ts';
import { shown } from '../config/config-fields.ts';
import type { BpeTable } from './hf-tokenizer-file.ts';

/** Words that are remembered, and up to which length. */
const CACHED = 20_000;
const CACHED_LENGTH = 64;
/** From this length on a word is cut where that changes nothing. */
const LONG = 32;
/** More than any code point. */
const CODE_POINTS = 0x110000;

/** Encodes words. */
export class Bpe {
  readonly #table: BpeTable;
  /** Tokens by a number of their own, 0 to span - 1, so that two of them make a small key. */
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #ids: readonly number[];
  readonly #span: number;
  /** Rank of a merge by left * span + right, and what it makes. */
  readonly #ranks: ReadonlyMap<number, number>;
  readonly #merged: Int32Array;
  /** Characters that stand side by side in some token that merges make; undefined: nobody knows. */
  readonly #joined: ReadonlySet<number> | undefined;
  readonly #known = new Map<number, boolean>();
  /** What became of short words, and of the parts of long ones as they are spelled. */
  readonly #words = new Map<string, readonly number[]>();
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
   * Appends the ids of `word` to `out`, or enough of the first of them.
   *
   * @param spell How the vocabulary writes a word; the same function for all words.
   * @param most `out` needs no more than this many.
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
   * Whether a cut between the characters `a` and `b` (code points) changes nothing: a merge joins two runs of
   * characters and makes a token, and no token that merges make has these two side by side, so no merge ever crosses
   * the cut; on either side the merges then happen in the order in which they would happen in the whole. Characters
   * without a token fuse or vanish, so that there must be none of them.
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

  /** Characters as tokens, or as the bytes they have in UTF-8, or unknown. */
  #symbols(part: string): number[] {
    const symbols: number[] = [];
    let unknown = false; // whether the last symbol is one that the next may fuse with
    for (const character of part) {
      const own = this.#numbers.get(character);
      const bytes = own === undefined ? this.#bytesOf(character) : undefined;
      if (own !== undefined) symbols.push(own);
      else if (bytes) symbols.push(...bytes);
      else if (this.#table.unknown === undefined) continue; // as Hugging Face's tokenizers, which drop it too
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

  /** Merges neighbours in place: symbols are a list of which `next` and `before` skip what is gone. */
  #merge(symbols: number[]): number[] {
    const n = symbols.length;
    const next = Int32Array.from(symbols, (_, at) => at + 1);
    const before = Int32Array.from(symbols, (_, at) => at - 1);
    const queue = new Queue();
    const rankAt = (at: number) => this.#ranks.get(symbols[at] * this.#span + symbols[next[at]]);
    const offer = (at: number) => {
      if (at < 0 || next[at] >= n) return;
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank * n + at); // by rank, then from the left
    };
    for (let at = 0; at < n; at++) offer(at);
    while (queue.size > 0) {
      const first = queue.pop();
      const at = first % n;
      const rank = (first - at) / n;
      const gone = next[at];
      if (symbols[at] < 0 || gone >= n || rankAt(at) !== rank) continue; // merged with another by now
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

/** A binary heap of numbers, the least on top. */
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

/** <0x0A> */
function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

/** Pairs a * CODE_POINTS + b of characters that merges put side by side, the last of one and the first of the other. */
function joinedCharacters({ merges, byteFallback }: BpeTable): Set<number> | undefined {
  const joined = new Set<number>();
  for (const [a, b] of merges) {
    if (a === '' || b === '') return undefined;
    // Bytes that merge are several characters in a token's name but one in the text.
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
