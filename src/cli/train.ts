/**
 * `natsearch train`: joint search of weights and token types, from scratch.
 * @module
 */
import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import type { GpuChoice } from '../engines.ts';
import { StoppedError, ValueError } from '../errors.ts';
import { appendText, fileExists, makeFolder, writeFileAtomic } from '../io/files.ts';
import { expectedWeights, type ModelConfig, parseConfig, parsePolicy, serializeConfig } from '../model/config.ts';
import { lifetimeOptions } from '../model/policy.ts';
import { ByteTokenizer } from '../model/tokenizer.ts';
import {
  checkSameRun, fingerprint, loadCheckpoint, LOG_FILE, readLog, type RunRecord, saveCheckpoint, STATE_FILE,
} from '../train/checkpoint.ts';
import { checkLongEnough, tokenizeDocuments } from '../train/data.ts';
import type { Gradients } from '../train/gradients.ts';
import { checkTrainOptions, DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../train/options.ts';
import {
  batchGradients, type GradientSource, type StepReport, sumInOrder, Trainer, type TrainingState,
} from '../train/trainer.ts';
import { expectWhole } from '../shape.ts';
import { openEngine } from './open.ts';
import { gpuOption } from './options.ts';
import { WorkerPool } from './pool.ts';
import { createProgress, formatDuration, interruptSignal } from './terminal.ts';
import { listed, readDocuments } from './text.ts';

interface Flags extends Record<string, unknown> {
  text: string[];
  out: string;
  resume: boolean;
  json: boolean;
  types: string;
  gpu?: GpuChoice;
}

/** Adds the command. */
export function registerTrain(program: Command): void {
  const d = DEFAULT_TRAIN_OPTIONS;
  program.command('train')
    .description('train a model from scratch, searching the type of every token together with the weights')
    .requiredOption('--text <path...>', 'text files, or folders of .txt files')
    .requiredOption('--out <dir>', 'folder for the model, the checkpoint and the log')
    .option('--resume', 'go on from the checkpoint in --out', false)
    .option('--types <policy>', 'nats (searched), full, window:W or streaming:S+W', 'nats')
    .option('--lambda <nats>', 'price of keeping the whole cache, nats per token', '0.1')
    .option('--window <tokens>', 'W: how many queries a WINDOW token outlives its own', '32')
    .option('--chunk <tokens>', 'C: tokens that share one type', '1')
    .option('--temperature <tau>', 'of the Gumbel-softmax', '1')
    .option('--layers <n>', 'decoder layers', '4')
    .option('--hidden <n>', 'model width', '128')
    .option('--intermediate <n>', 'feed-forward width', '320')
    .option('--heads <n>', 'query heads', '4')
    .option('--kv-heads <n>', 'key/value heads', '2')
    .option('--context <tokens>', 'tokens per sequence', String(d.context))
    .option('--batch <n>', 'sequences per step', String(d.batch))
    .option('--steps <n>', 'steps', String(d.steps))
    .option('--lr <rate>', 'peak learning rate', String(d.learningRate))
    .option('--min-lr <rate>', 'learning rate at the end', String(d.minLearningRate))
    .option('--warmup <steps>', 'steps of linear warm-up', String(d.warmup))
    .option('--weight-decay <rate>', 'of matrices', String(d.weightDecay))
    .option('--clip <norm>', 'largest global norm of the gradient', String(d.clip))
    .option('--mask-gradient <rule>', 'bounded or exact', d.rule)
    .option('--seed <n>', 'the same seed gives the same weights, bit for bit', String(d.seed))
    .option('--save-every <steps>', 'steps between checkpoints', '50')
    .option('--threads <n>', 'threads (does not change the result)', String(availableParallelism()))
    .addOption(gpuOption())
    .option('--json', 'print the result as JSON', false)
    .action((flags: Flags) => train(flags));
}

async function train(flags: Flags): Promise<void> {
  const options = readOptions(flags);
  const config = readConfig(flags, options);
  const saveEvery = number(flags, 'saveEvery');
  const threads = number(flags, 'threads');
  expectWhole('--save-every', saveEvery, 1);
  expectWhole('--threads', threads, 1);
  const documents = await readDocuments(flags.text);
  const tokens = tokenizeDocuments(new ByteTokenizer(), documents);
  checkLongEnough(tokens, options.context, `the training text in ${listed(flags.text)}`);
  const run: RunRecord = { config, options, textHash: fingerprint(tokens) };
  const saved = await previous(flags, run);
  const log = saved ? await readLog(flags.out, saved.step) : [];
  await makeFolder(flags.out);
  await writeFileAtomic(`${flags.out}/${LOG_FILE}`, log.map((line) => `${JSON.stringify(line)}\n`).join(''));

  const engine = await openEngine(flags.gpu);
  const pool = !flags.gpu && threads > 1 && options.batch > 1
    ? new WorkerPool<Gradients>({ task: 'train', options, trained: expectedWeights(config) }, threads) : undefined;
  const threaded: GradientSource | undefined = pool && {
    compute: async (on, weights, windows, step) =>
      sumInOrder(on, weights, await pool.parts(on, config, weights, windows, step)),
  };
  const source = threaded ?? (flags.gpu && batchGradients(config, options));
  const trainer = new Trainer(engine, config, options, tokens, {
    ...(saved && { from: saved }), ...(source && { source }),
  });
  const progress = createProgress({ label: 'train', total: options.steps });
  const interrupt = interruptSignal();
  const meter = new Meter(options);
  let lastReport: StepReport | undefined = log[log.length - 1];
  const save = async () => saveCheckpoint(flags.out, await trainer.state(), run);
  try {
    await trainer.run({
      signal: interrupt.signal,
      onStep: async (report) => {
        lastReport = report;
        meter.tick();
        await appendText(`${flags.out}/${LOG_FILE}`, `${JSON.stringify({ ...report, seconds: meter.seconds })}\n`);
        progress.update(report.step, meter.line(report));
        if (report.step % saveEvery === 0 && report.step < options.steps) await save();
      },
    });
    await save();
    progress.finish(`trained ${options.steps} steps into ${flags.out} in ${formatDuration(meter.seconds)}`);
    if (flags.json) process.stdout.write(`${JSON.stringify({ out: flags.out, ...lastReport, seconds: meter.seconds })}\n`);
  } catch (error) {
    progress.finish();
    if (!(error instanceof StoppedError)) throw error;
    await save();
    throw new StoppedError(`${error.message}; saved in ${flags.out}: go on with the same command and --resume`);
  } finally {
    interrupt.dispose();
    trainer.dispose();
    engine.dispose();
    await pool?.close();
  }
}

/** The checkpoint to go on from, or a refusal to overwrite one. */
async function previous(flags: Flags, run: RunRecord): Promise<TrainingState | undefined> {
  const exists = await fileExists(`${flags.out}/${STATE_FILE}`);
  if (!flags.resume) {
    if (!exists) return undefined;
    throw new ValueError(`${flags.out} already holds a training run: go on with --resume, or choose another --out`);
  }
  if (!exists) throw new ValueError(`${flags.out} has no ${STATE_FILE} to resume from: start without --resume`);
  const { state, run: saved } = await loadCheckpoint(flags.out);
  checkSameRun(saved, run);
  return state;
}

function readOptions(flags: Flags): TrainOptions {
  const options: TrainOptions = {
    ...DEFAULT_TRAIN_OPTIONS,
    seed: number(flags, 'seed'),
    steps: number(flags, 'steps'),
    batch: number(flags, 'batch'),
    context: number(flags, 'context'),
    learningRate: number(flags, 'lr'),
    minLearningRate: number(flags, 'minLr'),
    warmup: number(flags, 'warmup'),
    weightDecay: number(flags, 'weightDecay'),
    clip: number(flags, 'clip'),
    rule: flags['maskGradient'] as TrainOptions['rule'],
  };
  checkTrainOptions(options);
  return options;
}

function readConfig(flags: Flags, options: TrainOptions): ModelConfig {
  const tokenizer = new ByteTokenizer();
  const [hiddenSize, heads] = [number(flags, 'hidden'), number(flags, 'heads')];
  const policy = parsePolicy(flags.types);
  const config: ModelConfig = {
    vocabSize: tokenizer.vocabSize,
    hiddenSize,
    intermediateSize: number(flags, 'intermediate'),
    layers: number(flags, 'layers'),
    heads,
    kvHeads: number(flags, 'kvHeads'),
    headDim: hiddenSize / heads,
    maxPositions: options.context,
    rmsNormEpsilon: 1e-5,
    ropeTheta: 10000,
    tieWordEmbeddings: true,
    bosTokenId: tokenizer.bos,
    eosTokenId: tokenizer.eos,
    nats: {
      policy: flags.types,
      window: number(flags, 'window'),
      chunk: number(flags, 'chunk'),
      pooling: 'mean',
      lambda: policy.kind === 'nats' ? number(flags, 'lambda') : 0,
      temperature: number(flags, 'temperature'),
    },
  };
  const own = { ...config, nats: { ...config.nats, ...lifetimeOptions(policy, config) } };
  return parseConfig(JSON.parse(serializeConfig(own))); // one place checks every field
}

function number(flags: Flags, name: string): number {
  const text = String(flags[name]);
  const value = Number(text);
  const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  if (text.trim() === '' || Number.isNaN(value)) throw new ValueError(`${flag} is '${text}': it must be a number`);
  return value;
}

/** Speed over the last steps, and the line beside the progress bar. */
class Meter {
  readonly #start = performance.now();
  readonly #times: number[] = [this.#start];
  readonly #tokensPerStep: number;

  constructor(options: TrainOptions) {
    this.#tokensPerStep = options.batch * options.context;
  }
  get seconds(): number {
    return Math.round(performance.now() - this.#start) / 1000;
  }
  tick(): void {
    this.#times.push(performance.now());
    if (this.#times.length > 20) this.#times.shift();
  }
  line({ loss, kept, typeShares }: StepReport): string {
    const [first, last] = [this.#times[0]!, this.#times[this.#times.length - 1]!];
    const speed = (this.#tokensPerStep * (this.#times.length - 1) * 1000) / (last - first);
    const [g, l, w] = typeShares.map((share) => `${(100 * share).toFixed(0)}%`);
    return `loss ${loss.toFixed(3)}  G ${g} L ${l} W ${w}  kept ${(100 * kept).toFixed(1)}%  ${speed.toFixed(0)} tok/s`;
  }
}
