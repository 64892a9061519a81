/**
 * What `natsearch train` is about to do: every refusal comes from here, before a file is written.
 * @module
 */
import type { MaskGradientRule } from '../core/training-engine.ts';
import type { GpuChoice } from '../engines.ts';
import { ValueError } from '../core/errors.ts';
import { fileExists } from '../files/files.ts';
import { kindOf, parsePolicy } from '../policies/index.ts';
import { type ModelConfig, parseConfig, serializeConfig } from '../model/config/config.ts';
import { lifetimeOptions } from '../model/policy.ts';
import { ByteTokenizer, withoutStarts } from '../model/tokenizer/tokenizer.ts';
import { fingerprint, loadCheckpoint, resumed, type RunRecord, STATE_FILE } from '../train/checkpoint.ts';
import { checkLongEnough } from '../train/data.ts';
import { checkTrainOptions, DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../train/options.ts';
import { unsealedNote } from '../train/state-file.ts';
import type { TokenSource } from '../train/token-store.ts';
import type { TrainingState } from '../train/trainer.ts';
import { usage } from './errors.ts';
import { listed, readTokens } from './text.ts';
import { checkValidation, planValidation, type ValidationFlags, type ValidationPlan } from './validation.ts';

/** The command's options as parsed. */
export interface TrainFlags extends ValidationFlags {
  bos: boolean;
  out: string;
  resume: boolean;
  force: boolean;
  types: string;
  lambda?: number;
  window: number;
  chunk: number;
  temperature: number;
  layers: number;
  hidden: number;
  intermediate: number;
  heads: number;
  kvHeads: number;
  context: number;
  batch: number;
  steps: number;
  lr: number;
  minLr: number;
  warmup: number;
  weightDecay: number;
  clip: number;
  maskGradient: MaskGradientRule;
  seed: number;
  threads: number;
  gpu?: GpuChoice;
  json: boolean;
}

/** A run that nothing speaks against. */
export interface TrainPlan {
  readonly tokens: TokenSource;
  readonly record: RunRecord;
  readonly validation?: ValidationPlan;
  /** Where to go on from. */
  readonly from?: TrainingState;
  /** What to tell the user before. */
  readonly note?: string;
}

/** nats per token: docs/training.md says how it was chosen. */
export const DEFAULT_LAMBDA = 0.001;

/** What the flags alone say. */
export type TrainSettings = Pick<RunRecord, 'config' | 'options'>;

/** @throws {UsageError} If they cannot be, whatever the text. */
export function trainSettings(flags: TrainFlags, lambda: number = flags.lambda ?? DEFAULT_LAMBDA): TrainSettings {
  checkValidation(flags);
  return usage(() => ({ options: readOptions(flags), config: readConfig(flags, lambda) }));
}

/** Reads the text and the checkpoint, and refuses what no run can use. */
export async function planTrain(flags: TrainFlags): Promise<TrainPlan> {
  const saved = await previous(flags);
  const { options, config } = trainSettings(flags, flags.lambda ?? saved?.run.config.nats.lambda);
  const bytes = new ByteTokenizer();
  const tokenizer = flags.bos ? bytes : withoutStarts(bytes);
  const validation = await planValidation(flags, tokenizer, options.context);
  const tokens = await readTokens(tokenizer, flags.text);
  checkLongEnough(tokens, options.context, `the training text in ${listed(flags.text)}`);
  const record: RunRecord = { config, options, textHash: fingerprint(tokens) };
  const plan = { tokens, ...(validation && { validation }) };
  if (!saved) return { ...plan, record };
  const { run, note } = resumed(saved.run, record, saved.state.step);
  return { ...plan, record: run, from: saved.state, ...(note !== undefined && { note }) };
}

/** The checkpoint to go on from, or a refusal to overwrite one. */
async function previous(
  { out, resume, force }: TrainFlags,
): Promise<{ state: TrainingState; run: RunRecord } | undefined> {
  const exists = await fileExists(`${out}/${STATE_FILE}`);
  if (!resume) {
    if (!exists || force) return undefined;
    throw new ValueError(`${out} already holds a training run: go on with --resume, choose another --out, or start over with --force`);
  }
  if (!exists) throw new ValueError(`${out} has no ${STATE_FILE} to resume from: start without --resume`);
  const saved = await loadCheckpoint(out);
  if (!saved.sealed) process.stderr.write(`natsearch: note: ${unsealedNote(`${out}/${STATE_FILE}`)}\n`);
  return saved;
}

function readOptions(flags: TrainFlags): TrainOptions {
  const options: TrainOptions = {
    ...DEFAULT_TRAIN_OPTIONS,
    seed: flags.seed,
    steps: flags.steps,
    batch: flags.batch,
    context: flags.context,
    learningRate: flags.lr,
    minLearningRate: flags.minLr,
    warmup: flags.warmup,
    weightDecay: flags.weightDecay,
    clip: flags.clip,
    rule: flags.maskGradient,
  };
  checkTrainOptions(options);
  return options;
}

function readConfig(flags: TrainFlags, lambda: number): ModelConfig {
  const tokenizer = new ByteTokenizer();
  const policy = parsePolicy(flags.types);
  const config: ModelConfig = {
    vocabSize: tokenizer.vocabSize,
    hiddenSize: flags.hidden,
    intermediateSize: flags.intermediate,
    layers: flags.layers,
    heads: flags.heads,
    kvHeads: flags.kvHeads,
    headDim: flags.hidden / flags.heads,
    maxPositions: flags.context,
    rmsNormEpsilon: 1e-5,
    ropeTheta: 10000,
    tieWordEmbeddings: true,
    bosTokenId: tokenizer.bos,
    eosTokenId: tokenizer.eos,
    nats: {
      policy: flags.types,
      window: flags.window,
      chunk: flags.chunk,
      pooling: 'mean',
      lambda: kindOf(policy).learned ? lambda : 0,
      temperature: flags.temperature,
    },
  };
  const own = { ...config, nats: { ...config.nats, ...lifetimeOptions(policy, config) } };
  return parseConfig(JSON.parse(serializeConfig(own))); // one place checks every field
}
