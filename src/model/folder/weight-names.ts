/**
 * Weights under the names that a decoder asks for: files of a model without its head leave the prefix out, and a head
 * that is the embedding (`tie_word_embeddings`) is in files not at all, twice, or under its own name alone.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import type { ModelConfig } from '../config/config.ts';
import { EMBEDDING, HEAD } from '../config/names.ts';

const PREFIX = 'model.';

/** Names of weights with the prefix that files of a model without its head lack, as transformers adds it. */
export function prefixed<T>(weights: Map<string, T>): Map<string, T> {
  if (weights.has(EMBEDDING) || !weights.has(EMBEDDING.slice(PREFIX.length))) return weights;
  return new Map([...weights].map(([name, weight]) => [name === HEAD ? name : PREFIX + name, weight]));
}

/**
 * Takes out what is beside the decoder, such as the head of a reward model: transformers does not read it either.
 *
 * @returns The names.
 */
export function dropOthers(weights: Map<string, unknown>): string[] {
  const others = [...weights.keys()].filter((name) => !name.startsWith(PREFIX) && name !== HEAD && !name.startsWith('lm_head.'));
  for (const name of others) weights.delete(name);
  return others;
}

/**
 * Leaves the embedding alone in `weights` where the config ties the head to it.
 *
 * @param same Whether two of them hold the same numbers.
 * @throws {ConfigError} If they do not: transformers 4 takes the embedding for both, transformers 5 each for itself.
 */
export async function tieHead<T>(
  config: ModelConfig, weights: Map<string, T>, same: (a: T, b: T) => boolean | Promise<boolean>,
): Promise<void> {
  const [embedding, head] = [weights.get(EMBEDDING), weights.get(HEAD)];
  if (!config.tieWordEmbeddings || head === undefined) return;
  if (embedding !== undefined && !(await same(embedding, head))) {
    throw new ConfigError(`config.json: tie_word_embeddings is true, but '${HEAD}' differs from '${EMBEDDING}': set it to false if the model was trained with both`);
  }
  weights.delete(HEAD);
  if (embedding === undefined) weights.set(EMBEDDING, head);
}
