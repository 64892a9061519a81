/**
 * Engines whose single layers can be watched, or be given other types.
 * @module
 */
import type { Engine } from '../core/engine.ts';

/** The forms of an engine but that of all layers at once, which calls neither caches nor tokenTypes(). */
export function singleLayerForms({ forms }: Pick<Engine, 'forms'>): Engine['forms'] {
  return forms && { ...forms, layers: undefined };
}
