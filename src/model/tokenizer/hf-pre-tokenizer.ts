/**
 * The pre-tokenizers of tokenizer.json, which split normalised text into words. Nothing merges across words.
 * @module
 */
import { shown } from '../config/config-fields.ts';
import type { CompilePattern } from './hf-normalizer.ts';
import { flag, type Json, objects, refusal, text as textOf } from './hf-tokenizer-file.ts';
import { BYTE_LEVEL, HARMLESS_PATTERNS, WORD_PATTERNS } from './hf-word-patterns.ts';

/** The place of a piece of text. */
export interface Place {
  /** Whether it begins its section, rather than following a cut. */
  readonly begins: boolean;
  /** Whether nothing at all comes before it. */
  readonly first: boolean;
}

/**
 * Where a text may be cut so that the words of its halves are the words of the whole: between a letter and something
 * else (`letters`), wherever no merge crosses the cut in the text as spelled by `visible` (`merges`), or at no known
 * place (`none`).
 */
export type Cuts = 'letters' | 'merges' | 'none';

/** Splits text into words. */
export interface PreTokenizer {
  split(text: string, place: Place): Iterable<string>;
  readonly cuts: Cuts;
  /** Spells a word as the vocabulary does. */
  spell(word: string): string;
  /** Spells single characters as all steps together do, for `merges`. */
  visible(text: string): string;
  /** A character at which a word always begins, for `merges`. */
  readonly opens?: string;
}

interface Step extends Omit<PreTokenizer, 'cuts' | 'spell'> {
  /** Whether it only changes the spelling of words. */
  readonly spells?: boolean;
  /** Whether words never end between letters, and always end after the last letter, whatever is further away. */
  readonly letters: boolean;
  /** Whether it makes one word of everything, except where `opens` begins a word. */
  readonly whole: boolean;
  /** Whether it need not end words after letters, but does not prevent other steps from doing so. */
  readonly harmless: boolean;
}

const plain = { visible: (text: string) => text, letters: false, whole: false, harmless: false };

/** @throws {ConfigError} If a step is not supported, or lacks what it needs. */
export function parsePreTokenizer(json: Json | null, compile: CompilePattern): PreTokenizer {
  const steps = json === null ? [] : stepsOf(json, 'pre_tokenizer', compile);
  const last = steps.at(-1);
  const spell = last?.spells ? last.visible : (word: string) => word;
  const splitting = last?.spells ? steps.slice(0, -1) : steps;
  const split: PreTokenizer['split'] = (text, place) => through(splitting, 0, text, place);
  const visible = (text: string) => steps.reduce((now, step) => step.visible(now), text);
  if (steps.every(({ whole }) => whole)) {
    const opens = steps.find((step) => step.opens !== undefined)?.opens;
    const cuts = steps.length > 1 && opens !== undefined ? 'none' : 'merges';
    return { split, spell, visible, cuts, ...(opens !== undefined && { opens }) };
  }
  const known = steps.every(({ letters, whole, harmless }) => letters || whole || harmless);
  return { split, spell, visible, cuts: known && steps.some(({ letters }) => letters) ? 'letters' : 'none' };
}

function* through(steps: readonly Step[], n: number, text: string, place: Place): Generator<string> {
  const step = steps[n];
  if (text === '') return;
  if (!step) {
    yield text;
    return;
  }
  let [begins, first] = [place.begins, place.first];
  for (const word of step.split(text, place)) {
    if (n === steps.length - 1) yield word;
    else yield* through(steps, n + 1, word, { begins, first });
    [begins, first] = [true, false];
  }
}

