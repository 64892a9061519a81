/**
 * Traces as compact bytes: a line of JSON, then arrays of 8 and 16 bits, all of it deflated. Weights are rounded to
 * 255ths, scores, losses and sums of attention to float16; what was held and when is exact.
 * @module
 */
import { FileFormatError, ValueError } from '../../core/errors.ts';
import { fromFloat16, toFloat16 } from '../../core/float16.ts';
import { FOREVER } from '../../core/lifetime.ts';
import { arrayOf, expectTrace } from './checks.ts';
import { type HeadTrace, type PolicyTrace, TOP_KEYS, TOP_QUERIES, type Trace } from './trace.ts';

/** The formats: without and with second windows, of which older readers would say that a GLOBAL ended them. */
const [FORMAT, SECOND_WINDOWS] = ['natsearch trace 1', 'natsearch trace 2'];
/** The 16 bits of a position that is none: an entry that is still held, or no further query. */
const NONE = 0xffff;

/** Everything but the arrays. */
interface Header extends Omit<Trace, 'tokens' | 'policies'> {
  readonly format: string;
  readonly length: number;
  readonly policies: readonly (Omit<PolicyTrace, 'loss' | 'predicted' | 'heads'> & { readonly scored: boolean })[];
}

/** The bytes that the arrays of a trace take before they are deflated, for `tokens` tokens and so many heads in all. */
export function rawBytes(tokens: number, heads: number, policies: number): number {
  const head = 1 + 2 + 3 * 2 + 2 + TOP_QUERIES * 3 + TOP_KEYS * 3;
  return policies * tokens * (heads * head + 2 + 4) + 4 * tokens;
}

/**
 * Encodes a trace.
 *
 * @throws {ValueError} If it is no trace, or its arrays have other lengths than its tokens ask for.
 * @example
 * ```ts
 * import { decodeTrace, encodeTrace, loadModel, recordTrace } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * const trace = await recordTrace(model, model.tokenizer.encode('My fellow citizens'));
 * const again = await decodeTrace(await encodeTrace(trace));
 * console.log(again.tokens.length, again.policies[0].policy); // 18 nats
 * model.dispose();
 * ```
 */
export async function encodeTrace(trace: Trace): Promise<Uint8Array<ArrayBuffer>> {
  expectTrace('trace', trace);
  const { tokens, policies, ...rest } = trace;
  const twice = policies.some(({ lifetimes }) => lifetimes?.localWindow !== undefined);
  const header: Header = {
    format: twice ? SECOND_WINDOWS : FORMAT, length: tokens.length, ...rest,
    policies: policies.map(({ loss: _, predicted: __, heads, ...about }) => {
      return { ...about, scored: heads[0]?.[0]?.scores.length > 0 };
    }),
  };
  const parts: Uint8Array<ArrayBuffer>[] = [new TextEncoder().encode(`${JSON.stringify(header)}\n`)];
  const add = (values: ArrayLike<number>, bytes: 1 | 2 | 4, map: (x: number) => number): void => {
    const part = new DataView(new ArrayBuffer(values.length * bytes));
    for (let n = 0; n < values.length; n++) {
      const value = map(values[n]);
      if (bytes === 1) part.setUint8(n, value);
      else if (bytes === 2) part.setUint16(2 * n, value, true);
      else part.setUint32(4 * n, value, true);
    }
    parts.push(new Uint8Array(part.buffer));
  };
  const same = (x: number): number => x;
  const place = (x: number): number => (x === FOREVER || x < 0 ? NONE : x);
  const weight = (x: number): number => Math.round(255 * x);
  add(tokens, 4, same);
  for (const { loss, predicted, heads } of policies) {
    add(loss, 2, toFloat16);
    add(predicted, 4, same);
    for (const head of heads.flat()) {
      add(head.types, 1, same);
      add(head.last, 2, place);
      add(head.scores, 2, toFloat16);
      add(head.received, 2, toFloat16);
      add(head.users, 2, place);
      add(head.userWeights, 1, weight);
      add(head.used, 2, place);
      add(head.usedWeights, 1, weight);
    }
  }
  return through(new Blob(parts), new CompressionStream('deflate-raw'));
}

/**
 * The inverse of encodeTrace(), up to its rounding.
 *
 * @throws {FileFormatError} If the bytes are no trace, or damaged.
 * @throws {ValueError} If `bytes` is no Uint8Array.
 * @example
 * ```ts
 * import { decodeTrace } from 'neural-attention-search';
 * const found = await decodeTrace(Uint8Array.of(1, 2)).catch((error) => error.name);
 * console.log(found); // FileFormatError
 * ```
 */
export async function decodeTrace(bytes: Uint8Array<ArrayBuffer>): Promise<Trace> {
  arrayOf('Uint8Array')('bytes', bytes);
  let data: Uint8Array;
  let header: Header;
  let at: number;
  try {
    data = await through(new Blob([bytes]), new DecompressionStream('deflate-raw'));
    at = data.indexOf(10) + 1;
    header = JSON.parse(new TextDecoder().decode(data.subarray(0, at))) as Header;
  } catch {
    throw new FileFormatError('the bytes are no trace: they do not unpack to one');
  }
  if (header.format !== FORMAT && header.format !== SECOND_WINDOWS) throw new FileFormatError(`the trace has the format '${String(header.format)}', and this reads '${FORMAT}' and '${SECOND_WINDOWS}'`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const take = <A extends Uint8Array | Int32Array | Float32Array>(
    into: A, width: 1 | 2 | 4, map: (x: number) => number,
  ): A => {
    if (at + into.length * width > data.length) throw new FileFormatError('the trace ends too early: it is cut off');
    for (let n = 0; n < into.length; n++, at += width) {
      const bits = width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
      into[n] = map(bits);
    }
    return into;
  };
  const same = (x: number): number => x;
  const weight = (x: number): number => x / 255;
  const { format: _, length: N, policies, ...rest } = header;
  const ints = (count: number, none: number): Int32Array =>
    take(new Int32Array(count), 2, (x) => (x === NONE ? none : x));
  const halves = (count: number): Float32Array => take(new Float32Array(count), 2, fromFloat16);
  const head = (scored: boolean): HeadTrace => ({
    types: take(new Uint8Array(N), 1, same), last: ints(N, FOREVER),
    scores: halves(scored ? 3 * N : 0), received: halves(N),
    users: ints(N * TOP_QUERIES, -1), userWeights: take(new Float32Array(N * TOP_QUERIES), 1, weight),
    used: ints(N * TOP_KEYS, -1), usedWeights: take(new Float32Array(N * TOP_KEYS), 1, weight),
  });
  const tokens = take(new Int32Array(N), 4, same);
  return {
    ...rest, tokens,
    policies: policies.map(({ scored, ...about }) => ({
      ...about, loss: halves(N), predicted: take(new Int32Array(N), 4, same),
      heads: rest.layers.map(() => Array.from({ length: rest.kvHeads }, () => head(scored))),
    })),
  };
}

async function through(
  blob: Blob, transform: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(blob.stream().pipeThrough(transform)).arrayBuffer());
}

/** Refuses a trace that would have more than `most` bytes. */
export function expectTraceSize(bytes: number, most: number): void {
  if (bytes <= most) return;
  const MB = (x: number): string => `${(x / 1e6).toFixed(1)} MB`;
  throw new ValueError(`the trace would have about ${MB(bytes)}, and the limit is ${MB(most)}: read fewer tokens, or record fewer layers or policies`);
}
