/**
 * Plans what `natsearch finetune` will do. Every refusal comes from here, before a weight is read or a file written.
 * @module
 */
import { readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Pooling } from '../core/engine.ts';
import { ValueError } from '../core/errors.ts';
import type { ModelFolder } from '../model/folder/model-folder.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import { folderTokenizer } from '../load.ts';
import type { ModelConfig } from '../model/config/config.ts';
import type { Tokenizer } from '../model/tokenizer/tokenizer.ts';
import { fingerprint, resumed } from '../train/checkpoint.ts';
import { checkLongEnough } from '../train/data.ts';
import { type FinetuneState, searchedConfig } from '../train/finetune.ts';
import { FINETUNE_STATE_FILE, type FinetuneRecord, loadFinetune } from '../train/finetune-checkpoint.ts';
import {
  checkFinetuneOptions, checkRank, DEFAULT_FINETUNE_OPTIONS, defaultContext, defaultWindow, type FinetuneOptions,
} from '../train/finetune-options.ts';
import type { TokenSource } from '../train/token-store.ts';
import { UsageError, usage } from './errors.ts';
import { openFolder } from './open.ts';
import { isSamePlace, packageRoot } from './paths.ts';
import { type RunFlags, savedRun, scheduleOf } from './run-flags.ts';
import { listed, readTokens } from './text.ts';
import { checkValidation, planValidation, type ValidationPlan } from './validation.ts';

/** The command's parsed options. */
export interface FinetuneFlags extends RunFlags {
  model: string;
  configOverrides?: ConfigOverrides;
  keep?: number;
  lambda?: number;
  window?: number;
  localWindow?: number;
  pooling: Pooling;
  context?: number;
  lowRank: number;
  lowRankAlpha?: number;
}

/** A run that has passed every check. */
export interface FinetunePlan {
  readonly folder: ModelFolder;
  readonly tokenizer: Tokenizer;
  readonly tokens: TokenSource;
  readonly record: FinetuneRecord;
  readonly validation?: ValidationPlan;
  /** The state to resume from. */
  readonly from?: FinetuneState;
  /** The hash of the base's weights that the checkpoint was made with, which those of older versions do not store. */
  readonly fromBase?: string;
  /** A note for the user. */
  readonly note?: string;
}

/** Reads everything but the weights, and refuses what no run can use. */
export async function planFinetune(flags: FinetuneFlags): Promise<FinetunePlan> {
  const { configOverrides } = flags;
  const folder = await openFolder(flags.model, configOverrides);
  const options = usage(() => readOptions(flags, folder.config));
  if (options.context <= 2 * flags.chunk) {
    throw new UsageError(`a context of ${options.context} tokens has no chunk of ${flags.chunk} between its first and last, which are GLOBAL: raise --context`);
  }
  const { localWindow } = flags;
  const config = searchedConfig(folder.config, {
    window: flags.window ?? defaultWindow(options.context), ...(localWindow !== undefined && { localWindow }),
    chunk: flags.chunk, pooling: flags.pooling,
    temperature: flags.temperature, lambda: flags.lambda ?? 0,
  });
  const saved = await savedRun(flags, 'fine-tuning', FINETUNE_STATE_FILE, loadFinetune);
  const tokenizer = (await folderTokenizer(folder, flags.bos))!; // openFolder has checked that there is one
  const validation = await planValidation(flags, tokenizer, options.context);
  const tokens = await readTokens(tokenizer, flags.text);
  checkLongEnough(tokens, options.context, `the training text in ${listed(flags.text)}`);
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  const record: FinetuneRecord = {
    baseModel: basename(resolve(flags.model)), ...(configOverrides && { configOverrides }), config, options,
    textHash: fingerprint(tokens), packageVersion: version,
  };
  const plan = { folder, tokenizer, tokens, ...(validation && { validation }) };
  if (!saved) return { ...plan, record };
  const { run, note } = resumed(saved.run, record, saved.state.step);
  const { baseWeights: fromBase } = saved.run;
  return {
    ...plan, record: run, from: saved.state,
    ...(note !== undefined && { note }), ...(fromBase !== undefined && { fromBase }),
  };
}

/** Refuses to resume with other weights of the base, since the result would belong to neither. */
export function checkSameBase({ fromBase }: FinetunePlan, hash: string, model: string): void {
  if (fromBase === undefined || fromBase === hash) return;
  throw new ValueError(`the checkpoint was made with other weights of the base than those in ${model} (SHA-256 ${fromBase.slice(0, 12)}..., not ${hash.slice(0, 12)}...): resume with the same base, or choose another --out`);
}

/** Refuses flags that contradict each other, before anything is read. */
export function checkFlags(flags: FinetuneFlags): void {
  const { model, out, keep, lambda, lowRank, lowRankAlpha } = flags;
  if (isSamePlace(out, model)) {
    throw new UsageError(`--out ${out} is the model's own folder, which must stay unchanged: name another`);
  }
  if (keep !== undefined && lambda !== undefined) {
    throw new UsageError(`--keep ${keep} steers lambda and --lambda ${lambda} fixes it: pass one of them`);
  }
  if (lowRankAlpha !== undefined && lowRank === 0) {
    throw new UsageError(`--low-rank-alpha ${lowRankAlpha} multiplies changes of q and k, but there are none: pass --low-rank, too`);
  }
  checkValidation(flags);
}

function readOptions(flags: FinetuneFlags, config: ModelConfig): FinetuneOptions {
  const { keep, lambda, lowRank, lowRankAlpha } = flags;
  const options: FinetuneOptions = {
    ...DEFAULT_FINETUNE_OPTIONS, ...scheduleOf(flags),
    keep: keep ?? (lambda === undefined ? DEFAULT_FINETUNE_OPTIONS.keep : 0),
    context: flags.context ?? defaultContext(config),
    ...(lowRank > 0 && { rank: lowRank, alpha: lowRankAlpha ?? lowRank }),
  };
  checkFinetuneOptions(options);
  checkRank(options, config);
  return options;
}