function stepsOf(json: Json, where: string, compile: CompilePattern): Step[] {
  const type = json['type'];
  const regex = (source: string) => compile({ pattern: { Regex: source } }, where);
  switch (type) {
    case 'Sequence':
      return objects(json, where, 'pretokenizers').flatMap((each, n) => stepsOf(each, `${where}.pretokenizers[${n}]`, compile));
    case 'ByteLevel': {
      const step = byteLevel(flag(json, where, 'add_prefix_space'));
      const words = flag(json, where, 'use_regex', true) ? [splittingBy(regex(BYTE_LEVEL), 'Isolated', false, true)] : [];
      return [...step.prefix, ...words, step.bytes];
    }
    case 'Split': {
      const behavior = textOf(json, where, 'behavior');
      const pattern = (json['pattern'] as Json | undefined)?.['Regex'];
      const isolated = behavior === 'Isolated';
      return [splittingBy(compile(json, where), behavior, flag(json, where, 'invert'), isolated && WORD_PATTERNS.has(pattern),
        isolated && HARMLESS_PATTERNS.has(pattern), where)];
    }
    case 'Digits':
      return [splittingBy(regex(String.raw`\p{N}`), flag(json, where, 'individual_digits') ? 'Isolated' : 'Contiguous', false, false, true)];
    case 'Punctuation':
      return [splittingBy(regex(String.raw`[\p{P}!-/:-@\[-${'`'}{-~]`), textOf(json, where, 'behavior', 'Isolated'), false, false, false, where)];
    case 'Whitespace':
      return [splittingBy(regex(String.raw`\w+|[^\w\s]+`), 'Removed', true)];
    case 'WhitespaceSplit':
      return [splittingBy(regex(String.raw`\s+`), 'Removed', false)];
    case 'Metaspace':
      return [metaspace(json, where)];
    default:
      throw refusal(`${where}.type is ${shown(type ?? null)}: only Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit and Metaspace are supported`);
  }
}

/** Splits at the matches of a pattern; `behavior` says what becomes of the matches themselves. */
function splittingBy(pattern: RegExp, behavior: string, invert: boolean, letters = false, harmless = false, where = ''): Step {
  const behaviors = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];
  if (!behaviors.includes(behavior)) throw refusal(`${where}.behavior is ${shown(behavior)}: it must be one of ${behaviors.join(', ')}`);
  const split = function* (text: string): Generator<string> {
    const pieces = matched(text, pattern, invert);
    if (behavior === 'Isolated' || behavior === 'Removed') {
      for (const { piece, match } of pieces) if (behavior === 'Isolated' || !match) yield piece;
      return;
    }
    let [held, before] = ['', behavior === 'MergedWithNext'];
    for (const { piece, match } of pieces) {
      const joins = held !== '' && (behavior === 'Contiguous' ? match === before
        : behavior === 'MergedWithPrevious' ? match && !before : before && !match);
      if (!joins && held !== '') yield held;
      held = joins ? held + piece : piece;
      before = match;
    }
    if (held !== '') yield held;
  };
  return { ...plain, split, letters, harmless };
}

function* matched(text: string, pattern: RegExp, invert: boolean): Generator<{ piece: string; match: boolean }> {
  let at = 0;
  for (const { 0: piece, index } of text.matchAll(pattern)) {
    if (index > at) yield { piece: text.slice(at, index), match: invert };
    if (piece !== '') yield { piece, match: !invert };
    at = index + piece.length;
  }
  if (at < text.length) yield { piece: text.slice(at), match: invert };
}

/** Puts a space in front if `prefixed`, and spells bytes as the printable characters that stand for them. */
function byteLevel(prefixed: boolean): { prefix: Step[]; bytes: Step } {
  const table = byteCharacters();
  const utf8 = new TextEncoder();
  const visible = (text: string) => Array.from(utf8.encode(text), (byte) => table[byte]).join('');
  return {
    prefix: prefixed ? [{ ...plain, split: (text) => [text.startsWith(' ') ? text : ` ${text}`] }] : [],
    bytes: { ...plain, split: (text) => [visible(text)], visible, whole: true, spells: true },
  };
}

/** GPT-2's characters for bytes: printable ones stand for themselves, and others are numbered from U+0100 on. */
export function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** Spells spaces as a visible character, puts one in front, and begins words with it. */
function metaspace(json: Json, where: string): Step {
  const mark = textOf(json, where, 'replacement', '▁');
  if ([...mark].length !== 1) throw refusal(`${where}.replacement is ${shown(mark)}: it must be one character`);
  const scheme = flag(json, where, 'add_prefix_space', true) ? textOf(json, where, 'prepend_scheme', 'always') : 'never';
  if (!['always', 'first', 'never'].includes(scheme)) throw refusal(`${where}.prepend_scheme is ${shown(scheme)}: it must be always, first or never`);
  const splits = flag(json, where, 'split', true);
  const visible = (text: string) => text.replaceAll(' ', mark);
  return {
    ...plain, visible, whole: true, ...(splits && { opens: mark }),
    split: function* (text, { begins, first }) {
      let marked = visible(text);
      if (begins && !marked.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && first))) marked = mark + marked;
      if (!splits) {
        yield marked;
        return;
      }
      let start = 0;
      for (let at = marked.indexOf(mark, 1); at >= 0; at = marked.indexOf(mark, at + 1)) {
        yield marked.slice(start, at);
        start = at;
      }
      yield marked.slice(start);
    },
  };
}
