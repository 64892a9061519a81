/**
 * manifest.json: what a folder of vectors holds (docs/vectors.md describes it field by field).
 * @module
 */
import { list, of, record } from '../../core/arguments.ts';
import { FileFormatError, ValueError } from '../../core/errors.ts';
import { BYTES, type FloatDtype, type NamedTensor } from '../../formats/named-tensor.ts';
import { checkParameters } from './recipes.ts';
import { inputShapes, outputShapes } from './shapes.ts';
import type { CaseParameters, ClaimedDtype, NotCompared } from '../types.ts';

/** The manifest's file name. */
export const MANIFEST_FILE = 'manifest.json';
/** The version of the manifest's format. It changes whenever readers of the old format could misread the new one. */
export const MANIFEST_VERSION = 1;
/**
 * The version of the lists of cases. It changes when suites gain cases, or when the bytes of a case change. 2:
 * `small` has 26 cases more, and `tiles` is new; the bytes of the cases of version 1 are the same.
 */
export const SUITE_VERSION = 2;
/** Prefix of the names of truths in a file. */
export const EXPECTED = 'expected.';

/** The format of the files that hold cases. */
export type FileFormat = 'safetensors' | 'npz';

/** A tensor as its file holds it. */
export interface TensorEntry {
  readonly dtype: NamedTensor['dtype'];
  readonly shape: readonly number[];
}

/** One case of a folder. */
export interface CaseEntry {
  readonly name: string;
  /** Its file, beside the manifest. */
  readonly file: string;
  /** The SHA-256 of the file's bytes, in hexadecimal. */
  readonly sha256: string;
  readonly why: string;
  readonly parameters: CaseParameters;
  readonly inputs: Readonly<Record<string, TensorEntry>>;
  /** The truths. In the file their names begin with `expected.`. */
  readonly expected: Readonly<Record<string, TensorEntry>>;
  readonly notCompared: NotCompared;
}

/** What was asked for. One version of the package writes equal bytes for equal headings. */
export interface Heading {
  /**
   * The name of a suite, and the patterns of --only behind it; or `recipes` and the first digits of the list's SHA-256.
   */
  readonly suite: string;
  readonly seed: number;
  readonly fileFormat: FileFormat;
  /** What floats were rounded to. The inputs are exact in every dtype, the truths only in `f64`. */
  readonly dtype: ClaimedDtype;
  /** The version of the package that wrote it. */
  readonly packageVersion?: string;
  /** The version of the lists of cases; see {@link SUITE_VERSION}. */
  readonly suiteVersion?: number;
}

/** The contents of manifest.json. */
export interface Manifest extends Heading {
  readonly format: 'natsearch-vectors';
  readonly version: typeof MANIFEST_VERSION;
  /** False while cases are still being written. */
  readonly complete: boolean;
  readonly cases: readonly CaseEntry[];
}

/** The names that files give to claimed dtypes. */
export const DTYPES: Readonly<Record<ClaimedDtype, FloatDtype>> = { f64: 'F64', f32: 'F32', f16: 'F16', bf16: 'BF16' };

/**
 * The text of manifest.json, one line per case.
 *
 * @example
 * ```ts
 * import { formatManifest, makeCase, packCase, readManifest, SUITES } from 'neural-attention-search/vectors';
 * const how = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
 * const { entry } = await packCase(await makeCase(SUITES.small[0]!), how);
 * const text = formatManifest({ format: 'natsearch-vectors', version: 1, ...how, complete: true, cases: [entry] });
 * console.log(readManifest(text).cases[0]!.name); // one-token
 * ```
 */
export function formatManifest(manifest: Manifest): string {
  record({ cases: list(() => undefined) })('manifest', manifest);
  const { cases, ...heading } = manifest;
  try {
    const head = JSON.stringify(heading, null, 2).slice(0, -2);
    return `${head},\n  "cases": [${cases.map((entry) => `\n    ${JSON.stringify(entry)}`).join(',')}\n  ]\n}\n`;
  } catch (error) {
    throw new ValueError(`the manifest cannot be written as JSON: ${(error as Error).message}`);
  }
}

