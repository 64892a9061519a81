/**
 * Puts values that do not belong there into every place of a valid call. Every error that leaves the package must be a
 * named one.
 * @module
 */
import { isNamedError, StoppedError } from '../../src/core/errors.ts';

/** A valid call. */
export interface Call {
  readonly given: readonly unknown[];
  readonly call: (...given: never[]) => unknown;
}

/** For functions without arguments, which cannot be called wrongly. */
export const NONE: Call = { given: [], call: () => undefined };

/** Calls a method of what `make` gives. */
export const onEach = <T extends object>(make: () => T, name: keyof T): Call['call'] => (...given: never[]): unknown =>
  (make()[name] as (...given: never[]) => unknown)(...given);

/** Ignores the error of a run that was stopped on purpose. */
export function unlessStopped(error: unknown): void {
  if (!(error instanceof StoppedError)) throw error;
}

/** A buffer whose bytes were transferred away, as by postMessage() and structuredClone() with `transfer`. */
function detached(bytes: number): ArrayBuffer {
  const buffer = new ArrayBuffer(bytes);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

/** A view whose buffer was transferred away. */
function emptied<View extends ArrayBufferView>(view: View): View {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
  return view;
}

/** An object that has every field, all undefined. */
const hollow = (): object => new Proxy({}, { get: () => undefined, has: () => true });

/** Values that no function of this package accepts everywhere. Some can be used only once, so they are made anew. */
export const HOSTILE: readonly (() => unknown)[] = [
  () => undefined, () => null, () => true, () => 'text', () => '', () => '\ud800', () => -1, () => 0.5, () => NaN,
  () => -Infinity, () => Infinity, () => 1e15, () => 1e300, () => 2 ** 53, () => 7n, () => Symbol('s'), () => [],
  () => [undefined], () => ['a'], () => [[]], () => new Array<unknown>(3), () => ({}), () => Object.create(null),
  () => ({ data: 1, shape: 2 }), () => ({ data: null, shape: null }), () => ({ length: -1 }), () => ({ length: 1e9 }),
  () => new Map(), () => new Map([[1, 2]]), () => new Set([1]), () => new Date(NaN),
  () => () => 1, () => new Float64Array(3), () => new Int32Array(3), () => new Uint8Array(3),
  () => new BigInt64Array(4), () => new DataView(new ArrayBuffer(8)), () => new ArrayBuffer(3), () => detached(16),
  () => emptied(new Float64Array(4)), () => emptied(new Int32Array(2)), () => emptied(new DataView(new ArrayBuffer(8))),
  () => ({ data: emptied(new Float64Array(4)), shape: [1, 1, 2, 2] }), () => new SharedArrayBuffer(8),
  () => new Float64Array(new SharedArrayBuffer(32)), () => new Uint8Array(new SharedArrayBuffer(3)), hollow,
  () => new Proxy([], {}), () => ({ data: new Int32Array(2), shape: [2] }),
  () => ({ data: new Float64Array(1), shape: [1, 1, 2, 2] }),
  () => ({ data: new Float64Array(2), shape: [1, 1, -1, -2] }),
  () => ({ data: new Float64Array(4), shape: [2 ** 40, 2 ** 40] }), () => ({ data: [1, 2, 3, 4], shape: [1, 1, 2, 2] }),
  () => ({ shape: [1, 1, 2, 2], kind: 'float', dispose: () => undefined }), () => Promise.resolve(1),
  () => ({ then: 1 }), () => new Error('an error'), () => AbortSignal.abort(), () => new URL('http://localhost/'),
  () => /x/,
];

/**
 * The values that the quick run tries in the nth place: the most common mistakes, and some others, which vary with n.
 */
export function some(n: number): readonly (() => unknown)[] {
  return HOSTILE.filter((_, index) => index < 2 || (index + n) % 20 === 0);
}

/** Stands for leaving out a field of an object. */
const LEFT_OUT = Symbol('left out');

type Path = readonly string[];

/** How deep to go into objects and arrays of arguments. */
const DEPTH = 4;

/** The places within arguments: each of them, and what their objects and arrays hold, `depth` levels deep. */
function pathsOf(value: unknown, depth: number): Path[] {
  if (depth === 0 || typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [[]];
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (!plain) return [[]];
  const inner = Object.entries(value).flatMap(([key, each]) => pathsOf(each, depth - 1).map((path) => [key, ...path]));
  return [[], ...inner];
}

/** A copy of `value` with `hostile` at `path`. */
function replaced(value: unknown, [key, ...rest]: Path, hostile: unknown): unknown {
  if (key === undefined) return hostile;
  const copy = (Array.isArray(value) ? [...value as unknown[]] : { ...value as object }) as Record<string, unknown>;
  if (rest.length === 0 && hostile === LEFT_OUT) delete copy[key];
  else copy[key] = replaced(copy[key], rest, hostile);
  return copy;
}

/** Waits for the result of a call, and takes the first few parts of an asynchronous iterable. */
async function awaited(result: unknown): Promise<void> {
  const settled: unknown = await result;
  if (typeof settled !== 'object' || settled === null) return;
  const parts = Symbol.asyncIterator in settled ? settled as AsyncIterable<unknown> : undefined;
  if (!parts) return;
  let n = 0;
  for await (const _ of parts) if (++n > 2) break;
}

/** Messages of JavaScript engines, which do not help someone who passed a wrong argument. */
const RAW = /Cannot read propert|is not (a function|iterable|a constructor)|reading '|of undefined|\[object /;

/**
 * What is wrong with an error that leaves the package, or undefined if it is a named error with a message of its own.
 */
function faultOf(error: unknown): string | undefined {
  const { name, message, stack } = error as Error;
  const at = stack?.split('\n').find((line) => /src\/|reference\/|gpu\//.test(line))?.trim() ?? '';
  if (!isNamedError(error)) return `${name}: ${message} ${at}`;
  if (message === '' || message.includes('\n') || RAW.test(message)) return `${name} with the message ${JSON.stringify(message)} ${at}`;
  return undefined;
}

/** Tries the values `chosen(n)` in the nth place of a call, for every place, and the call with too few arguments. */
export async function faultsOf(
  { given, call }: Call, chosen: (n: number) => readonly (() => unknown)[] = () => HOSTILE,
): Promise<string[]> {
  await awaited(call(...given as never[]));
  const faults: string[] = [];
  const attempt = async (what: string, args: readonly unknown[]): Promise<void> => {
    try {
      await awaited(call(...args as never[]));
    } catch (error) {
      const fault = faultOf(error);
      if (fault !== undefined) faults.push(`${what}: ${fault}`);
    }
  };
  for (let count = 0; count < given.length; count++) await attempt(`${count} arguments`, given.slice(0, count));
  const places = pathsOf(given, DEPTH).filter((path) => path.length > 0);
  for (const [n, path] of places.entries()) {
    for (const make of [...chosen(n), ...(path.length > 1 ? [() => LEFT_OUT] : [])]) {
      const hostile = make();
      await attempt(`${path.join('.')} = ${described(hostile)}`, replaced(given, path, hostile) as unknown[]);
    }
  }
  return faults;
}

function described(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return `${Object.prototype.toString.call(value)} ${Object.keys(value).slice(0, 5).join()}`;
}

/** The methods of an object or a prototype, including inherited ones. */
export function methodsOf(object: object): string[] {
  const names = new Set<string>();
  for (let at = object; at && at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (name !== 'constructor' && typeof value === 'function') names.add(name);
    }
  }
  return [...names];
}
