/**
 * The flags for sampling that `generate` and `chat` share, and what the model's generation_config.json adds to them.
 * @module
 */
import { type Command, InvalidArgumentError } from 'commander';
import type { CacheDtype } from '../core/cache.ts';
import type { Policy } from '../policies/index.ts';
import { fillOptions, type GenerateOptions } from '../model/generate/generate-options.ts';
import type { GenerationDefaults } from '../model/config/generation-config.ts';
import type { Model } from '../model/model.ts';
import { usage } from './errors.ts';
import { cacheOption, notNegative, policy, policyHelp, positive, whole } from './options.ts';

/** The flags as commander parses them; undefined if not given. */
export interface SamplingFlags {
  readonly maxNewTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly stop?: readonly string[];
  readonly seed: number;
  readonly policy?: Policy;
  readonly prefillStep?: number;
  readonly cache?: CacheDtype;
}

/** The defaults if neither the user nor the model's files say anything. */
const OTHERWISE = { maxNewTokens: 256, temperature: 0.8 };

/** Parses a number up to 1, either above 0 or from 0 on. */
function upToOne(above: boolean): (text: string) => number {
  return (text) => {
    const value = notNegative(text);
    if (value > 1 || (above && value === 0)) {
      throw new InvalidArgumentError(`It must be a number ${above ? 'above 0 and at most' : 'from 0 to'} 1.`);
    }
    return value;
  };
}

/** Adds one more text at which to stop. */
function stopTexts(text: string, previous: readonly string[] = []): readonly string[] {
  if (text === '') throw new InvalidArgumentError('It must be a text of at least one character.');
  return [...previous, text];
}

/** Adds the flags. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option('--max-new-tokens <n>', `most tokens to generate (default: *, or ${OTHERWISE.maxNewTokens})`, whole(1))
    .option('--temperature <t>', `0 always takes the most likely token (default: *, or ${OTHERWISE.temperature})`, notNegative)
    .option('--top-k <k>', 'sample among the k most likely tokens (default: *, or all)', whole(1))
    .option('--top-p <p>', 'sample among the fewest most likely tokens that together have this probability (default: *, or 1)', upToOne(true))
    .option('--min-p <p>', 'sample among tokens at least this likely relative to the most likely one (default: *, or 0)', upToOne(false))
    .option('--repetition-penalty <x>', 'make tokens that have occurred less likely by this factor (default: *, or 1)', positive)
    .option('--stop <text...>', 'texts at which to stop; they are not printed (default: *, or none)', stopTexts)
    .option('--seed <n>', 'seed of the random numbers', whole(0), 0)
    .option('--policy <p>', 'what the cache keeps, one of those below (default: as trained)', policy)
    .option('--prefill-step <n>', 'prompt tokens to read at once; affects speed, never results (default: chosen by the engine)', whole(1))
    .addOption(cacheOption())
    .addHelpText('after', `\n* what the model's generation_config.json says, if there is one\n${policyHelp()}`);
}

/** The options for the library. Writes to stderr what they take from generation_config.json. */
export function samplingOptions(flags: SamplingFlags, { generationDefaults }: Model): GenerateOptions {
  const { maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, stop, seed } = flags;
  const { policy, cache, prefillStep } = flags;
  const given = Object.fromEntries(
    Object.entries({ maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, stop, prefillStep, policy, cache })
      .filter(([, value]) => value !== undefined),
  ) as GenerateOptions;
  const { sampling } = usage(() => fillOptions(given, generationDefaults, OTHERWISE));
  const most = generationDefaults?.maxNewTokens ?? generationDefaults?.maxLength;
  for (const note of notesOn(given, generationDefaults)) process.stderr.write(`natsearch: note: ${note}\n`);
  return {
    ...given, seed, temperature: sampling.temperature,
    ...(maxNewTokens === undefined && most === undefined && { maxNewTokens: OTHERWISE.maxNewTokens }),
  };
}

/** Notes on what the file decides, and on what it requests without effect. */
function notesOn(given: GenerateOptions, file: GenerationDefaults | undefined): string[] {
  if (!file) return [];
  const names = {
    temperature: '--temperature', topK: '--top-k', topP: '--top-p', minP: '--min-p', stop: '--stop',
    repetitionPenalty: '--repetition-penalty', maxNewTokens: '--max-new-tokens',
  } as const;
  const taken = (Object.keys(names) as (keyof typeof names)[])
    .filter((name) => file[name] !== undefined && given[name] === undefined)
    .filter((name) => name !== 'temperature' || fillOptions(given, file).sampling.temperature === file.temperature)
    .map((name) => `${names[name]} ${JSON.stringify(file[name])}`);
  if (file.maxLength !== undefined && file.maxNewTokens === undefined && given.maxNewTokens === undefined) {
    taken.push(`at most ${file.maxLength} tokens with the prompt`);
  }
  return [
    ...(taken.length > 0 ? [`from generation_config.json: ${taken.join(', ')}`] : []),
    ...file.unsupported.map((field) => `generation_config.json: ${field}, which is not supported and has no effect`),
  ];
}
