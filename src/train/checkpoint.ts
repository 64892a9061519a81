/**
 * Checkpoints of a run: one state file from which it resumes bit for bit, and the model folder made from it.
 * @module
 */
import { FileFormatError, ValueError } from '../core/errors.ts';
import { expectFinite } from '../core/finite.ts';
import { fileExists, makeFolder, readText, writeFileAtomic } from '../files/files.ts';
import { writeModelFolder } from '../model/folder/model-folder.ts';
import { type ModelConfig, parseConfig, serializeConfig } from '../model/config/config.ts';
import { parseScale } from './loss-scale.ts';
import { learningRateAt, type TrainOptions } from './options.ts';
import { encodeState, readState } from './state-file.ts';
import type { TokenSource } from './token-store.ts';
import type { StepReport, TrainingState } from './trainer.ts';

/** The state file in an output folder: weights and AdamW's moments in float64. */
export const STATE_FILE = 'training-state.safetensors';
/** The log, with one line of JSON per step. */
export const LOG_FILE = 'log.jsonl';

/** What the state file says about its run. */
export interface RunRecord {
  readonly config: ModelConfig;
  readonly options: TrainOptions;
  /** A fingerprint of the training tokens. */
  readonly textHash: string;
  readonly plans?: readonly Plan[];
}

/** A plan that a run no longer follows: it was to have `steps` steps, but that was changed after step `until`. */
export interface Plan {
  readonly steps: number;
  readonly until: number;
}

/**
 * Writes the state, then the model folder (float32) beside it. Each file appears by renaming.
 *
 * @throws {NumericError} If a number of either would be NaN or infinite. Nothing is written then.
 */
export async function saveCheckpoint(folder: string, state: TrainingState, run: RunRecord): Promise<void> {
  expectFinite(state.weights, 'F32', `the model after step ${state.step}`, 'it is not saved, and what was saved before is kept; lower the learning rate');
  const bytes = await encodeState(state, {
    config: serializeConfig(run.config), options: JSON.stringify(run.options), text_hash: run.textHash,
    ...(run.plans && { plans: JSON.stringify(run.plans) }),
    ...(state.lossScale && { loss_scale: JSON.stringify(state.lossScale) }),
  });
  await makeFolder(folder);
  await writeFileAtomic(`${folder}/${STATE_FILE}`, bytes);
  await writeModelFolder(folder, run.config, state.weights, { metadata: { step: String(state.step) } });
}

/**
 * Reads the state file of `folder`.
 *
 * @returns The state, its run, and whether the file had a checksum; those of older versions have none.
 * @throws {FileFormatError} If a bit of the file has changed, or it is not a state.
 * @throws {NumericError} If a number in it is NaN or infinite.
 */
export async function loadCheckpoint(
  folder: string,
): Promise<{ state: TrainingState; run: RunRecord; sealed: boolean }> {
  const path = `${folder}/${STATE_FILE}`;
  const { metadata, sealed, ...state } = await readState(path, 'training');
  try {
    const run = {
      config: parseConfig(JSON.parse(metadata['config'] ?? '')),
      options: JSON.parse(metadata['options'] ?? '') as TrainOptions,
      textHash: metadata['text_hash'] ?? '',
      ...(metadata['plans'] !== undefined && { plans: JSON.parse(metadata['plans']) as Plan[] }),
    };
    const scale = metadata['loss_scale'];
    return { state: { ...state, ...(scale !== undefined && { lossScale: parseScale(scale) }) }, run, sealed };
  } catch (error) {
    throw new FileFormatError(`${path} has no readable options (${(error as Error).message}): start again without --resume`);
  }
}

/** What resuming needs to know about a run of either kind. */
type Resumable = Pick<RunRecord, 'config' | 'textHash' | 'plans'> & { readonly options: TrainOptions };

/**
 * Refuses to resume with other options than the run began with, since the result would belong to neither. Only the
 * number of steps may change, to any number not below those done: these are kept, and the learning rate follows the
 * schedule of the new number.
 *
 * @param step How many steps are done.
 * @returns The run to resume, and a note for the user if the number of steps has changed.
 */
export function resumed<Run extends Resumable>(saved: Run, wanted: Run, step: number): { run: Run; note?: string } {
  const flat = (run: Run): Record<string, unknown> => {
    const { nats, ...config } = JSON.parse(serializeConfig(run.config)) as { nats: object };
    const { steps: _, ...options } = run.options;
    return { ...config, ...nats, ...options, 'text (tokens-fingerprint)': run.textHash };
  };
  const [before, now] = [flat(saved), flat(wanted)];
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    if (JSON.stringify(before[key]) !== JSON.stringify(now[key])) {
      throw new ValueError(`the checkpoint was made ${difference(key, before[key], now[key])}: resume with the same options, or choose another --out`);
    }
  }
  const [planned, steps] = [saved.options.steps, wanted.options.steps];
  if (steps < step) throw new ValueError(`the run has done ${step} steps, more than --steps ${steps}: pass ${step} or more`);
  if (steps === planned) return { run: saved.plans ? { ...wanted, plans: saved.plans } : wanted };
  const rate = learningRateAt(step + 1, wanted.options).toPrecision(3);
  const note = `the run was planned for ${planned} steps, has done ${step}, and continues to ${steps}: from here the learning rate follows the schedule of ${steps} steps (now ${rate}), so the result differs from that of an uninterrupted run of ${steps} steps`;
  return { run: { ...wanted, plans: [...(saved.plans ?? []), { steps: planned, until: step }] }, note };
}

/** The flags of fields that a run may lack. That of `precision` is whole, since the field has one value. */
const FLAG_OF: Readonly<Record<string, string>> = {
  local_window: '--local-window', rank: '--low-rank', alpha: '--low-rank-alpha', precision: '--compute f16',
};

/** In which way a run had another value of a field than is wanted. Either may have none. */
function difference(key: string, before: unknown, now: unknown): string {
  if (before !== undefined && now !== undefined) return `with ${key} = ${JSON.stringify(before)}, not ${JSON.stringify(now)}`;
  const flag = FLAG_OF[key];
  const value = JSON.stringify(before ?? now);
  const given = flag === undefined ? `${key} = ${value}` : key === 'precision' ? flag : `${flag} ${value}`;
  const without = `without ${flag ?? key}`;
  return before === undefined ? `${without}, not with ${given}` : `with ${given}, not ${without}`;
}

/** The lines of the log up to `step`. What a killed run wrote after its last checkpoint is dropped. */
export async function readLog(folder: string, step: number): Promise<StepReport[]> {
  const path = `${folder}/${LOG_FILE}`;
  if (!(await fileExists(path))) return [];
  const reports: StepReport[] = [];
  for (const line of (await readText(path)).split('\n')) {
    try {
      const report = JSON.parse(line) as StepReport;
      if (report.step <= step) reports.push(report);
    } catch {
      // The line is empty or half-written.
    }
  }
  return reports;
}

/** FNV-1a over the tokens, which tells texts apart but is not cryptographic. */
export function fingerprint(tokens: TokenSource): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < tokens.length; at += 65536) { // in parts, as there may be very many tokens
    for (const token of tokens.slice(at, at + 65536)) hash = Math.imul(hash ^ token, 0x01000193);
  }
  return `${tokens.length}-${(hash >>> 0).toString(16)}`;
}
