/**
 * Plans what `natsearch train` will do. Every refusal comes from here, before a file is written.
 * @module
 */
import { kindOf, parsePolicy } from '../policies/index.ts';
import { type ModelConfig, parseConfig, serializeConfig } from '../model/config/config.ts';
import { initialWeights } from '../model/init.ts';
import { readModelFolder } from '../model/folder/model-folder.ts';
import { folderTokenizer } from '../load.ts';
import { lifetimeOptions } from '../model/policy.ts';
import { ByteTokenizer, type Tokenizer, withoutStarts } from '../model/tokenizer/tokenizer.ts';
import { fingerprint, loadCheckpoint, resumed, type RunRecord, STATE_FILE } from '../train/checkpoint.ts';
import { checkLongEnough } from '../train/data.ts';
import { checkTrainOptions, DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../train/options.ts';
import type { TokenSource } from '../train/token-store.ts';
import type { TrainingState } from '../train/trainer.ts';
import { usage, UsageError } from './errors.ts';
import { ConfigError } from '../core/errors.ts';
import { ndarray, sizeOf } from '../core/tensor.ts';
import { openFolder } from './open.ts';
import { type RunFlags, savedRun, scheduleOf } from './run-flags.ts';
import { listed, readTokens } from './text.ts';
import { checkValidation, planValidation, type ValidationPlan } from './validation.ts';

/** The command's parsed options. */
export interface TrainFlags extends RunFlags {
  types: string;
  lambda?: number;
  window: number;
  localWindow?: number;
  layers: number;
  hidden: number;
  intermediate: number;
  heads: number;
  kvHeads: number;
  context: number;
  weightDecay: number;
  compute?: 'f32' | 'f16';
  tokenizer?: string;
  from?: string;
}

/** A run that has passed every check. */
export interface TrainPlan {
  readonly tokens: TokenSource;
  readonly record: RunRecord;
  readonly validation?: ValidationPlan;
  /** The state to resume from, or to begin with. */
  readonly from?: TrainingState;
  /** The folder whose tokenizer the model gets; undefined for bytes. */
  readonly vocabulary?: string;
  /** A note for the user. */
  readonly note?: string;
}

/** In nats per token. docs/training.md explains the choice. */
export const DEFAULT_LAMBDA = 0.001;

/** The settings that follow from the flags alone. */
export type TrainSettings = Pick<RunRecord, 'config' | 'options'>;

/**
 * @param like The model of --tokenizer or --from, if there is one.
 * @throws {UsageError} If no run can have these settings, whatever the text.
 */
export function trainSettings(
  flags: TrainFlags, lambda: number = flags.lambda ?? DEFAULT_LAMBDA, like?: ModelConfig,
): TrainSettings {
  checkValidation(flags);
  if (flags.from !== undefined && flags.tokenizer !== undefined) {
    throw new UsageError(`--from ${flags.from} brings its own tokenizer: leave out --tokenizer ${flags.tokenizer}`);
  }
  return usage(() => ({ options: readOptions(flags), config: withFlagNames(() => readConfig(flags, lambda, like)) }));
}

/** Reads the text and the checkpoint, and refuses what no run can use. */
export async function planTrain(flags: TrainFlags): Promise<TrainPlan> {
  const saved = await savedRun(flags, 'training run', STATE_FILE, loadCheckpoint);
  const vocabulary = flags.from ?? flags.tokenizer;
  const like = vocabulary === undefined ? undefined : await openFolder(vocabulary);
  const lambda = flags.lambda ?? saved?.run.config.nats.lambda;
  const { options, config } = trainSettings(flags, lambda, like?.config);
  // openFolder has checked that the folder has one.
  const tokenizer = like ? (await folderTokenizer(like, flags.bos))! : bytesOf(flags);
  const validation = await planValidation(flags, tokenizer, options.context);
  const tokens = await readTokens(tokenizer, flags.text);
  checkLongEnough(tokens, options.context, `the training text in ${listed(flags.text)}`);
  const record: RunRecord = { config, options, textHash: fingerprint(tokens) };
  const plan = { tokens, ...(validation && { validation }), ...(vocabulary !== undefined && { vocabulary }) };
  if (!saved) {
    return { ...plan, record, ...(flags.from !== undefined && { from: await stateOf(flags.from, config, options) }) };
  }
  const { run, note } = resumed(saved.run, record, saved.state.step);
  return { ...plan, record: run, from: saved.state, ...(note !== undefined && { note }) };
}

function bytesOf({ bos }: TrainFlags): Tokenizer {
  const bytes = new ByteTokenizer();
  return bos ? bytes : withoutStarts(bytes);
}

/** The state before the first step of a run that begins with the weights of a model. Scorers that it lacks are new. */
async function stateOf(folder: string, config: ModelConfig, { seed }: TrainOptions): Promise<TrainingState> {
  const { weights: found } = await readModelFolder(folder);
  const weights = new Map([...initialWeights(config, seed)].map(([name, fresh]) => [name, found.get(name) ?? fresh]));
  const zeros = (shape: readonly number[]) => ndarray(new Float64Array(sizeOf(shape)), shape);
  const zero = () => new Map([...weights].map(([name, { shape }]) => [name, zeros(shape)]));
  return { step: 0, weights, m: zero(), v: zero() };
}

/** The flags that give the fields of config.json. */
const FLAG_OF: Readonly<Record<string, string>> = {
  hidden_size: '--hidden', intermediate_size: '--intermediate', num_hidden_layers: '--layers',
  num_attention_heads: '--heads', num_key_value_heads: '--kv-heads', max_position_embeddings: '--context',
  head_dim: '--hidden divided by --heads', 'nats.policy': '--types', 'nats.window': '--window',
  'nats.local_window': '--local-window', 'nats.chunk': '--chunk',
  'nats.lambda': '--lambda', 'nats.temperature': '--temperature',
};

/** Refusals of config.json name the flags instead, since the user has no such file yet. */
function withFlagNames<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const named = error.message.replace(/^config\.json: /, '').replace(/\b(?:nats\.)?[a-z]+(?:_[a-z]+)*\b/g, (name) => FLAG_OF[name] ?? name);
    throw new ConfigError(named);
  }
}

