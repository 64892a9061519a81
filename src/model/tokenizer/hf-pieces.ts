/**
 * The decoders of tokenizer.json, which say what bytes a token stands for, so that a stream can hold back half a
 * character.
 * @module
 */
import { shown } from '../config/config-fields.ts';
import { byteCharacters } from './hf-pre-tokenizer.ts';
import { flag, type Json, objects, refusal, text as textOf, type TokenizerFile } from './hf-tokenizer-file.ts';

/** What a token stands for. `loose` bytes make characters only with their neighbours, and fail one by one. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly special?: boolean;
  readonly loose?: boolean;
}

/** What every token stands for, by id, and how many spaces the encoder puts in front of a whole text. */
export interface Pieces {
  readonly pieces: ReadonlyMap<number, Piece>;
  readonly stripped: number;
}

/** @throws {ConfigError} If there is no decoder, or it does something unsupported. */
export function parsePieces({ bpe, added, decoder }: TokenizerFile): Pieces {
  if (decoder === null) throw refusal('decoder is missing: it says what text tokens stand for');
  const steps = decoder['type'] === 'Sequence' ? objects(decoder, 'decoder', 'decoders') : [decoder];
  const known = ['ByteLevel', 'ByteFallback', 'Fuse', 'Replace', 'Strip', 'Metaspace'];
  const other = steps.find(({ type }) => !known.includes(type as string));
  if (other) throw refusal(`the decoder ${shown(other['type'] ?? null)} is not supported, only ${known.join(', ')}`);
  const read = pieceReader(steps);
  const pieces = new Map([...bpe.vocabulary].map(([token, id]) => [id, read(token)]));
  const utf8 = new TextEncoder();
  for (const { id, content, special } of added) pieces.set(id, { bytes: utf8.encode(content), special });
  return { pieces, stripped: strippedSpaces(steps) };
}

/** How many spaces a decoder removes from the front of a text. */
function strippedSpaces(steps: readonly Json[]): number {
  let count = 0;
  for (const [n, step] of steps.entries()) {
    const where = `decoder.decoders[${n}]`;
    if (step['type'] === 'Metaspace') {
      const never = step['prepend_scheme'] === 'never' || !flag(step, where, 'add_prefix_space', true);
      count = Math.max(count, never ? 0 : 1);
    }
    if (step['type'] !== 'Strip') continue;
    const [start, stop] = [step['start'] ?? 0, step['stop'] ?? 0];
    const fits = step['content'] === ' ' && typeof start === 'number' && Number.isInteger(start) && start >= 0 && stop === 0;
    if (!fits || !steps.slice(0, n).some(({ type }) => type === 'Fuse')) {
      throw refusal(`${where} is ${shown(step)}: only spaces at the start of the whole text, after a Fuse, are supported`);
    }
    count = Math.max(count, start);
  }
  return count;
}

/** A function that says what a token of the vocabulary stands for, irrespective of its neighbours. */
function pieceReader(steps: readonly Json[]): (token: string) => Piece {
  const has = (type: string) => steps.some((step) => step['type'] === type);
  const utf8 = new TextEncoder();
  if (has('ByteLevel')) {
    const table = new Map(byteCharacters().map((character, byte) => [character, byte]));
    return (token) => {
      const bytes = Array.from(token, (character) => table.get(character));
      return { bytes: bytes.includes(undefined) ? utf8.encode(token) : Uint8Array.from(bytes as number[]) };
    };
  }
  const replaced = steps.flatMap((step, n): [string, string][] => {
    const where = `decoder.decoders[${n}]`;
    if (step['type'] === 'Metaspace') return [[textOf(step, where, 'replacement', '▁'), ' ']];
    if (step['type'] !== 'Replace') return [];
    const pattern = (step['pattern'] as Json | null | undefined)?.['String'];
    if (typeof pattern !== 'string') throw refusal(`${where}.pattern is ${shown(step['pattern'] ?? null)}: only {"String": ...} is supported`);
    return [[pattern, textOf(step, where, 'content')]];
  });
  return (token) => {
    const byte = has('ByteFallback') ? /^<0x([\da-f]{2})>$/i.exec(token) : null;
    if (byte) return { bytes: Uint8Array.of(parseInt(byte[1], 16)), loose: true };
    return { bytes: utf8.encode(replaced.reduce((text, [from, to]) => text.replaceAll(from, () => to), token)) };
  };
}
