/**
 * `natsearch train`: joint search of weights and token types, from scratch.
 * @module
 */
import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import { StoppedError } from '../core/errors.ts';
import { fileExists } from '../files/files.ts';
import { MODEL_FILES } from '../model/folder/model-folder.ts';
import { expectedWeights } from '../model/config/config.ts';
import { LOG_FILE, readLog, saveCheckpoint, STATE_FILE } from '../train/checkpoint.ts';
import type { Gradients } from '../train/gradients.ts';
import { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../train/options.ts';
import { batchGradients, type GradientSource, type StepReport, Trainer } from '../train/trainer.ts';
import { sumParts } from '../train/gradient-sum.ts';
import { openEngine } from './open.ts';
import { givesTypes } from '../policies/index.ts';
import { bosOption, gpuOption, notNegative, policyHelp, policyName, positive, whole } from './options.ts';
import { forceOption, openOut } from './out.ts';
import { EXTENDING, Pace, shorterRun } from './pace.ts';
import { WorkerPool } from './pool.ts';
import { runFolder } from './run-folder.ts';
import { RunLog } from './run-log.ts';
import { createProgress, formatDuration, interruptSignal } from './terminal.ts';
import { TEXT_HELP } from './text-files.ts';
import { DEFAULT_LAMBDA, planTrain, type TrainFlags, trainSettings } from './train-plan.ts';
import { Trial, validationOptions } from './validation.ts';

/** Of an output folder; the state comes first, as it says whose the folder is. */
const FILES = [STATE_FILE, LOG_FILE, ...MODEL_FILES];

const LAMBDA = `
--lambda is what the whole cache may cost in loss. A price above what memory is worth to the text keeps the least there
is; 0.0001 to 0.003 trade one for the other in models of this size. To find yours: train --types full, and see how
much loss eval --policy full and window:W differ by; lambda belongs well below that (docs/training.md).
`;

/** Adds the command. */
export function registerTrain(program: Command): void {
  const d = DEFAULT_TRAIN_OPTIONS;
  const command = program.command('train')
    .description('train a model from scratch, searching the type of every token together with the weights')
    .requiredOption('--text <path...>', TEXT_HELP)
    .requiredOption('--out <dir>', 'folder for the model, the checkpoint and the log')
    .option('--resume', 'go on from the checkpoint in --out; --steps, --save-every, --threads and --validation may be others', false)
    .addOption(forceOption())
    .option('--types <policy>', 'what decides the tokens\' types, one of those below; nats is searched', policyName, 'nats')
    .option('--lambda <nats>', `price of keeping the whole cache, nats per token (default: ${DEFAULT_LAMBDA}, or the run's that goes on); see below`, notNegative)
    .option('--window <tokens>', 'W: how many queries a WINDOW token outlives its own', whole(0), 32)
    .option('--chunk <tokens>', 'C: tokens that share one type', whole(1), 1)
    .option('--temperature <tau>', 'of the Gumbel-softmax', positive, 1)
    .option('--layers <n>', 'decoder layers', whole(1), 4)
    .option('--hidden <n>', 'model width', whole(1), 128)
    .option('--intermediate <n>', 'feed-forward width', whole(1), 320)
    .option('--heads <n>', 'query heads', whole(1), 4)
    .option('--kv-heads <n>', 'key/value heads', whole(1), 2)
    .option('--context <tokens>', 'tokens per sequence', whole(1), d.context)
    .option('--batch <n>', 'sequences per step', whole(1), d.batch)
    .option('--steps <n>', 'steps in all; with --resume, more than before extend a run (see below)', whole(1), d.steps)
    .option('--lr <rate>', 'peak learning rate', positive, d.learningRate)
    .option('--min-lr <rate>', 'learning rate at the end', notNegative, d.minLearningRate)
    .option('--warmup <steps>', 'steps of linear warm-up', whole(0), d.warmup)
    .option('--weight-decay <rate>', 'of matrices', notNegative, d.weightDecay)
    .option('--clip <norm>', 'largest global norm of the gradient', positive, d.clip)
    .addOption(new Option('--mask-gradient <rule>', 'how hidden keys weigh').choices(['bounded', 'exact']).default(d.rule))
    .option('--seed <n>', 'the same seed gives the same weights, bit for bit', whole(0), d.seed)
    .option('--save-every <steps>', 'steps between checkpoints', whole(1), 50)
    .option('--threads <n>', 'threads (does not change the result)', whole(1), availableParallelism())
    .addOption(bosOption())
    .addOption(gpuOption())
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', `${policyHelp(givesTypes)}\n${LAMBDA}${EXTENDING}`)
    .action(train);
  for (const option of validationOptions()) command.addOption(option);
}

async function train(flags: TrainFlags): Promise<void> {
  trainSettings(flags); // refuses wrong flags before anything is touched
  const close = await openOut(flags.out, runFolder('training run', FILES), flags.force || flags.resume);
  try {
    await trainIn(flags);
  } finally {
    close();
  }
}

async function trainIn(flags: TrainFlags): Promise<void> {
  const { tokens, record, from, validation, note } = await planTrain(flags);
  const { config, options } = record;
  if (note !== undefined) process.stderr.write(`natsearch: note: ${note}\n`);
  const { threads, saveEvery } = flags;
  const log = from ? await readLog(flags.out, from.step) : [];
  const runLog = await RunLog.open(flags.out, log, !from && await fileExists(`${flags.out}/${STATE_FILE}`));

  const engine = await openEngine(flags.gpu);
  const pool = !flags.gpu && threads > 1 && options.batch > 1
    ? new WorkerPool<Gradients>({ task: 'train', options, trained: expectedWeights(config) }, threads) : undefined;
  const threaded: GradientSource | undefined = pool && {
    compute: async (on, weights, windows, step) =>
      sumParts(on, await pool.parts(on, config, weights, windows, step)),
  };
  const source = threaded ?? (flags.gpu && batchGradients(config, options));
  const trainer = new Trainer(engine, config, options, tokens, {
    ...(from && { from }), ...(source && { source }),
  });
  const progress = createProgress({ label: 'train', total: options.steps });
  const interrupt = interruptSignal();
  const meter = new Meter(options);
  const pace = new Pace(options.steps, shorterRun(flags.gpu));
  const trial = new Trial(validation, options.steps, (held) => trainer.validate(held), (line) => progress.finish(line));
  let last: StepReport | undefined = log[log.length - 1];
  const save = async () => {
    await saveCheckpoint(flags.out, await trainer.state(), record);
    await runLog.saved();
  };
  try {
    await trainer.run({
      signal: interrupt.signal,
      onStep: async (report) => {
        const tooLong = pace.tick(report.step);
        if (tooLong !== undefined) progress.finish(tooLong);
        meter.tick();
        last = { ...report, ...await trial.after(report.step) };
        meter.skip();
        await runLog.add({ ...last, seconds: meter.seconds });
        progress.update(report.step, meter.line(report));
        if (report.step % saveEvery === 0 && report.step < options.steps) await save();
      },
    });
    await save();
    const held = await trial.end();
    progress.finish(`trained ${options.steps} steps into ${flags.out} in ${formatDuration(meter.seconds)}`);
    if (flags.json) process.stdout.write(`${JSON.stringify({ out: flags.out, ...last, ...held, seconds: meter.seconds })}\n`);
  } catch (error) {
    progress.finish();
    if (!(error instanceof StoppedError)) throw error;
    await save();
    throw new StoppedError(`${error.message}; saved in ${flags.out}: go on with the same command and --resume`, { cause: error.cause });
  } finally {
    interrupt.dispose();
    trainer.dispose();
    engine.dispose();
    await pool?.close();
  }
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
  /** What happened since tick() was no step. */
  skip(): void {
    const lost = performance.now() - this.#times.at(-1)!;
    this.#times.forEach((time, n) => (this.#times[n] = time + lost));
  }
  line({ loss, kept, typeShares }: StepReport): string {
    const [first, last] = [this.#times[0], this.#times[this.#times.length - 1]];
    const speed = (this.#tokensPerStep * (this.#times.length - 1) * 1000) / (last - first);
    const [g, l, w] = typeShares.map((share) => `${(100 * share).toFixed(0)}%`);
    return `loss ${loss.toFixed(3)}  G ${g} L ${l} W ${w}  kept ${(100 * kept).toFixed(1)}%  ${speed.toFixed(0)} tok/s`;
  }
}
