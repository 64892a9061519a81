/**
 * NumPy's .npy format, versions 1.0 to 3.0: a magic string, the length of a header, the header as a Python
 * dictionary of literals, and the elements
 * (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { sizeOf } from '../core/tensor.ts';
import {
  BYTES, checkNamed, type FloatDtype, inFile, type IntegerDtype, type Layout, LAYOUTS, type NamedTensor, readElements,
  SETTERS,
} from './named-tensor.ts';
import { roundArray } from './rounding.ts';
import { MAX_AXES, shown } from './safetensors-header.ts';

const MAGIC = '\x93NUMPY';
/** The limit of version 1. Versions 2 and 3 exceed it only for structured dtypes, which are not read. */
const MAX_HEADER = 0xffff;
/** Every header ends within this many bytes of the beginning of the file. */
export const NPY_HEADER_END: number = 12 + MAX_HEADER;

/** Layouts by NumPy's names, without the byte order. */
const TYPES: Readonly<Record<string, Layout>> = {
  f8: LAYOUTS.F64, f4: LAYOUTS.F32, f2: LAYOUTS.F16,
  i8: LAYOUTS.I64, i4: LAYOUTS.I32, i2: LAYOUTS.i2, i1: LAYOUTS.i1,
  u4: LAYOUTS.u4, u2: LAYOUTS.u2, u1: LAYOUTS.U8, b1: LAYOUTS.BOOL,
};

/** NumPy has no bfloat16, so it is written as float32, which holds all its values. */
const WRITTEN: Readonly<Record<FloatDtype | IntegerDtype, readonly [descr: string, as: FloatDtype | IntegerDtype]>> = {
  F64: ['<f8', 'F64'], F32: ['<f4', 'F32'], F16: ['<f2', 'F16'], BF16: ['<f4', 'F32'],
  I64: ['<i8', 'I64'], I32: ['<i4', 'I32'], U8: ['|u1', 'U8'], BOOL: ['|b1', 'BOOL'],
};

/** What the header says. */
export interface NpyHeader {
  readonly layout: Layout;
  readonly little: boolean;
  readonly fortran: boolean;
  readonly shape: readonly number[];
  /** Where the elements begin. */
  readonly begin: number;
}

/**
 * Reads a .npy file: f2, f4, f8, i1, i2, i4, i8, u1, u2, u4 and bool, of either byte order, in C or Fortran order.
 * i1, i2 and u2 become I32 and u4 becomes I64, which hold all their values; numbers beyond 32 bits are refused.
 * The tensor takes at most four times the memory of the file (float16 to float64, bool to 32 bits).
 *
 * @param bytes The whole file.
 * @param file Its name in error messages.
 * @returns The tensor in row-major order. The shape of a 0-d array is [].
 * @throws {FileFormatError} If the file contradicts the format or its own length, or has another dtype: Python
 * objects, strings, complex or structured ones.
 */
export function readNpy(bytes: Uint8Array, file = 'the npy file'): NamedTensor {
  try {
    return readNpyElements(readNpyHeader(bytes, bytes.length), bytes);
  } catch (error) {
    throw inFile(file, error);
  }
}

/**
 * Reads the header and checks it against the length of the file, most of which need not be there yet.
 *
 * @param start The first NPY_HEADER_END bytes of the file, or all if there are fewer.
 * @param length The number of bytes of the whole file.
 */
export function readNpyHeader(start: Uint8Array, length: number): NpyHeader {
  if (start.length < 12 || latin1(start.subarray(0, 6)) !== MAGIC) {
    fail('it does not begin as a .npy file does: save it with numpy.save, or copy it again');
  }
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const [major, minor] = [view.getUint8(6), view.getUint8(7)];
  if (major < 1 || major > 3 || minor !== 0) fail(`it has version ${major}.${minor} of .npy: 1.0, 2.0 and 3.0 are read`);
  const headerLength = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerLength > MAX_HEADER) fail(`a header of ${headerLength} bytes is announced: no dtype that is read needs more than ${MAX_HEADER}`);
  const from = major === 1 ? 10 : 12;
  const begin = from + headerLength;
  if (begin > start.length) fail(`a header of ${headerLength} bytes is announced but there are ${length} bytes in all: it is truncated, copy it again`);
  // Version 3 uses UTF-8 for names of fields. Whatever is not ASCII is refused below, in either encoding.
  const { descr, fortran, shape } = parseHeader(latin1(start.subarray(from, begin)));
  const { layout, little } = typeOf(descr);
  const needed = sizeOf(shape) * layout.bytes;
  if (needed !== length - begin) {
    fail(`it is ${descr} [${shown(String(shape))}], ${needed} bytes, but ${length - begin} follow the header: it is damaged, copy it again`);
  }
  return { layout, little, fortran, shape, begin };
}

/** Reads the elements of a file whose header has been read. */
export function readNpyElements({ layout, little, fortran, shape, begin }: NpyHeader, bytes: Uint8Array): NamedTensor {
  const place = fortran && shape.length > 1 ? fortranPlace(shape) : undefined;
  return { ...readElements(layout, bytes.subarray(begin), little, 'it', place), shape };
}

/** Maps an element's place in Fortran order, where the first index varies fastest, to its row-major place. */
function fortranPlace(shape: readonly number[]): (n: number) => number {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  return (n) => {
    let place = 0;
    for (let axis = 0; axis < shape.length; axis++) {
      const size = shape[axis];
      place += (n % size) * strides[axis];
      n = Math.floor(n / size);
    }
    return place;
  };
}