function readOptions(flags: TrainFlags): TrainOptions {
  const { context, weightDecay, compute, gpu } = flags;
  if (compute !== undefined && gpu === undefined) throw new UsageError(`--compute ${compute} says what a GPU computes in: give --gpu, too`);
  const options: TrainOptions = {
    ...DEFAULT_TRAIN_OPTIONS, ...scheduleOf(flags), context, weightDecay,
    ...(compute === 'f16' && { precision: 'mixed' as const }),
  };
  checkTrainOptions(options);
  return options;
}

function readConfig(flags: TrainFlags, lambda: number, like?: ModelConfig): ModelConfig {
  const bytes = new ByteTokenizer();
  const ofBytes = { vocabSize: bytes.vocabSize, bosTokenId: bytes.bos, eosTokenId: bytes.eos };
  const { vocabSize, bosTokenId, eosTokenId } = like ?? ofBytes;
  const policy = parsePolicy(flags.types);
  const { hidden, heads } = flags;
  if (flags.lambda !== undefined && !kindOf(policy).learned) {
    throw new UsageError(`--lambda ${flags.lambda} has no effect with --types ${flags.types}, under which no types are learned: leave it out`);
  }
  if (hidden % heads !== 0) throw new UsageError(`--hidden (${hidden}) must be a multiple of --heads (${heads})`);
  if ((hidden / heads) % 2 !== 0) {
    throw new UsageError(`--hidden (${hidden}) divided by --heads (${heads}) is ${hidden / heads}: it must be even, since rotary embedding rotates pairs`);
  }
  const config: ModelConfig = {
    vocabSize,
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
    bosTokenId,
    eosTokenId,
    nats: {
      policy: flags.types,
      window: flags.window,
      ...(flags.localWindow !== undefined && { localWindow: flags.localWindow }),
      chunk: flags.chunk,
      pooling: 'mean',
      lambda: kindOf(policy).learned ? lambda : 0,
      temperature: flags.temperature,
    },
  };
  const sized = flags.from === undefined ? config : { ...like!, maxPositions: flags.context, nats: config.nats };
  const { reach: _, ...lifetimes } = lifetimeOptions(policy, sized); // the model's own window is a field of its own
  const own = { ...sized, nats: { ...config.nats, ...lifetimes } };
  return parseConfig(JSON.parse(serializeConfig(own))); // parseConfig checks every field
}
