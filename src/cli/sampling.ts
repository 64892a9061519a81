/**
 * The flags that say how to sample, shared by `generate` and `chat`, and what the model's generation_config.json adds.
 * @module
 */
import { type Command, InvalidArgumentError } from 'commander';
import type { Policy } from '../policies/index.ts';
import { fillOptions, type GenerateOptions } from '../model/generate/generate-options.ts';
import type { GenerationDefaults } from '../model/config/generation-config.ts';
import type { Model } from '../model/model.ts';
import { usage } from './errors.ts';
import { notNegative, policy, policyHelp, positive, whole } from './options.ts';

/** What commander makes of the flags; undefined where the user gave none. */
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
}

/** What holds where neither the user nor the model's files say anything. */
const OTHERWISE = { maxNewTokens: 256, temperature: 0.8 };

/** A number above `least`, or from it on, to 1. */
function upToOne(above: boolean): (text: string) => number {
  return (text) => {
    const value = notNegative(text);
    if (value > 1 || (above && value === 0)) {
      throw new InvalidArgumentError(`It must be a number ${above ? 'above 0 and at most' : 'from 0 to'} 1.`);
    }
    return value;
  };
}

/** One more text at which to end. */
function stopTexts(text: string, previous: readonly string[] = []): readonly string[] {
  if (text === '') throw new InvalidArgumentError('It must be a text of at least one character.');
  return [...previous, text];
}

/** Adds the flags. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option('--max-new-tokens <n>', `most tokens to make (default: *, or ${OTHERWISE.maxNewTokens})`, whole(1))
    .option('--temperature <t>', `0 picks the likeliest token (default: *, or ${OTHERWISE.temperature})`, notNegative)
    .option('--top-k <k>', 'sample among the k likeliest tokens (default: *, or all)', whole(1))
    .option('--top-p <p>', 'sample among the fewest likeliest tokens with this probability (default: *, or 1)', upToOne(true))
    .option('--min-p <p>', 'sample among tokens this likely, as a share of the likeliest (default: *, or 0)', upToOne(false))
    .option('--repetition-penalty <x>', 'make tokens that were there less likely by this factor (default: *, or 1)', positive)
    .option('--stop <text...>', 'texts at which to end; they are not printed (default: *, or none)', stopTexts)
    .option('--seed <n>', 'names the random stream', whole(0), 0)
    .option('--policy <p>', 'what the cache keeps, one of those below (default: as trained)', policy)
    .option('--prefill-step <n>', 'prompt tokens to read at once (default: as the engine likes)', whole(1))
    .addHelpText('after', `\n* what the model's generation_config.json says, if there is one\n${policyHelp()}`);
}

/** The options for the library, and what they take from generation_config.json, said on stderr. */
export function samplingOptions(flags: SamplingFlags, { generationDefaults }: Model): GenerateOptions {
  const { maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, stop, seed, policy, prefillStep } = flags;
  const given = Object.fromEntries(
    Object.entries({ maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, stop, prefillStep, policy })
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

/** What the file decides, and what it asks for in vain. */
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
