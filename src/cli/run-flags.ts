/**
 * What `train` and `finetune` share before they begin: flags, and the run that --resume continues.
 * @module
 */
import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import type { MaskGradientRule } from '../core/training-engine.ts';
import { ValueError } from '../core/errors.ts';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { fileExists } from '../files/files.ts';
import type { TrainOptions } from '../train/options.ts';
import { unsealedNote } from '../train/state-file.ts';
import { bosOption, engineOption, gpuOption, notNegative, positive, whole } from './options.ts';
import { forceOption } from './out.ts';
import { EXTENDING } from './pace.ts';
import { TEXT_HELP } from './text-files.ts';
import { type ValidationFlags, validationOptions } from './validation.ts';

/** The parsed options that both commands have. */
export interface RunFlags extends ValidationFlags {
  bos: boolean;
  out: string;
  resume: boolean;
  force: boolean;
  chunk: number;
  temperature: number;
  batch: number;
  steps: number;
  lr: number;
  minLr: number;
  warmup: number;
  clip: number;
  maskGradient: MaskGradientRule;
  seed: number;
  threads: number;
  engine?: CpuChoice;
  gpu?: GpuChoice;
  json: boolean;
}

/** Adds the options that say what to read and where to write. */
export function addPlaceOptions(command: Command, out: string): Command {
  return command
    .requiredOption('--text <path...>', TEXT_HELP)
    .requiredOption('--out <dir>', `folder for ${out}, the checkpoint and the log`)
    .option('--resume', 'continue from the checkpoint in --out; only --steps, --save-every, --threads and --validation may change', false)
    .addOption(forceOption());
}

/** Adds the options that say how a run proceeds from step to step. */
export function addRunOptions(
  command: Command, d: Omit<TrainOptions, 'context'>, seeded: string, threads: string,
): Command {
  command
    .option('--chunk <tokens>', 'C: tokens that share one type', whole(1), 1)
    .option('--temperature <tau>', 'temperature of the Gumbel-softmax', positive, 1)
    .option('--batch <n>', 'sequences per step', whole(1), d.batch)
    .option('--steps <n>', 'steps in all; with --resume, more than before extends the run (see below)', whole(1), d.steps)
    .option('--lr <rate>', 'peak learning rate', positive, d.learningRate)
    .option('--min-lr <rate>', 'learning rate at the end', notNegative, d.minLearningRate)
    .option('--warmup <steps>', 'steps of linear warm-up', whole(0), d.warmup)
    .option('--clip <norm>', 'largest global norm of the gradient', positive, d.clip)
    .addOption(new Option('--mask-gradient <rule>', 'how hidden keys weigh in the gradient of the types').choices(['bounded', 'exact']).default(d.rule))
    .option('--seed <n>', `the same seed gives the same ${seeded}, bit for bit`, whole(0), d.seed)
    .option('--save-every <steps>', 'steps between checkpoints', whole(1), 50)
    .option('--threads <n>', threads, whole(1), availableParallelism())
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(gpuOption())
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', EXTENDING);
  for (const option of validationOptions()) command.addOption(option);
  return command;
}

/** The options for both trainers that the flags determine. */
export function scheduleOf(
  { seed, steps, batch, lr, minLr, warmup, clip, maskGradient }: RunFlags,
): Pick<TrainOptions, 'seed' | 'steps' | 'batch' | 'learningRate' | 'minLearningRate' | 'warmup' | 'clip' | 'rule'> {
  return {
    seed, steps, batch, warmup, clip, learningRate: lr, minLearningRate: minLr, rule: maskGradient,
  };
}

/**
 * The run to resume, or undefined to start one; refuses to overwrite a run.
 *
 * @param what What to call a run of this command in messages.
 * @param file Its state file in --out.
 * @param load Reads the state file.
 */
export async function savedRun<Saved extends { readonly sealed: boolean }>(
  { out, resume, force }: RunFlags, what: string, file: string, load: (folder: string) => Promise<Saved>,
): Promise<Saved | undefined> {
  const path = `${out}/${file}`;
  const exists = await fileExists(path);
  if (!resume) {
    if (!exists || force) return undefined;
    throw new ValueError(`${out} already holds a ${what}: continue it with --resume, choose another --out, or start over with --force`);
  }
  if (!exists) throw new ValueError(`${out} has no ${file} to resume from: start without --resume`);
  const saved = await load(out);
  if (!saved.sealed) process.stderr.write(`natsearch: note: ${unsealedNote(path)}\n`);
  return saved;
}
