/**
 * Turns text into ids as tokenizer.json says: it finds added tokens, normalises the text between them, splits it into
 * words, and merges within words. A long text is processed in parts, cut where that makes no difference.
 * @module
 */
import { of } from '../../core/arguments.ts';
import { Bpe } from './bpe.ts';
import { createFinder, type Finder } from './hf-added-tokens.ts';
import { type CompilePattern, type Normalizer, parseNormalizer } from './hf-normalizer.ts';
import { parsePreTokenizer, type PreTokenizer } from './hf-pre-tokenizer.ts';
import type { TokenizerFile } from './hf-tokenizer-file.ts';
import type { EncodeOptions, TextStream } from './tokenizer.ts';

/** How many code units of a text are processed at once. */
const PART = 1 << 16;

/** What comes before a part. */
interface Before {
  /** Whether it is a part of the same section, so that the section does not begin at the cut. */
  within: boolean;
  /** Whether there is nothing at all. */
  nothing: boolean;
}

/** Encodes text. */
export class HfEncoder {
  readonly #raw: Finder;
  readonly #normalized: Finder;
  readonly #normalizer: Normalizer;
  readonly #preTokenizer: PreTokenizer;
  readonly #bpe: Bpe;
  readonly #check: (ids: readonly number[]) => void;
  /** Whether a text must be processed as a whole, as no cut is known to be safe. */
  readonly #whole: boolean;

  /** @param check Refuses ids for which the model has no row. */
  constructor(file: TokenizerFile, compile: CompilePattern, check: (ids: readonly number[]) => void) {
    this.#normalizer = parseNormalizer(file.normalizer, compile);
    this.#preTokenizer = parsePreTokenizer(file.preTokenizer, compile);
    this.#bpe = new Bpe(file.bpe);
    this.#check = check;
    const normalized = file.added.filter((token) => token.normalized);
    this.#raw = createFinder(file.added.filter((token) => !token.normalized), ({ content }) => content, false);
    this.#normalized = createFinder(normalized, ({ content }) => this.#normalizer.apply(content, true), true);
    const { composes, uncuttable } = this.#normalizer;
    const { cuts } = this.#preTokenizer;
    this.#whole = uncuttable === undefined || cuts === 'none' ||
      (composes && (cuts === 'merges' || normalized.length > 0)) || (cuts === 'merges' && file.bpe.ignoreMerges);
  }

  encode(text: string, { maxTokens, onProgress }: EncodeOptions = {}): Int32Array {
    const most = maxTokens ?? Infinity;
    const out: number[] = [];
    const parts = this.#parts(out, most);
    for (let at = 0; at < text.length && out.length < most; at += PART) {
      const held = parts.push(text.slice(at, at + PART));
      onProgress?.(Math.min(text.length, at + PART) - held, text.length);
    }
    if (out.length < most) parts.end();
    onProgress?.(text.length, text.length);
    const ids = out.length > most ? out.slice(0, most) : out;
    this.#check(ids);
    return Int32Array.from(ids);
  }

  stream(): TextStream {
    const out: number[] = [];
    const parts = this.#parts(out, Infinity);
    const taken = () => {
      const ids = out.splice(0);
      this.#check(ids);
      return Int32Array.from(ids);
    };
    return {
      push: (text) => {
        of('string')('text', text);
        parts.push(text);
        return taken();
      },
      end: () => {
        parts.end();
        return taken();
      },
    };
  }

  /**
   * Takes a text bit by bit, and appends to `out` the ids that later text cannot change. push() returns how many code
   * units are still held back.
   */
  #parts(out: number[], most: number): { push(text: string): number; end(): void } {
    let held = '';
    let seen = 0; // cuts before this place have been tried
    let before: Before = { within: false, nothing: true };
    return {
      push: (text) => {
        held += text;
        const cut = this.#whole ? 0 : this.#lastCut(held, seen);
        if (cut > 0) this.#encodePart(held.slice(0, cut), before, out, most);
        if (cut > 0) held = held.slice(cut);
        seen = Math.max(0, held.length - 2);
        return held.length;
      },
      end: () => {
        this.#encodePart(held, before, out, most);
        [held, seen, before] = ['', 0, { within: false, nothing: true }];
      },
    };
  }

  #encodePart(text: string, before: Before, out: number[], most: number): void {
    for (const section of this.#raw.split(text)) {
      if (out.length >= most) break;
      const begins = !before.within;
      if ('token' in section) out.push(section.token.id);
      else this.#encodeSection(this.#normalizer.apply(section.text, begins), begins, before.nothing, out, most);
      before.within = !('token' in section);
      before.nothing = false;
    }
  }

  #encodeSection(text: string, begins: boolean, nothing: boolean, out: number[], most: number): void {
    let place = { begins, first: nothing };
    for (const section of this.#normalized.split(text)) {
      if ('token' in section) out.push(section.token.id);
      else {
        for (const word of this.#preTokenizer.split(section.text, place)) {
          this.#bpe.encode(word, out, this.#preTokenizer.spell, most);
          if (out.length >= most) return;
        }
      }
      place = { begins: true, first: false };
    }
  }

  /** The last place after `from` where a cut of `text` makes no difference; 0 if there is none. */
  #lastCut(text: string, from: number): number {
    for (let at = text.length - 1; at > from && at > 0; at--) {
      const unit = text.charCodeAt(at);
      if (unit >= 0xdc00 && unit < 0xe000) continue; // within a character, or an invalid one
      if (unit >= 0xd800 && unit < 0xdc00 && at + 1 === text.length) continue; // half a character
      const behind = String.fromCodePoint(text.codePointAt(at)!);
      if (this.#isCut(lastOf(text.slice(Math.max(0, at - 2), at)), behind)) return at;
    }
    return 0;
  }

  #isCut(before: string, behind: string): boolean {
    const { composes, uncuttable } = this.#normalizer;
    const { cuts, opens, visible } = this.#preTokenizer;
    if (composes && mayCombine(behind)) return false;
    const a = lastOf(this.#normalizer.apply(before, false));
    const b = firstOf(this.#normalizer.apply(behind, false));
    if (a === '' || b === '' || uncuttable!.has(a) || uncuttable!.has(b) || uncuttable!.has(before) || uncuttable!.has(behind)) return false;
    if (!this.#raw.cuttable(before, behind) || !this.#normalized.cuttable(a, b)) return false;
    if (cuts === 'letters') return LETTER.test(before) && LETTER.test(a) && !JOINS.test(behind) && !JOINS.test(b);
    const [left, right] = [lastOf(visible(a)), firstOf(visible(b))];
    return right === opens || this.#bpe.separable(left.codePointAt(0)!, right.codePointAt(0)!);
  }
}

const LETTER = /^\p{L}$/u;
/** What may continue a word after a letter, in the patterns of words or of Japanese. */
const JOINS = /^['\p{L}\p{M}\u3040-\u30ff]/u;

/** Whether a normal form may combine a character with those before it, as with marks and parts of Hangul syllables. */
function mayCombine(character: string): boolean {
  const parts = [character, firstOf(character.normalize('NFKD'))];
  return parts.some((part) => /^[\p{M}\u1100-\u11ff\ud7b0-\ud7ff]/u.test(part));
}

function firstOf(text: string): string {
  return text === '' ? '' : String.fromCodePoint(text.codePointAt(0)!);
}

function lastOf(text: string): string {
  return [...text.slice(-2)].at(-1) ?? '';
}
