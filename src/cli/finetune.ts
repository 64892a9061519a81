/**
 * `natsearch finetune`: an existing model learns token types; its weights stay as they are.
 * @module
 */
import { readFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { GpuChoice } from '../engines.ts';
import { StoppedError, ValueError } from '../errors.ts';
import type { MaskGradientRule, Pooling } from '../engine.ts';
import { fileExists, makeFolder, writeFileAtomic } from '../io/files.ts';
import type { Model } from '../model/model.ts';
import { checkSameRun, fingerprint, LOG_FILE, readLog } from '../train/checkpoint.ts';
import { checkLongEnough, tokenizeDocuments } from '../train/data.ts';
import { Finetuner, type FinetuneReport, type FinetuneState } from '../train/finetune.ts';
import {
  FINETUNE_STATE_FILE, type FinetuneRecord, loadFinetune, saveFinetune,
} from '../train/finetune-checkpoint.ts';
import { wholeBatch } from '../train/finetune-gradients.ts';
import {
  checkFinetuneOptions, DEFAULT_FINETUNE_OPTIONS, defaultContext, defaultWindow, type FinetuneOptions,
} from '../train/finetune-options.ts';
import { openEngine, openModel } from './open.ts';
import { gpuOption, notNegative, whole } from './options.ts';
import { checkModelFolder, packageRoot } from './paths.ts';
import { createProgress, formatDuration, formatShare, interruptSignal } from './terminal.ts';
import { readDocuments } from './text.ts';

interface Flags {
  model: string;
  text: string[];
  out: string;
  resume: boolean;
  keep?: number;
  lambda?: number;
  window?: number;
  chunk: number;
  pooling: Pooling;
  temperature: number;
  context?: number;
  batch: number;
  steps: number;
  lr: number;
  minLr: number;
  warmup: number;
  clip: number;
  maskGradient: MaskGradientRule;
  seed: number;
  saveEvery: number;
  gpu?: GpuChoice;
  json: boolean;
}

/** Adds the command. */
export function registerFinetune(program: Command): void {
  const d = DEFAULT_FINETUNE_OPTIONS;
  program.command('finetune')
    .description('let an existing model learn token types: its weights stay, an adapter is written')
    .requiredOption('--model <dir>', 'model folder, as published on Hugging Face')
    .requiredOption('--text <path...>', 'text files, or folders of .txt files')
    .requiredOption('--out <dir>', 'folder for the adapter, the checkpoint and the log')
    .option('--resume', 'go on from the checkpoint in --out', false)
    .option('--keep <share>', `share of the cache to keep, which lambda is steered towards (default: ${d.keep})`, notNegative)
    .option('--lambda <price>', 'fixed price of the whole cache in units of the loss, instead of --keep', notNegative)
    .option('--window <tokens>', 'W: how many queries a WINDOW token outlives its own (default: context / 16, at most 256)', whole(0))
    .option('--chunk <tokens>', 'C: tokens that share one type', whole(1), 1)
    .addOption(new Option('--pooling <how>', 'of a chunk\'s hidden states').choices(['mean', 'max']).default('mean'))
    .option('--temperature <tau>', 'of the Gumbel-softmax', notNegative, 1)
    .option('--context <tokens>', 'tokens per sequence (default: the model\'s, at most 16384)', whole(1))
    .option('--batch <n>', 'sequences per step', whole(1), d.batch)
    .option('--steps <n>', 'steps', whole(1), d.steps)
    .option('--lr <rate>', 'peak learning rate', notNegative, d.learningRate)
    .option('--min-lr <rate>', 'learning rate at the end', notNegative, d.minLearningRate)
    .option('--warmup <steps>', 'steps of linear warm-up', whole(0), d.warmup)
    .option('--clip <norm>', 'largest global norm of the gradient', notNegative, d.clip)
    .addOption(new Option('--mask-gradient <rule>', 'how hidden keys weigh').choices(['bounded', 'exact']).default(d.rule))
    .option('--seed <n>', 'the same seed gives the same scorers, bit for bit', whole(0), d.seed)
    .option('--save-every <steps>', 'steps between checkpoints', whole(1), 50)
    .addOption(gpuOption())
    .option('--json', 'print the result as JSON', false)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  checkModelFolder(flags.model);
  const documents = await readDocuments(flags.text);
  const engine = await openEngine(flags.gpu);
  try {
    const model = await openModel(flags.model, engine);
    try {
      await finetune(flags, model, documents);
    } finally {
      model.dispose();
    }
  } finally {
    engine.dispose();
  }
}

async function finetune(flags: Flags, model: Model, documents: readonly string[]): Promise<void> {
  const options = readOptions(flags, model);
  const tokens = tokenizeDocuments(model.tokenizer, documents);
  checkLongEnough(tokens, options.context);
  const saved = await previous(flags);
  const nats = {
    window: flags.window ?? defaultWindow(options.context), chunk: flags.chunk, pooling: flags.pooling,
    temperature: flags.temperature, lambda: flags.lambda ?? 0,
  };
  const finetuner = new Finetuner(model, nats, options, tokens, {
    ...(saved && { from: saved.state }), ...(flags.gpu && { source: wholeBatch }),
  });
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  const record: FinetuneRecord = {
    baseModel: basename(resolve(flags.model)), config: finetuner.config, options,
    textHash: fingerprint(tokens), packageVersion: version,
  };
  if (saved) checkSameRun(saved.run, record);
  const log = saved ? await readLog(flags.out, saved.state.step) : [];
  await makeFolder(flags.out);
  await writeFileAtomic(`${flags.out}/${LOG_FILE}`, log.map((line) => `${JSON.stringify(line)}\n`).join(''));

  const progress = createProgress({ label: 'finetune', total: options.steps });
  const interrupt = interruptSignal();
  const start = performance.now();
  const seconds = () => Math.round(performance.now() - start) / 1000;
  const save = () => saveFinetune(flags.out, finetuner, record);
  let last: object | undefined = log.at(-1);
  try {
    await finetuner.run({
      signal: interrupt.signal,
      onStep: async (report) => {
        last = report;
        await appendFile(`${flags.out}/${LOG_FILE}`, `${JSON.stringify({ ...report, seconds: seconds() })}\n`);
        progress.update(report.step, lineOf(report));
        if (report.step % flags.saveEvery === 0 && report.step < options.steps) await save();
      },
    });
    const { kept, keptByLayer } = await save();
    progress.finish(`fine-tuned ${options.steps} steps into ${flags.out} in ${formatDuration(seconds())}: keeps ${formatShare(kept)}`);
    if (!flags.json) return;
    const result = { out: flags.out, ...last, measured: { kept, keptByLayer }, seconds: seconds() };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } catch (error) {
    progress.finish();
    if (!(error instanceof StoppedError)) throw error;
    await save();
    throw new StoppedError(`${error.message}; saved in ${flags.out}: go on with the same command and --resume`);
  } finally {
    interrupt.dispose();
    finetuner.dispose();
  }
}

/** The checkpoint to go on from, or a refusal to overwrite one. */
async function previous(flags: Flags): Promise<{ state: FinetuneState; run: FinetuneRecord } | undefined> {
  const exists = await fileExists(`${flags.out}/${FINETUNE_STATE_FILE}`);
  if (!flags.resume) {
    if (!exists) return undefined;
    throw new ValueError(`${flags.out} already holds a fine-tuning: go on with --resume, or choose another --out`);
  }
  if (!exists) throw new ValueError(`${flags.out} has no ${FINETUNE_STATE_FILE} to resume from: start without --resume`);
  return loadFinetune(flags.out);
}

function readOptions(flags: Flags, { config }: Model): FinetuneOptions {
  const { keep, lambda } = flags;
  if (keep !== undefined && lambda !== undefined) {
    throw new ValueError(`--keep ${keep} steers lambda and --lambda ${lambda} fixes it: pass one of them`);
  }
  if (keep === 0) throw new ValueError('--keep is 0: every query sees its own token at least, pass a share above 0');
  const options: FinetuneOptions = {
    ...DEFAULT_FINETUNE_OPTIONS,
    keep: keep ?? (lambda === undefined ? DEFAULT_FINETUNE_OPTIONS.keep : 0),
    seed: flags.seed,
    steps: flags.steps,
    batch: flags.batch,
    context: flags.context ?? defaultContext(config),
    learningRate: flags.lr,
    minLearningRate: flags.minLr,
    warmup: flags.warmup,
    clip: flags.clip,
    rule: flags.maskGradient,
  };
  checkFinetuneOptions(options);
  return options;
}

function lineOf({ relativeLoss, kept, typeShares, lambda }: FinetuneReport): string {
  const [g, l, w] = typeShares.map((share) => `${(100 * share).toFixed(0)}%`);
  return `loss ${(100 * relativeLoss).toFixed(2)}%  G ${g} L ${l} W ${w}  kept ${formatShare(kept)}  lambda ${lambda.toPrecision(2)}`;
}
