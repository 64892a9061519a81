/**
 * `natsearch finetune`: an existing model learns token types; its weights stay as they are.
 * @module
 */
import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import { StoppedError } from '../core/errors.ts';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../model/folder/adapter.ts';
import { fileExists } from '../files/files.ts';
import { expectedWeights } from '../model/config/config.ts';
import type { Model } from '../model/model.ts';
import { LOG_FILE, readLog } from '../train/checkpoint.ts';
import { Finetuner, type FinetuneReport } from '../train/finetune.ts';
import { FINETUNE_STATE_FILE, saveFinetune } from '../train/finetune-checkpoint.ts';
import { scorerNames } from '../model/config/names.ts';
import {
  type FinetuneGradients, type FinetuneSource, oneByOne, wholeBatch,
} from '../train/finetune-gradients.ts';
import { DEFAULT_FINETUNE_OPTIONS } from '../train/finetune-options.ts';
import { sumParts } from '../train/gradient-sum.ts';
import {
  checkFlags, checkSameBase, type FinetuneFlags, type FinetunePlan, planFinetune,
} from './finetune-plan.ts';
import { openBase, openEngine } from './open.ts';
import { bosOption, gpuOption, notNegative, positive, share, whole } from './options.ts';
import { forceOption, openOut } from './out.ts';
import { EXTENDING, Pace, shorterRun } from './pace.ts';
import { WorkerPool } from './pool.ts';
import { runFolder } from './run-folder.ts';
import { RunLog } from './run-log.ts';
import { createProgress, formatDuration, formatShare, interruptSignal } from './terminal.ts';
import { TEXT_HELP } from './text-files.ts';
import { Trial, validationOptions } from './validation.ts';

/** Of an output folder; the state comes first, as it says whose the folder is. */
const FILES = [FINETUNE_STATE_FILE, LOG_FILE, ADAPTER_CONFIG, ADAPTER_WEIGHTS];

/** Adds the command. */
export function registerFinetune(program: Command): void {
  const d = DEFAULT_FINETUNE_OPTIONS;
  const command = program.command('finetune')
    .description('let an existing model learn token types: its weights stay, an adapter is written')
    .requiredOption('--model <dir>', 'model folder, as published on Hugging Face')
    .requiredOption('--text <path...>', TEXT_HELP)
    .requiredOption('--out <dir>', 'folder for the adapter, the checkpoint and the log')
    .option('--resume', 'go on from the checkpoint in --out; --steps, --save-every, --threads and --validation may be others', false)
    .addOption(forceOption())
    .option('--keep <share>', `share of the cache to keep, which lambda is steered towards (default: ${d.keep})`, share)
    .option('--lambda <price>', 'fixed price of the whole cache in units of the loss, instead of --keep', notNegative)
    .option('--window <tokens>', 'W: how many queries a WINDOW token outlives its own (default: context / 16, at most 256)', whole(0))
    .option('--chunk <tokens>', 'C: tokens that share one type', whole(1), 1)
    .addOption(new Option('--pooling <how>', 'of a chunk\'s hidden states').choices(['mean', 'max']).default('mean'))
    .option('--temperature <tau>', 'of the Gumbel-softmax', positive, 1)
    .option('--context <tokens>', 'tokens per sequence (default: the model\'s, at most 16384)', whole(1))
    .option('--batch <n>', 'sequences per step', whole(1), d.batch)
    .option('--steps <n>', 'steps in all; with --resume, more than before extend a run (see below)', whole(1), d.steps)
    .option('--lr <rate>', 'peak learning rate', positive, d.learningRate)
    .option('--min-lr <rate>', 'learning rate at the end', notNegative, d.minLearningRate)
    .option('--warmup <steps>', 'steps of linear warm-up', whole(0), d.warmup)
    .option('--clip <norm>', 'largest global norm of the gradient', positive, d.clip)
    .addOption(new Option('--mask-gradient <rule>', 'how hidden keys weigh').choices(['bounded', 'exact']).default(d.rule))
    .option('--seed <n>', 'the same seed gives the same scorers, bit for bit', whole(0), d.seed)
    .option('--save-every <steps>', 'steps between checkpoints', whole(1), 50)
    .option('--threads <n>', 'threads, a sequence each (does not change the result)', whole(1), availableParallelism())
    .addOption(bosOption())
    .addOption(gpuOption())
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', EXTENDING)
    .action(run);
  for (const option of validationOptions()) command.addOption(option);
}

