/**
 * generation_config.json: which tokens end a text, and how the model's makers recommend sampling. Absent fields mean
 * what they mean to Hugging Face's `generate`.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import { shown } from './config-fields.ts';
import type { Sampling } from '../generate/sampler.ts';

/** What a generation_config.json specifies. What it leaves open is absent. */
export interface GenerationDefaults extends Partial<Sampling> {
  /** Every token at which generation stops, instead of those of config.json. */
  readonly eosTokenIds?: readonly number[];
  readonly maxNewTokens?: number;
  /** The most tokens of prompt and continuation together. maxNewTokens takes precedence. */
  readonly maxLength?: number;
  readonly stop?: readonly string[];
  /** Fields that ask for something unsupported, such as `num_beams is 4`. */
  readonly unsupported: readonly string[];
}

type Json = Record<string, unknown>;

/** Unsupported fields that affect which tokens are generated, with tests for the values that have no effect. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => boolean>> = {
  num_beams: (x) => x === 1, num_beam_groups: (x) => x === 1, diversity_penalty: (x) => x === 0,
  penalty_alpha: (x) => x === 0, dola_layers: () => false, typical_p: (x) => x === 1, top_h: (x) => x === 1,
  epsilon_cutoff: (x) => x === 0, eta_cutoff: (x) => x === 0, no_repeat_ngram_size: (x) => x === 0,
  encoder_repetition_penalty: (x) => x === 1, encoder_no_repeat_ngram_size: (x) => x === 0,
  min_length: (x) => x === 0, min_new_tokens: (x) => x === 0, max_time: () => false,
  bad_words_ids: isEmpty, force_words_ids: isEmpty, constraints: isEmpty, suppress_tokens: isEmpty,
  begin_suppress_tokens: isEmpty, sequence_bias: isEmpty, forced_bos_token_id: () => false,
  forced_eos_token_id: () => false, exponential_decay_length_penalty: () => false, guidance_scale: (x) => x === 1,
  watermarking_config: () => false, num_return_sequences: (x) => x === 1, token_healing: (x) => x === false,
};

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && Object.keys(value!).length === 0;
}

/**
 * Reads a generation_config.json.
 *
 * The file asks for greedy decoding if do_sample is false, and also if it is absent while there is a temperature,
 * top_k, top_p or min_p. If it is true, an absent temperature means 1 and an absent top_k means 50. A file without any
 * of these five fields says nothing about sampling.
 *
 * @param json The parsed file.
 * @param vocabSize The size of the model's vocabulary, to check the tokens that end texts.
 * @throws {ConfigError} If a field that is used has an invalid value.
 */
export function parseGenerationConfig(json: unknown, vocabSize: number): GenerationDefaults {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ConfigError('generation_config.json is not a JSON object: copy it again');
  }
  const file = json as Json;
  const number = (name: string, fits: (x: number) => boolean, must: string) => numberOf(file, name, fits, must);
  const whole = (name: string, least: number) => {
    return number(name, (x) => Number.isSafeInteger(x) && x >= least, `it must be a whole number, ${least} or more`);
  };
  const doSample = file['do_sample'] ?? undefined;
  if (doSample !== undefined && typeof doSample !== 'boolean') fail('do_sample', doSample, 'it must be true or false');
  const temperature = number('temperature', (x) => x >= 0, 'it must be 0 or more');
  const topK = whole('top_k', 0);
  const topP = number('top_p', (x) => x >= 0 && x <= 1, 'it must be from 0 to 1');
  const minP = number('min_p', (x) => x >= 0 && x <= 1, 'it must be from 0 to 1');
  const samples = doSample === true;
  const greedy = !samples && (doSample === false || [temperature, topK, topP, minP].some((x) => x !== undefined));
  return defined({
    eosTokenIds: endsOf(file, vocabSize),
    temperature: greedy ? 0 : samples ? temperature ?? 1 : undefined,
    topK: samples ? (topK ?? 50) || undefined : topK || undefined,
    topP: topP === undefined || topP === 1 ? undefined : Math.max(topP, Number.MIN_VALUE),
    minP: minP || undefined,
    repetitionPenalty: number('repetition_penalty', (x) => x > 0, 'it must be above 0'),
    maxNewTokens: whole('max_new_tokens', 1),
    maxLength: whole('max_length', 1),
    stop: stopStrings(file),
    unsupported: Object.entries(UNSUPPORTED)
      .filter(([name, harmless]) => (file[name] ?? undefined) !== undefined && !harmless(file[name]))
      .map(([name]) => `${name} is ${shown(file[name])}`),
  });
}

/** The object without its undefined fields. */
function defined(
  fields: { [Name in keyof GenerationDefaults]: GenerationDefaults[Name] | undefined },
): GenerationDefaults {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as unknown as GenerationDefaults;
}

function fail(name: string, value: unknown, must: string): never {
  throw new ConfigError(`generation_config.json: ${name} is ${shown(value)}: ${must}`);
}

/** A number of the file; undefined if it is absent or null. */
function numberOf(file: Json, name: string, fits: (value: number) => boolean, must: string): number | undefined {
  const value = file[name] ?? undefined;
  if (value === undefined) return undefined;
  return typeof value === 'number' && Number.isFinite(value) && fits(value) ? value : fail(name, value, must);
}

function endsOf(file: Json, vocabSize: number): readonly number[] | undefined {
  const value = file['eos_token_id'] ?? undefined;
  if (value === undefined) return undefined;
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  const fits = (id: unknown) => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < vocabSize;
  if (ids.every(fits)) return ids as number[];
  return fail('eos_token_id', value, `it must be a token from 0 to ${vocabSize - 1}, or several`);
}

function stopStrings(file: Json): readonly string[] | undefined {
  const value = file['stop_strings'] ?? undefined;
  if (value === undefined) return undefined;
  const texts: unknown[] = Array.isArray(value) ? value : [value];
  if (texts.every((text) => typeof text === 'string' && text !== '')) return texts as string[];
  return fail('stop_strings', value, 'it must be a text, or several');
}
