/**
 * Names of the two weights that a model may have as one.
 * @module
 */

/** Rows by token. */
export const EMBEDDING = 'model.embed_tokens.weight';
/** The language model head, which a model that is not tied has beside its embedding. */
export const HEAD = 'lm_head.weight';
