/**
 * `natsearch train`: trains a model from scratch, searching weights and token types jointly.
 * @module
 */
import { type Command, Option } from 'commander';
import { fileExists } from '../files/files.ts';
import { copyTokenizer, MODEL_FILES, TOKENIZER_FILES } from '../model/folder/model-folder.ts';
import { expectedWeights } from '../model/config/config.ts';
import { LOG_FILE, readLog, saveCheckpoint, STATE_FILE } from '../train/checkpoint.ts';
import type { Gradients } from '../train/gradients.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../train/options.ts';
import { batchGradients, type GradientSource, Trainer } from '../train/trainer.ts';
import { sumParts } from '../train/gradient-sum.ts';
import { openEngine } from './open.ts';
import { givesTypes } from '../policies/index.ts';
import { notNegative, policyHelp, policyName, whole } from './options.ts';
import { openOut } from './out.ts';
import { takesPool, WorkerPool } from './pool.ts';
import { addPlaceOptions, addRunOptions } from './run-flags.ts';
import { runFolder } from './run-folder.ts';
import { RunLog } from './run-log.ts';
import { runSteps } from './run-steps.ts';
import { formatShare, formatTypes } from './terminal.ts';
import { DEFAULT_LAMBDA, planTrain, type TrainFlags, trainSettings } from './train-plan.ts';

/** The files of an output folder. The state comes first, as the folder is recognised by it. */
const FILES = [STATE_FILE, LOG_FILE, ...MODEL_FILES, ...TOKENIZER_FILES];

const LAMBDA = `
--lambda is the loss that keeping the whole cache is worth. If it is higher than what memory gains on the text, the model
keeps the least it can; for models of this size, 0.0001 to 0.003 trade memory for loss. To find yours, train with --types
full and compare the losses of eval --policy full and window:W: lambda belongs well below the difference
(docs/training.md).`;

/** Adds the command. */
export function registerTrain(program: Command): void {
  const d = DEFAULT_TRAIN_OPTIONS;
  const command = program.command('train')
    .description('train a model from scratch, searching the type of every token together with the weights');
  addPlaceOptions(command, 'the model')
    .option('--types <policy>', 'what decides the types of tokens, one of those below; nats searches them', policyName, 'nats')
    .option('--lambda <nats>', `price of keeping the whole cache, in nats per token (default: ${DEFAULT_LAMBDA}, or that of the resumed run); see below`, notNegative)
    .option('--window <tokens>', 'W: for how many more queries a WINDOW token is kept', whole(0), 32)
    .option('--local-window <tokens>', 'makes LOCAL a second window: for how many more queries a LOCAL token is kept (default: until the next GLOBAL)', whole(0))
    .option('--tokenizer <dir>', 'model folder whose tokenizer and vocabulary to use (default: bytes)')
    .option('--from <dir>', 'begin with the weights of this model, whose sizes and tokenizer count; what it lacks is new')
    .option('--layers <n>', 'decoder layers', whole(1), 4)
    .option('--hidden <n>', 'model width', whole(1), 128)
    .option('--intermediate <n>', 'feed-forward width', whole(1), 320)
    .option('--heads <n>', 'query heads', whole(1), 4)
    .option('--kv-heads <n>', 'key/value heads', whole(1), 2)
    .option('--context <tokens>', 'tokens per sequence', whole(1), d.context)
    .option('--weight-decay <rate>', 'weight decay of matrices', notNegative, d.weightDecay)
    .addOption(new Option('--compute <dtype>', 'what --gpu multiplies in: f16 trains in mixed precision, with a scaled loss (default: f32)').choices(['f32', 'f16']))
    .addHelpText('after', `${policyHelp(givesTypes)}\n${LAMBDA}`);
  addRunOptions(command, d, 'weights', 'threads; affects speed, never results').action(train);
}

async function train(flags: TrainFlags): Promise<void> {
  if (flags.from === undefined) trainSettings(flags); // refuses wrong flags before any file is touched
  const close = await openOut(flags.out, runFolder('training run', FILES), flags.force || flags.resume);
  try {
    await trainIn(flags);
  } finally {
    close();
  }
}

async function trainIn(flags: TrainFlags): Promise<void> {
  const { tokens, record, from, validation, note, vocabulary } = await planTrain(flags);
  const { config, options } = record;
  if (note !== undefined) process.stderr.write(`natsearch: note: ${note}\n`);
  const log = from && flags.resume ? await readLog(flags.out, from.step) : [];
  const runLog = await RunLog.open(flags.out, log, !flags.resume && await fileExists(`${flags.out}/${STATE_FILE}`));

  const pooled = takesPool(flags, options.batch, expectedWeights(config));
  const engine = await openEngine(pooled ? { ...flags, threads: 1 } : flags);
  const pool = pooled
    ? new WorkerPool<Gradients>(
      { engine: flags.engine, task: 'train', options, trained: expectedWeights(config) }, flags.threads,
    ) : undefined;
  const threaded: GradientSource | undefined = pool && {
    compute: async (on, weights, windows, step) =>
      sumParts(on, await pool.parts(on, config, weights, windows, step)),
  };
  const source = threaded ?? (flags.gpu && batchGradients(config, options));
  const trainer = new Trainer(engine, config, options, tokens, {
    ...(from && { from }), ...(source && { source }),
  });
  try {
    await runSteps(flags, {
      words: { label: 'train', done: 'trained' }, steps: trainer, log: runLog, validation, last: log.at(-1),
      save: async () => {
        await saveCheckpoint(flags.out, await trainer.state(), record);
        if (vocabulary !== undefined) await copyTokenizer(vocabulary, flags.out);
      },
      line: ({ loss, kept, typeShares }, { speed }) =>
        `loss ${loss.toFixed(3)}  ${formatTypes(typeShares)}  kept ${formatShare(kept)}  ${speed.toFixed(0)} tok/s`,
    });
  } finally {
    trainer.dispose();
    engine.dispose();
    await pool?.close();
  }
}
