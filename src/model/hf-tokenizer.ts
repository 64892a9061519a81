/**
 * Vocabularies as published: tokenizer.json through @huggingface/tokenizers, which is loaded only when one is there.
 * Text is split by the library; tokens become text here, byte by byte, so that a stream can hold back half a character.
 * @module
 */
import { ConfigError } from '../errors.ts';
import { shown } from './config-fields.ts';
import type { ModelConfig } from './config.ts';
import { type EncodeOptions, mostTokens, type TextStream, type Tokenizer } from './tokenizer.ts';

type Json = Record<string, unknown>;

/**
 * A tokenizer of a parsed tokenizer.json. Special tokens are found in text, as Hugging Face's libraries do.
 *
 * @param json The parsed file.
 * @param config The model's, for its vocabulary and the tokens that start and end a text.
 * @throws {ConfigError} If the file is none, has a decoder that is not supported, or ids beyond the model's vocabulary.
 */
export async function createHfTokenizer(
  json: unknown, config: Pick<ModelConfig, 'vocabSize' | 'bosTokenId' | 'eosTokenId'>,
): Promise<HfTokenizer> {
  const { Tokenizer: Library } = await import('@huggingface/tokenizers');
  let library: InstanceType<typeof Library>;
  try {
    library = new Library(withUnicodeSpaces(json) as object, {});
  } catch (error) {
    const why = (error as Error).message.replace(/\s+/g, ' ');
    throw new ConfigError(`tokenizer.json cannot be read (${shown(why)}): copy it again`);
  }
  const added = library.get_added_tokens_decoder();
  const pieces: Piece[] = [];
  const textOf = pieceReader(decodersOf(json));
  for (const [token, id] of library.get_vocab(true)) {
    const { content, special } = added.get(id) ?? {};
    const bytes = content === undefined ? undefined : new TextEncoder().encode(content);
    pieces[id] = bytes ? { bytes, special: special === true } : textOf(token);
  }
  if (pieces.length > config.vocabSize) {
    throw new ConfigError(`tokenizer.json has ids up to ${pieces.length - 1} but the model's vocabulary has ${config.vocabSize} tokens: use the model's own tokenizer`);
  }
  const encode = (text: string) => library.encode(text, { add_special_tokens: false }).ids;
  return new HfTokenizer(pieces, config.bosTokenId, config.eosTokenId, encode, stripsFirstSpace(json));
}

/** What a token stands for. `loose` bytes make characters with their neighbours only, and fail one by one. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly special?: boolean;
  readonly loose?: boolean;
}

/** Made by createHfTokenizer. */
export class HfTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bos: number;
  readonly starts: readonly number[];
  readonly ends: readonly number[] = [];
  readonly eos: number;
  readonly #pieces: readonly (Piece | undefined)[];
  readonly #encode: (text: string) => number[];
  readonly #strips: boolean;

  constructor(
    pieces: readonly (Piece | undefined)[], bos: number, eos: number, encode: (text: string) => number[],
    strips: boolean,
  ) {
    this.vocabSize = pieces.length;
    this.bos = bos;
    this.starts = [bos];
    this.eos = eos;
    this.#pieces = pieces;
    this.#encode = encode;
    this.#strips = strips;
  }

  encode(text: string, { maxTokens, onProgress }: EncodeOptions = {}): Int32Array {
    const most = mostTokens(maxTokens);
    const ids = text === '' ? [] : this.#encode(text);
    onProgress?.(text.length, text.length);
    return Int32Array.from(ids.length > most ? ids.slice(0, most) : ids);
  }

  encoder(): TextStream {
    let text = '';
    return {
      push: (more) => {
        text += more;
        return new Int32Array(0);
      },
      end: () => {
        const ids = this.encode(text);
        text = '';
        return ids;
      },
    };
  }

  /** The whole text; with `specials`, special tokens as they are written. */
  decode(tokens: Iterable<number>, { specials = false }: { specials?: boolean } = {}): string {
    const decoder = this.decoder({ specials });
    let text = '';
    for (const token of tokens) text += decoder.push(token);
    text += decoder.end();
    return this.#strips && text.startsWith(' ') ? text.slice(1) : text; // the space that encoding put in front
  }

  /** For a stream that goes on from other text: a space in front stays. */
  decoder({ specials = false }: { specials?: boolean } = {}): { push(token: number): string; end(): string } {
    let utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    let loose: number[] = [];
    const flushLoose = (): string => {
      const lost = '\ufffd'.repeat(loose.length);
      loose = [];
      return lost;
    };
    return {
      push: (token) => {
        const piece = this.#pieces[token];
        if (!piece || (piece.special && !specials)) return '';
        if (!piece.loose) return flushLoose() + utf8.decode(piece.bytes, { stream: true });
        loose.push(...piece.bytes);
        const text = wholeText(loose);
        if (text !== undefined) loose = [];
        return text ?? '';
      },
      end: () => {
        const text = flushLoose() + utf8.decode();
        utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
        return text;
      },
    };
  }

  byteLength(token: number): number {
    const piece = this.#pieces[token];
    return piece && !piece.special ? piece.bytes.length : 0;
  }
}

