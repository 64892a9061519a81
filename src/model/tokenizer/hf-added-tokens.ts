/**
 * Finds added tokens in a text before it is split into words: the leftmost first, and of those the longest.
 * @module
 */
import { lastCodePoint } from './bpe.ts';
import type { AddedToken } from './hf-tokenizer-file.ts';

/** A token, or text between tokens. */
export type Section = { readonly token: AddedToken } | { readonly text: string };

/** Finds a set of added tokens. */
export interface Finder {
  split(text: string): Iterable<Section>;
  /** Whether no token can extend across a cut between these two characters, or have an effect beyond it. */
  cuttable(before: string, behind: string): boolean;
}

const WORD_BEHIND = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const SPACE = /\p{White_Space}/u;

/**
 * @param written The text to search for: a token's content, perhaps normalised.
 * @param apart Whether a text must not be cut right after a token either.
 */
export function createFinder(
  tokens: readonly AddedToken[], written: (token: AddedToken) => string, apart: boolean,
): Finder {
  const byText = new Map<string, AddedToken>();
  for (const token of tokens) {
    const text = written(token);
    if (text !== '' && !byText.has(text)) byText.set(text, token);
  }
  if (byText.size === 0) return { split: (text) => [{ text }], cuttable: () => true };
  const longestFirst = [...byText.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'gu');
  const inside = new Set<string>(); // pairs of neighbouring characters within tokens
  for (const text of byText.keys()) {
    const characters = [...text];
    for (let n = 1; n < characters.length; n++) inside.add(characters[n - 1] + characters[n]);
  }
  const ends = (wanted: (token: AddedToken) => boolean) => new Set([...byText].filter(([, token]) => wanted(token))
    .map(([text]) => String.fromCodePoint(lastCodePoint(text))));
  const begins = new Set([...byText].filter(([, token]) => token.singleWord)
    .map(([text]) => String.fromCodePoint(text.codePointAt(0)!)));
  const reaching = ends(({ rstrip, singleWord }) => apart || rstrip || singleWord);
  const strips = tokens.some(({ lstrip, rstrip }) => lstrip || rstrip);
  return {
    cuttable: (before, behind) => !inside.has(before + behind) && !reaching.has(before) && !begins.has(behind) &&
      !(strips && SPACE.test(before)),
    *split(text) {
      let at = 0;
      for (const { 0: found, index } of text.matchAll(pattern)) {
        const token = byText.get(found)!;
        let [start, end] = [index, index + found.length];
        const [before, behind] = [text.slice(Math.max(0, start - 2), start), text.slice(end, end + 2)];
        if (token.singleWord && (WORD_BEFORE.test(before) || WORD_BEHIND.test(behind))) continue;
        if (start < at) continue; // part of the white space of the token before
        if (token.lstrip) while (start > at && SPACE.test(text[start - 1])) start--;
        if (token.rstrip) while (end < text.length && SPACE.test(text[end])) end++;
        if (start > at) yield { text: text.slice(at, start) };
        yield { token };
        at = end;
      }
      if (at < text.length) yield { text: text.slice(at) };
    },
  };
}
