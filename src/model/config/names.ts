/**
 * The names of weights that more than one module needs, as Hugging Face and the authors of NAtS spell them.
 * @module
 */

/** The embedding, with one row per token. */
export const EMBEDDING = 'model.embed_tokens.weight';
/** The language model head, which models have in addition to the embedding unless the two are tied. */
export const HEAD = 'lm_head.weight';

/** The weight that scores the types of a layer's tokens (§6): [3 kvHeads, hiddenSize], rows [KV head][type]. */
export function scorerName(layer: number): string {
  return `model.layers.${layer}.self_attn.proj_layer.weight`;
}

/** The names of the scorers of all layers. */
export function scorerNames({ layers }: { readonly layers: number }): string[] {
  return Array.from({ length: layers }, (_, layer) => scorerName(layer));
}
