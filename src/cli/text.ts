/**
 * Reads the texts of --text PATH... as a stream. No file is ever in memory as a whole, unless its whole text is wanted.
 * @module
 */
import { constants } from 'node:buffer';
import { constants as flags, createReadStream, openSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { expectGoing, StorageError, ValueError } from '../core/errors.ts';
import type { Tokenizer } from '../model/tokenizer/tokenizer.ts';
import type { TokenSource } from '../train/token-store.ts';
import { tokenizeStream } from '../train/token-stream.ts';
import { noteRepeated } from './notes.ts';
import { PagedText } from './paged-text.ts';
import { createProgress, type Progress } from './terminal.ts';
import { isEmpty, listTexts, STDIN, type TextFile } from './text-files.ts';
import { Utf8Decoder } from './utf8.ts';

/** How many bytes to read at once. */
const CHUNK = 1 << 18;
/** After how many ms of reading a progress bar appears. */
const PATIENCE = 1000;

/** Options of readTokens(). */
export interface ReadOptions {
  /** Stop after this many tokens, and read no more than they need. */
  readonly maxTokens?: number;
  /** Leave out the tokens before the first document and after the last. */
  readonly bare?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The tokens of the texts under `paths`, each of which is a document. A progress bar appears if reading takes long.
 *
 * @throws {StorageError} If a path does not exist or cannot be read.
 * @throws {ValueError} If a file in `paths` is empty, or a folder holds no text.
 * @throws {FileFormatError} If a file is not UTF-8.
 * @throws {StoppedError} If `signal` aborts.
 */
export async function readTokens(
  tokenizer: Tokenizer, paths: readonly string[], options: ReadOptions = {},
): Promise<TokenSource> {
  const files = listTexts(paths);
  const meter = new ReadMeter(files, options.maxTokens);
  let repeated = 0;
  try {
    return await tokenizeStream(tokenizer, documentsOf(files, (bytes) => meter.add(bytes), options.signal), {
      ...options, onProgress: (tokens) => meter.update(tokens), onRepeatedStarts: () => void repeated++,
    });
  } finally {
    meter.finish();
    if (repeated > 0) noteRepeated(`${repeated === 1 ? 'a text' : `each of ${repeated} texts`} in ${listed(paths)}`);
  }
}

/**
 * The documents under `paths` as strings.
 *
 * @throws {ValueError} If they are longer than a string can be; further as readTokens() does.
 */
export async function readDocuments(paths: readonly string[], signal?: AbortSignal): Promise<string[]> {
  const files = listTexts(paths);
  const meter = new ReadMeter(files);
  const documents: string[] = [];
  let length = 0;
  try {
    for (const document of documentsOf(files, (bytes) => meter.add(bytes), signal)) {
      const pieces: string[] = [];
      for await (const piece of document) {
        length += piece.length + 1;
        if (length > constants.MAX_STRING_LENGTH) {
          throw new ValueError(`${listed(paths)} has more than ${constants.MAX_STRING_LENGTH} characters, and this command reads them at once: pass less text`);
        }
        pieces.push(piece);
        meter.update(0);
      }
      if (pieces.length > 0) documents.push(pieces.join(''));
    }
  } finally {
    meter.finish();
  }
  return documents;
}

/** The texts under `paths` as one text of any length, separated by newlines. It throws as readTokens() does. */
export async function readPaged(paths: readonly string[]): Promise<PagedText> {
  const files = listTexts(paths);
  const meter = new ReadMeter(files);
  const text = new PagedText();
  try {
    for (const document of documentsOf(files, (bytes) => meter.add(bytes))) {
      let begun = false;
      for await (const piece of document) {
        if (!begun && text.length > 0) text.push('\n');
        begun = true;
        text.push(piece);
        meter.update(0);
      }
    }
  } finally {
    meter.finish();
  }
  return text;
}

/** Paths as in messages: the first, and how many more. */
export function listed([first, ...more]: readonly string[]): string {
  const name = first === STDIN ? 'stdin' : first;
  return more.length === 0 ? name : `${name} and ${more.length} more`;
}

function* documentsOf(
  files: readonly TextFile[], onBytes: (bytes: number) => void, signal?: AbortSignal,
): Generator<AsyncIterable<string>> {
  for (const file of files) yield piecesOf(file, onBytes, signal);
}

/** The text of a file as it is read, without empty pieces. */
async function* piecesOf(
  { path, named }: TextFile, onBytes: (bytes: number) => void, signal?: AbortSignal,
): AsyncGenerator<string> {
  const decoder = new Utf8Decoder(path === STDIN ? 'stdin' : path);
  let empty = true;
  for await (const chunk of chunksOf(path, signal)) {
    onBytes(chunk.length);
    const piece = decoder.push(chunk);
    if (piece === '') continue;
    empty = false;
    yield piece;
  }
  decoder.end();
  if (empty && named) throw isEmpty(path);
}

async function* chunksOf(path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    const stream = path === STDIN ? process.stdin : openStream(path);
    if (signal) addAbortSignal(signal, stream);
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (error) {
    expectGoing(signal, () => `reading of ${path === STDIN ? 'stdin' : path} was stopped`);
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined && code === undefined) throw error;
    throw new StorageError(`cannot read ${path === STDIN ? 'stdin' : path} (${code}): check its permissions`);
  }
}

/** Opens pipes as sockets, because Node would otherwise wait for the other end in a call that nothing interrupts. */
function openStream(path: string): Readable {
  if (!statSync(path).isFIFO()) return createReadStream(path, { highWaterMark: CHUNK });
  return new Socket({ fd: openSync(path, flags.O_RDONLY | flags.O_NONBLOCK), readable: true, writable: false });
}

/** A progress bar that appears if reading turns out to take long. */
class ReadMeter {
  readonly #begin = performance.now();
  readonly #total: number | undefined;
  readonly #maxTokens: number | undefined;
  #bytes = 0;
  #progress: Progress | undefined;

  constructor(files: readonly TextFile[], maxTokens?: number) {
    const sizes = files.map(({ size }) => size);
    this.#total = sizes.includes(undefined) ? undefined : sizes.reduce<number>((sum, size) => sum + size!, 0);
    this.#maxTokens = maxTokens;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Draws how much has been read, or how many of the wanted tokens. */
  update(tokens: number): void {
    if (this.#progress === undefined && performance.now() - this.#begin < PATIENCE) return;
    const wanted = this.#maxTokens;
    const MiB = 2 ** 20;
    this.#progress ??= wanted !== undefined ? createProgress({ label: 'read (tokens)', total: wanted })
      : createProgress({ label: 'read (MiB)', ...(this.#total !== undefined && { total: this.#total / MiB }) });
    this.#progress.update(wanted !== undefined ? tokens : this.#bytes / MiB);
  }

  finish(): void {
    this.#progress?.finish();
  }
}
