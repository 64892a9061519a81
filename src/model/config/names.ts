/**
 * Names of weights that more than one file knows, as Hugging Face and the authors of NAtS have them.
 * @module
 */

/** Rows by token. */
export const EMBEDDING = 'model.embed_tokens.weight';
/** The language model head, which a model that is not tied has beside its embedding. */
export const HEAD = 'lm_head.weight';

/** The weight that scores the types of a layer's tokens (§6): [3 kvHeads, hiddenSize], rows [KV head][type]. */
export function scorerName(layer: number): string {
  return `model.layers.${layer}.self_attn.proj_layer.weight`;
}

/** Those of all layers. */
export function scorerNames({ layers }: { readonly layers: number }): string[] {
  return Array.from({ length: layers }, (_, layer) => scorerName(layer));
}