function wholeText(bytes: readonly number[]): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}

/** Steps of the decoder, in order. */
function decodersOf(json: unknown): Json[] {
  const { decoder } = json as { decoder?: Json };
  const steps = decoder?.['type'] === 'Sequence' ? (decoder['decoders'] as Json[]) : decoder ? [decoder] : [];
  const known = ['ByteLevel', 'ByteFallback', 'Fuse', 'Replace', 'Strip', 'Metaspace'];
  const other = steps.find(({ type }) => !known.includes(type as string));
  if (other) throw new ConfigError(`tokenizer.json: the decoder ${shown(other['type'])} is not supported, only ${known.join(', ')}`);
  return steps;
}

/** Whether the first space of a whole text is the encoder's. */
function stripsFirstSpace(json: unknown): boolean {
  return decodersOf(json).some((step) => {
    if (step['type'] === 'Strip') return step['content'] === ' ' && Number(step['start']) > 0;
    return step['type'] === 'Metaspace' && step['prepend_scheme'] !== 'never' && step['add_prefix_space'] !== false;
  });
}

/** What the decoder makes of a token of the vocabulary, apart from its neighbours. */
function pieceReader(steps: readonly Json[]): (token: string) => Piece {
  const has = (type: string) => steps.some((step) => step['type'] === type);
  const utf8 = new TextEncoder();
  if (has('ByteLevel')) {
    const table = byteLevelTable();
    return (token) => {
      const bytes = Array.from(token, (character) => table.get(character));
      return { bytes: bytes.includes(undefined) ? utf8.encode(token) : Uint8Array.from(bytes as number[]) };
    };
  }
  const replaced = steps.flatMap((step): [string, string][] => {
    if (step['type'] === 'Metaspace') return [[(step['replacement'] as string | undefined) ?? '▁', ' ']];
    const { String: pattern } = (step['pattern'] ?? {}) as { String?: string };
    if (step['type'] !== 'Replace') return [];
    if (pattern === undefined) throw new ConfigError('tokenizer.json: a decoder that replaces by a regular expression is not supported');
    return [[pattern, step['content'] as string]];
  });
  return (token) => {
    const byte = has('ByteFallback') ? /^<0x([\da-f]{2})>$/i.exec(token) : null;
    if (byte) return { bytes: Uint8Array.of(parseInt(byte[1]!, 16)), loose: true };
    return { bytes: utf8.encode(replaced.reduce((text, [from, to]) => text.replaceAll(from, to), token)) };
  };
}

/** GPT-2's bytes as printable characters: those that are one stand for themselves, the others from U+0100 on. */
function byteLevelTable(): Map<string, number> {
  const table = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    table.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return table;
}

/** GPT-2's pattern of words, which ByteLevel brings along. */
const BYTE_LEVEL = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/**
 * The same file with ByteLevel's pattern as a step before it: in the patterns of steps the library gives \s its meaning
 * in Rust (White_Space, which lacks U+FEFF and has U+0085), in its own for ByteLevel the one of JavaScript.
 */
function withUnicodeSpaces(json: unknown): unknown {
  const visit = (step: unknown): unknown => {
    if (typeof step !== 'object' || step === null) return step;
    const { type, pretokenizers, use_regex, add_prefix_space } = step as Json;
    if (Array.isArray(pretokenizers)) return { ...step, pretokenizers: pretokenizers.map(visit) };
    if (type !== 'ByteLevel' || use_regex === false || add_prefix_space !== false) return step;
    const split = { type: 'Split', pattern: { Regex: BYTE_LEVEL }, behavior: 'Isolated', invert: false };
    return { type: 'Sequence', pretokenizers: [split, { ...step, use_regex: false }] };
  };
  const file = json as Json;
  return { ...file, pre_tokenizer: visit(file['pre_tokenizer']) };
}
