/**
 * The head of a language model that is its embedding (`tie_word_embeddings`), as files hold it: not at all, twice, or
 * under the head's name alone.
 * @module
 */
import { ConfigError } from '../errors.ts';
import type { ModelConfig } from './config.ts';
import { EMBEDDING, HEAD } from './names.ts';

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
