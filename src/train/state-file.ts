/**
 * The file that a run resumes from: weights and AdamW's moments in float64, under a seal.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { expectFinite } from '../core/finite.ts';
import { readFileBytes } from '../files/files.ts';
import { decodeSealed, encodeSealed } from '../formats/sealed.ts';
import type { NDArray } from '../core/tensor.ts';
import { type Moments, PARTS, tensorsOf } from './state.ts';

const AGAIN = 'copy it again, or start again without --resume';

/** The contents of a state file. What the metadata says about the run is up to its kind. */
export interface StateFile extends Readonly<Record<(typeof PARTS)[number], Map<string, NDArray>>> {
  readonly step: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** False for files of older versions, in which damage goes unnoticed. */
  readonly sealed: boolean;
}

/**
 * The bytes of a state file.
 *
 * @throws {NumericError} If a number of the state is NaN or infinite.
 */
export async function encodeState(
  state: Moments & { readonly step: number }, metadata: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  expectFinite(tensorsOf(state), 'F64', `the state after step ${state.step}`, 'it is not saved, and what was saved before is kept; lower the learning rate');
  const tensors = [...tensorsOf(state)].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F64' as const }] as const);
  return encodeSealed(tensors, { step: String(state.step), ...metadata });
}

/**
 * Reads a state file.
 *
 * @throws {StorageError} If it cannot be read.
 * @throws {FileFormatError} If a bit of it has changed, or it is not a state.
 * @throws {NumericError} If it holds NaN or infinity.
 */
export async function readState(path: string, kind: 'training' | 'fine-tuning'): Promise<StateFile> {
  return decodeState(await readFileBytes(path), path, kind);
}

/** Reads a state file from its bytes. */
export async function decodeState(
  bytes: Uint8Array, path: string, kind: 'training' | 'fine-tuning',
): Promise<StateFile> {
  const { tensors, metadata, sealed } = await decodeSealed(bytes, path, AGAIN);
  const step = Number(metadata['step'] ?? NaN);
  if (!Number.isSafeInteger(step) || step < 0) throw new FileFormatError(`${path} is not a state of ${kind} (it has no step): start again without --resume`);
  expectFinite(tensors, 'F64', path, 'training cannot resume from it; start again without --resume and with a lower learning rate');
  const part = (wanted: string): Map<string, NDArray> => new Map([...tensors].flatMap(([name, { data, shape }]) => {
    return name.startsWith(`${wanted}/`) ? [[name.slice(wanted.length + 1), { data, shape }] as const] : [];
  }));
  const [weights, m, v] = PARTS.map(part) as [Map<string, NDArray>, Map<string, NDArray>, Map<string, NDArray>];
  return { step, metadata, sealed, weights, m, v };
}

/** The note about a state that has no seal. */
export function unsealedNote(path: string): string {
  return `${path} was written by an older version, without a checksum, so damage to it cannot be detected`;
}
