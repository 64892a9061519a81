/**
 * `natsearch finetune`: an existing model learns token types, while its weights stay unchanged. Changes of its queries
 * and keys, if any are learned, are in the adapter.
 * @module
 */
import { type Command, Option } from 'commander';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../model/folder/adapter.ts';
import { fileExists } from '../files/files.ts';
import { expectedWeights } from '../model/config/config.ts';
import type { Model } from '../model/model.ts';
import { LOG_FILE, readLog } from '../train/checkpoint.ts';
import { Finetuner } from '../train/finetune.ts';
import { FINETUNE_STATE_FILE, saveFinetune } from '../train/finetune-checkpoint.ts';
import {
  type FinetuneGradients, type FinetuneSource, oneByOne, wholeBatch,
} from '../train/finetune-gradients.ts';
import { DEFAULT_FINETUNE_OPTIONS, trainedShapes } from '../train/finetune-options.ts';
import { sumParts } from '../train/gradient-sum.ts';
import {
  checkFlags, checkSameBase, type FinetuneFlags, type FinetunePlan, planFinetune,
} from './finetune-plan.ts';
import { openBase, openEngine } from './open.ts';
import { configOverridesOption, notNegative, positive, share, whole } from './options.ts';
import { openOut } from './out.ts';
import { takesPool, WorkerPool } from './pool.ts';
import { addPlaceOptions, addRunOptions } from './run-flags.ts';
import { runFolder } from './run-folder.ts';
import { RunLog } from './run-log.ts';
import { runSteps } from './run-steps.ts';
import { formatShare, formatTypes } from './terminal.ts';

/** The files of an output folder. The state comes first, as the folder is recognised by it. */
const FILES = [FINETUNE_STATE_FILE, LOG_FILE, ADAPTER_CONFIG, ADAPTER_WEIGHTS];

/** Adds the command. */
export function registerFinetune(program: Command): void {
  const d = DEFAULT_FINETUNE_OPTIONS;
  const command = program.command('finetune')
    .description('let an existing model learn token types; its weights stay unchanged, and an adapter is written')
    .requiredOption('--model <dir>', 'model folder, as published on Hugging Face')
    .addOption(configOverridesOption());
  addPlaceOptions(command, 'the adapter')
    .option('--keep <share>', `share of the cache to keep, which lambda is steered towards (default: ${d.keep})`, share)
    .option('--lambda <price>', 'fixed price of the whole cache in units of the loss, instead of --keep', notNegative)
    .option('--window <tokens>', 'W: for how many more queries a WINDOW token is kept (default: context / 16, at most 256)', whole(0))
    .option('--local-window <tokens>', 'makes LOCAL a second window: for how many more queries a LOCAL token is kept (default: until the next GLOBAL)', whole(0))
    .addOption(new Option('--pooling <how>', 'how to pool the hidden states of a chunk').choices(['mean', 'max']).default('mean'))
    .option('--context <tokens>', 'tokens per sequence (default: the model\'s, at most 16384)', whole(1))
    .option('--low-rank <r>', 'rank of changes of q and k that are learned with the scorers (LoRA), such as 8; 0: none', whole(0), 0)
    .option('--low-rank-alpha <alpha>', 'the changes are multiplied by alpha/r (default: r)', positive);
  addRunOptions(command, d, 'scorers', 'threads, one sequence each; affects speed, never results').action(run);
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
  const pooled = takesPool(flags, flags.batch, expectedWeights(plan.record.config));
  const engine = await openEngine(pooled ? { ...flags, threads: 1 } : flags);
  let pool: Pool | undefined;
  let model: Model | undefined;
  try {
    // Finds out whether --out can be written before reading weights, which takes long.
    const log = plan.from ? await readLog(flags.out, plan.from.step) : [];
    const over = !plan.from && await fileExists(`${flags.out}/${FINETUNE_STATE_FILE}`);
    const runLog = await RunLog.open(flags.out, log, over);
    const base = await openBase(plan.folder, plan.tokenizer, engine, pooled);
    model = base.model;
    checkSameBase(plan, base.hash, flags.model);
    if (base.frozen) {
      const { config, options } = plan.record;
      const trained = trainedShapes(config, options);
      pool = new WorkerPool({ engine: flags.engine, task: 'finetune', options, trained, frozen: base.frozen }, flags.threads);
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
  flags: FinetuneFlags, { record, tokens, from, validation }: FinetunePlan, model: Model, source: FinetuneSource,
  log: RunLog, last: object | undefined,
): Promise<void> {
  const { config, options } = record;
  const finetuner = new Finetuner(model, config.nats, options, tokens, { source, ...(from && { from }) });
  try {
    await runSteps(flags, {
      words: { label: 'finetune', done: 'fine-tuned' }, steps: finetuner, log, validation, last,
      save: () => saveFinetune(flags.out, finetuner, record),
      line: ({ relativeLoss, kept, typeShares, lambda }) =>
        `loss ${(100 * relativeLoss).toFixed(2)}%  ${formatTypes(typeShares)}  kept ${formatShare(kept)}  lambda ${lambda.toPrecision(2)}`,
      result: ({ kept, keptByLayer }) => ({ text: `keeps ${formatShare(kept)}`, json: { measured: { kept, keptByLayer } } }),
    });
  } finally {
    finetuner.dispose();
  }
}
