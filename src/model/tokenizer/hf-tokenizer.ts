/**
 * Published vocabularies: tokenizer.json, and what tokenizer_config.json says about starts and ends. The patterns of
 * words are translated by `@huggingface/tokenizers`, which is loaded only if there is a file; all else is done here.
 * @module
 */
import { of, wholeFrom } from '../../core/arguments.ts';
import { ConfigError, ValueError } from '../../core/errors.ts';
import { shown } from '../config/config-fields.ts';
import type { ModelConfig } from '../config/config.ts';
import { HfEncoder } from './hf-encoder.ts';
import type { CompilePattern } from './hf-normalizer.ts';
import { parsePieces, type Piece, type Pieces } from './hf-pieces.ts';
import { type Around, parseAround } from './hf-post-processor.ts';
import { isObject, parseTokenizerFile, refusal, type TokenizerFile } from './hf-tokenizer-file.ts';
import {
  type EncodeOptions, expectDecodeOptions, expectEncodeOptions, idsOf, type TextStream, type Tokenizer,
} from './tokenizer.ts';

/**
 * Makes the tokenizer of a parsed tokenizer.json. Special tokens are found in text, as in Hugging Face's libraries. The
 * file may have added tokens for which the model has no row, but a text with such a token is refused.
 *
 * @param json The parsed file.
 * @param config The model's config, for its vocabulary and the tokens that begin and end a text.
 * @param tokenizerConfig The parsed tokenizer_config.json, if there is one.
 * @throws {ConfigError} If the file is invalid, needs something unsupported, or has a larger vocabulary than the model.
 */
export async function createHfTokenizer(
  json: unknown, config: Pick<ModelConfig, 'vocabSize' | 'bosTokenId' | 'eosTokenId'>, tokenizerConfig?: unknown,
): Promise<HfTokenizer> {
  const file = parseTokenizerFile(json);
  const compile = await patternCompiler();
  const { vocabSize: rows, bosTokenId: bos, eosTokenId: eos } = config;
  const added = new Set(file.added.map(({ id }) => id));
  const beyond = [...file.bpe.vocabulary.values()].filter((id) => id >= rows && !added.has(id));
  if (beyond.length > 0) {
    const last = beyond.reduce((a, b) => Math.max(a, b));
    throw new ConfigError(`tokenizer.json has ids up to ${last} but the model's vocabulary has ${rows} tokens: use the model's own tokenizer`);
  }
  const around = parseAround(file, tokenizerConfig, { bos, eos });
  const without = [...around.starts, ...around.ends].find((id) => id >= rows);
  if (without !== undefined) {
    throw new ConfigError(`tokenizer.json puts the token ${without} around every text but the model's vocabulary has ${rows} tokens: use the model's own tokenizer`);
  }
  const pieces = parsePieces(file);
  const encoder = new HfEncoder(file, compile, (ids) => checkRows(ids, rows, file));
  return new HfTokenizer(pieces, { rows, bos, eos, ...around }, encoder);
}

function checkRows(ids: readonly number[], rows: number, { added }: TokenizerFile): void {
  for (const id of ids) {
    if (id < rows) continue;
    const content = added.find((token) => token.id === id)?.content;
    throw new ValueError(`the text has the token ${shown(content)} (${id}), for which the model has no row: its vocabulary has ${rows} tokens; take it out of the text`);
  }
}

/** The part of the library that compiles the pattern of a step. The library's own declarations do not resolve. */
interface Library {
  readonly SplitPreTokenizer: new (step: {
    type: 'Split'; pattern: { [kind: string]: string }; behavior: 'Isolated'; invert: boolean;
  }) => { readonly pattern: RegExp | null };
}

/** Translates patterns in Rust's syntax of regular expressions into JavaScript's. */
async function patternCompiler(): Promise<CompilePattern> {
  const { SplitPreTokenizer } = await import('@huggingface/tokenizers') as unknown as Library;
  return (step, where) => {
    const pattern = step['pattern'];
    const [kind, source] = isObject(pattern) ? Object.entries(pattern)[0] ?? [] : [];
    if ((kind !== 'String' && kind !== 'Regex') || typeof source !== 'string' || source === '') {
      throw refusal(`${where}.pattern is ${shown(pattern ?? null)}: it must be {"String": text} or {"Regex": text}`);
    }
    try {
      const step = { type: 'Split', pattern: { [kind]: source }, behavior: 'Isolated', invert: true } as const;
      return new SplitPreTokenizer(step).pattern!;
    } catch (error) {
      const why = (error as Error).message.replace(/\s+/g, ' ');
      throw refusal(`${where}.pattern is ${shown(pattern)}, which cannot be read (${why.slice(0, 200)})`);
    }
  };
}

/** A tokenizer made by createHfTokenizer(). */
export class HfTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bos: number;
  readonly eos: number;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly #pieces: ReadonlyMap<number, Piece>;
  readonly #stripped: number;
  readonly #encoder: HfEncoder;

  /** @param sizes.rows The number of tokens of the model. */
  constructor(
    { pieces, stripped }: Pieces, sizes: Around & { rows: number; bos: number; eos: number }, encoder: HfEncoder,
  ) {
    this.vocabSize = [...pieces.keys()].reduce((most, id) => (id < sizes.rows ? Math.max(most, id + 1) : most), 0);
    this.bos = sizes.bos;
    this.eos = sizes.eos;
    this.starts = sizes.starts;
    this.ends = sizes.ends;
    this.#pieces = pieces;
    this.#stripped = stripped;
    this.#encoder = encoder;
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    of('string')('text', text);
    expectEncodeOptions(options);
    return this.#encoder.encode(text, options);
  }

  encoder(): TextStream {
    return this.#encoder.stream();
  }

  /** The whole text; with `specials`, including special tokens in their written form. */
  decode(tokens: Iterable<number>, options: { specials?: boolean } = {}): string {
    const decoder = this.decoder(options);
    let text = '';
    for (const token of idsOf(tokens)) text += decoder.push(token);
    text += decoder.end();
    let start = 0; // skips spaces that encoding puts in front
    while (start < this.#stripped && text[start] === ' ') start++;
    return text.slice(start);
  }

  /** A decoder for a stream that continues other text, so that a space in front is kept. */
  decoder(options: { specials?: boolean } = {}): { push(token: number): string; end(): string } {
    expectDecodeOptions(options);
    const { specials = false } = options;
    let utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    let loose: number[] = [];
    const flushLoose = (): string => {
      const lost = '\ufffd'.repeat(loose.length);
      loose = [];
      return lost;
    };
    return {
      push: (token) => {
        wholeFrom(0)('token', token);
        const piece = this.#pieces.get(token);
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
    wholeFrom(0)('token', token);
    const piece = this.#pieces.get(token);
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
