/**
 * Maps weights to the names that a decoder uses. Files of a model without its head omit the prefix, and if the head is
 * the embedding (`tie_word_embeddings`), files may hold only the embedding, both, or only the head.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import type { ModelConfig } from '../config/config.ts';
import { EMBEDDING, HEAD } from '../config/names.ts';

const PREFIX = 'model.';

/** Weights with the prefix that files of a model without its head lack, and that transformers adds. */
export function prefixed<T>(weights: Map<string, T>): Map<string, T> {
  if (weights.has(EMBEDDING) || !weights.has(EMBEDDING.slice(PREFIX.length))) return weights;
  return new Map([...weights].map(([name, weight]) => [name === HEAD ? name : PREFIX + name, weight]));
}

/**
 * Removes weights that do not belong to the decoder, such as the head of a reward model. transformers does not read
 * them either.
 *
 * @returns Their names.
 */
export function dropOthers(weights: Map<string, unknown>): string[] {
  const others = [...weights.keys()].filter((name) => !name.startsWith(PREFIX) && name !== HEAD && !name.startsWith('lm_head.'));
  for (const name of others) weights.delete(name);
  return others;
}

/**
 * Leaves only the embedding in `weights` if the config ties the head to it.
 *
 * @param same Tells whether two weights hold the same numbers.
 * @throws {ConfigError} If they differ: transformers 4 would use the embedding for both, transformers 5 would use both.
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