/**
 * Reads manifest.json.
 *
 * @param file The name to use in error messages.
 * @throws {FileFormatError} If it is truncated, of another version, or contradicts itself.
 * @example
 * ```ts
 * import { readManifest } from 'neural-attention-search/vectors';
 * try {
 *   readManifest('{"format": "natsearch-vec');
 * } catch (error) {
 *   console.log((error as Error).name); // FileFormatError
 * }
 * ```
 */
export function readManifest(text: string, file: string = MANIFEST_FILE): Manifest {
  of('string')('file', file);
  of('string')(file, text);
  let value: Manifest;
  try {
    value = JSON.parse(text) as Manifest;
  } catch (error) {
    return fail(`${file} is not JSON (${(error as Error).message}): it is truncated or damaged, write the vectors again`);
  }
  if (typeof value !== 'object' || value === null || value.format !== 'natsearch-vectors') {
    fail(`${file} is not a manifest of vectors: pass a folder that natsearch vectors wrote`);
  }
  if (value.version !== MANIFEST_VERSION) {
    fail(`${file} has version ${String(value.version)} but this package reads version ${MANIFEST_VERSION}: write the vectors again with this package`);
  }
  const { suite, seed, fileFormat, dtype, complete, cases } = value;
  const heading = typeof suite === 'string' && Number.isSafeInteger(seed) && typeof complete === 'boolean' &&
    (fileFormat === 'safetensors' || fileFormat === 'npz') && Object.hasOwn(DTYPES, dtype) && Array.isArray(cases);
  if (!heading) fail(`${file} lacks suite, seed, fileFormat, dtype, complete or cases: write the vectors again`);
  const names = new Set<string>();
  for (const entry of cases as readonly (CaseEntry | null)[]) {
    checkEntry(entry, `${file}: case ${names.size}`);
    if (names.has(entry.name)) fail(`${file}: two cases are named ${entry.name}`);
    names.add(entry.name);
  }
  return value;
}

function checkEntry(entry: CaseEntry | null, what: string): asserts entry is CaseEntry {
  const isRecord = (x: unknown): boolean => typeof x === 'object' && x !== null && !Array.isArray(x);
  if (!isRecord(entry) || !isRecord(entry!.parameters)) return fail(`${what} has no parameters`);
  const { name, file, sha256: hash, why, parameters, inputs, expected, notCompared } = entry!;
  if (typeof why !== 'string' || !/^[a-z0-9-]+$/.test(String(name)) || !/^[\w.-]+$/.test(String(file)) ||
    !/^[0-9a-f]{64}$/.test(String(hash)) || ![inputs, expected, notCompared].every(isRecord)) {
    fail(`${what} lacks a name of a-z, 0-9 and -, a file, its sha256, why, inputs, expected or notCompared`);
  }
  const here = `${what} (${name})`;
  if (!Array.isArray(parameters.steps)) fail(`${here} has no steps`);
  try {
    checkParameters(parameters);
  } catch (error) {
    fail(`${here}: ${(error as Error).message}`);
  }
  const shapes = [[inputs, inputShapes(parameters)], [expected, outputShapes(parameters)]] as const;
  for (const [entries, known] of shapes) {
    for (const [key, tensor] of Object.entries(entries)) {
      const shape = (known as Record<string, readonly number[]>)[key];
      if (!shape || !Object.hasOwn(known, key)) fail(`${here} has a tensor ${key}, which this version of the package does not know`);
      if (!isRecord(tensor) || !Object.hasOwn(BYTES, String(tensor.dtype)) || String(tensor.shape) !== String(shape)) {
        fail(`${here}: ${key} is ${tensor?.dtype} [${String(tensor?.shape)}], but by the parameters its shape is [${shape}]`);
      }
    }
  }
  for (const [key, at] of Object.entries(notCompared)) {
    const shape = expected[key]?.shape;
    const size = shape?.reduce((a, b) => a * b, 1) ?? 0;
    if (!Array.isArray(at) || !at.every((n) => Number.isInteger(n) && n >= 0 && n < size)) {
      fail(`${here}: notCompared names elements of ${key} that it does not have`);
    }
  }
}

function fail(what: string): never {
  throw new FileFormatError(what);
}