function typeOf(descr: string): { layout: Layout; little: boolean } {
  const [, order, name = ''] = /^([<>|])([a-z]\d)$/.exec(descr) ?? [];
  const layout = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  // '|' says that the byte order does not matter, which is so only for elements of one byte.
  if (layout !== undefined && (order !== '|' || layout.bytes === 1)) return { layout, little: order === '<' };
  if (descr.includes('O')) fail(`it has dtype '${shown(descr)}', pickled Python objects, which are never read: save an array of numbers`);
  const remedy = descr === '<V2' ? 'if it is bfloat16, save it as float32' : 'convert it to one of them';
  return fail(`it has dtype '${shown(descr)}': only bool and ${Object.keys(TYPES).filter((key) => key !== 'b1').join(', ')} are read, ${remedy}`);
}

/** Decodes Latin-1 exactly, as TextDecoder takes that name for windows-1252. */
function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function fail(what: string): never {
  throw new FileFormatError(what);
}

/** A token of Python: a string without escapes, a whole number (with an L in Python 2), a name, or a mark. */
const TOKEN = /[ \t\n\r]*('[^'\\\n]*'|"[^"\\\n]*"|\d+L?|[A-Za-z]+|[{}()[\]:,])/y;

/** Reads the dictionary `{'descr': string, 'fortran_order': bool, 'shape': tuple}`, with its keys in any order. */
function parseHeader(text: string): { descr: string; fortran: boolean; shape: number[] } {
  let at = 0;
  const next = (expected: RegExp, what: string): string => {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[1] ?? '';
    if (!expected.test(token)) {
      const found = token !== '' ? `'${shown(token)}'` : at < text.length ? `'${shown(text.slice(at, at + 10))}'` : 'its end';
      fail(`the header is not valid at character ${at}: expected ${what} but found ${found}; it is damaged, copy it again`);
    }
    at = TOKEN.lastIndex;
    return token;
  };
  let [descr, fortran, shape]: [string?, boolean?, number[]?] = [];
  next(/^\{$/, '{');
  for (let mark = next(/^['"}]/, 'a key or }'); mark !== '}';) {
    const key = mark.slice(1, -1);
    next(/^:$/, ':');
    if (key === 'descr' && descr === undefined) {
      const value = next(/^['"[]/, 'a dtype');
      if (value === '[') fail('it has a structured dtype: save each field as an array of its own');
      descr = value.slice(1, -1);
    } else if (key === 'fortran_order' && fortran === undefined) {
      fortran = next(/^(True|False)$/, 'True or False') === 'True';
    } else if (key === 'shape' && shape === undefined) {
      shape = tuple(next);
    } else {
      fail(`the header has '${shown(key)}', an unknown or repeated key: it must have descr, fortran_order and shape, once each`);
    }
    mark = next(/^[,}]$/, ', or }');
    if (mark === ',') mark = next(/^['"}]/, 'a key or }');
  }
  if (/[^ \t\n\r]/.test(text.slice(at))) fail(`the header goes on after its end at character ${at}: it is damaged, copy it again`);
  if (descr === undefined || fortran === undefined || shape === undefined) {
    return fail('the header needs descr, fortran_order and shape: it is damaged, copy it again');
  }
  return { descr, fortran, shape };
}

/** Reads `()`, `(3,)`, `(3, 4)` or `(3, 4,)`. `(3)` is refused: in Python it is a number. */
function tuple(next: (expected: RegExp, what: string) => string): number[] {
  const sizes: number[] = [];
  next(/^\($/, '(');
  for (let token = next(/^[\d)]/, 'a size or )'); token !== ')';) {
    if (sizes.length === MAX_AXES) fail(`its shape has more than ${MAX_AXES} axes: reshape it`);
    const size = Number(token.replace('L', ''));
    if (!Number.isSafeInteger(size)) fail(`its shape holds ${shown(token)}: a size is at most ${Number.MAX_SAFE_INTEGER}`);
    sizes.push(size);
    token = next(sizes.length === 1 ? /^,$/ : /^[,)]$/, sizes.length === 1 ? ',' : ', or )');
    if (token === ',') token = next(/^[\d)]/, 'a size or )');
  }
  return sizes;
}

/**
 * Writes a .npy file, version 1.0, little-endian, in C order: the bytes that numpy.save writes (NumPy >= 1.24).
 * Floats round to nearest, ties to even. BF16, which NumPy lacks, is rounded and written as float32.
 *
 * @param tensor What to write.
 * @param name Its name in error messages.
 * @returns The file's bytes.
 * @throws {ValueError} If the shape does not fit the elements, or an integer its dtype.
 */
export function writeNpy(tensor: NamedTensor, name = 'array'): Uint8Array {
  checkNamed(name, tensor);
  const { dtype, shape, data } = tensor;
  const [descr, as] = WRITTEN[dtype];
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  let header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${sizes}), }`;
  // NumPy leaves room for a first axis of up to 21 digits, so that it can grow in place.
  if (shape.length > 0) header += ' '.repeat(Math.max(0, 21 - String(shape[0]).length));
  const begin = Math.ceil((10 + header.length + 1) / 64) * 64;
  header = `${header.padEnd(begin - 11)}\n`;
  const bytes = new Uint8Array(begin + data.length * BYTES[as]);
  const view = new DataView(bytes.buffer);
  for (let n = 0; n < MAGIC.length; n++) bytes[n] = MAGIC.charCodeAt(n);
  view.setUint16(6, 1, true); // version 1.0
  view.setUint16(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), 10);
  const [set, values] = [SETTERS[as], dtype === 'BF16' ? roundArray(data, dtype) : data];
  values.forEach((x, n) => set(view, begin + n * BYTES[as], x));
  return bytes;
}