async function run(flags: FinetuneFlags): Promise<void> {
  checkFlags(flags);
  const close = await openOut(flags.out, runFolder('fine-tuning', FILES), flags.force || flags.resume);
  try {
    await runIn(flags);
  } finally {
    close();
  }
}

async function runIn(flags: FinetuneFlags): Promise<void> {
  const plan = await planFinetune(flags);
  if (plan.note !== undefined) process.stderr.write(`natsearch: note: ${plan.note}\n`);
  const engine = await openEngine(flags.gpu);
  const threads = flags.gpu ? 1 : Math.min(flags.threads, flags.batch);
  let pool: Pool | undefined;
  let model: Model | undefined;
  try {
    // What cannot be written to is found out before weights are read, which takes long.
    const log = plan.from ? await readLog(flags.out, plan.from.step) : [];
    const over = !plan.from && await fileExists(`${flags.out}/${FINETUNE_STATE_FILE}`);
    const runLog = await RunLog.open(flags.out, log, over);
    const base = await openBase(plan.folder, plan.tokenizer, engine, threads > 1);
    model = base.model;
    checkSameBase(plan, base.hash, flags.model);
    if (base.frozen) {
      const { config, options } = plan.record;
      const scorers = new Set(scorerNames(config));
      const trained = new Map([...expectedWeights(config)].filter(([name]) => scorers.has(name)));
      pool = new WorkerPool({ task: 'finetune', options, trained, frozen: base.frozen }, threads);
    }
    const record = { ...plan.record, baseWeights: base.hash };
    const source = pool ? threaded(pool) : flags.gpu ? wholeBatch : oneByOne;
    await finetune(flags, { ...plan, record }, model, source, runLog, log.at(-1));
  } finally {
    model?.dispose();
    engine.dispose();
    await pool?.close();
  }
}

type Pool = WorkerPool<FinetuneGradients>;

function threaded(pool: Pool): FinetuneSource {
  return async (engine, config, _options, weights, windows, step) =>
    sumParts(engine, await pool.parts(engine, config, weights, windows, step));
}

async function finetune(
  flags: FinetuneFlags, plan: FinetunePlan, model: Model, source: FinetuneSource, runLog: RunLog,
  last?: object,
): Promise<void> {
  const { record, tokens, from, validation } = plan;
  const { config, options } = record;
  const finetuner = new Finetuner(model, config.nats, options, tokens, { source, ...(from && { from }) });
  const progress = createProgress({ label: 'finetune', total: options.steps });
  const interrupt = interruptSignal();
  const start = performance.now();
  const seconds = () => Math.round(performance.now() - start) / 1000;
  const pace = new Pace(options.steps, shorterRun(flags.gpu));
  const tell = (line: string) => progress.finish(line);
  const trial = new Trial(validation, options.steps, (held) => finetuner.validate(held), tell);
  const save = async () => {
    const settings = await saveFinetune(flags.out, finetuner, record);
    await runLog.saved();
    return settings;
  };
  try {
    await finetuner.run({
      signal: interrupt.signal,
      onStep: async (report) => {
        const tooLong = pace.tick(report.step);
        if (tooLong !== undefined) progress.finish(tooLong);
        last = { ...report, ...await trial.after(report.step) };
        await runLog.add({ ...last, seconds: seconds() });
        progress.update(report.step, lineOf(report));
        if (report.step % flags.saveEvery === 0 && report.step < options.steps) await save();
      },
    });
    const { kept, keptByLayer } = await save();
    const held = await trial.end();
    progress.finish(`fine-tuned ${options.steps} steps into ${flags.out} in ${formatDuration(seconds())}: keeps ${formatShare(kept)}`);
    if (!flags.json) return;
    const result = { out: flags.out, ...last, ...held, measured: { kept, keptByLayer }, seconds: seconds() };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } catch (error) {
    progress.finish();
    if (!(error instanceof StoppedError)) throw error;
    await save();
    throw new StoppedError(`${error.message}; saved in ${flags.out}: go on with the same command and --resume`, { cause: error.cause });
  } finally {
    interrupt.dispose();
    finetuner.dispose();
  }
}

function lineOf({ relativeLoss, kept, typeShares, lambda }: FinetuneReport): string {
  const [g, l, w] = typeShares.map((share) => `${(100 * share).toFixed(0)}%`);
  return `loss ${(100 * relativeLoss).toFixed(2)}%  G ${g} L ${l} W ${w}  kept ${formatShare(kept)}  lambda ${lambda.toPrecision(2)}`;
}
