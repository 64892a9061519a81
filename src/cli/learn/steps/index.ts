/**
 * The nine exercises, in the order of docs/algorithm.md.
 * @module
 */
import type { Step } from '../step.ts';
import { attentionBackwardStep } from './attention-backward.ts';
import { attentionStep } from './attention.ts';
import { cacheStep } from './cache.ts';
import { lifetimeStep } from './lifetime.ts';
import { maskGradientStep } from './mask-gradient.ts';
import { maskStep } from './mask.ts';
import { priceStep } from './price.ts';
import { straightThroughStep } from './straight-through.ts';
import { typeGradientStep } from './type-gradient.ts';

export const STEPS: readonly Step[] = [
  lifetimeStep, maskStep, attentionStep, attentionBackwardStep, maskGradientStep, typeGradientStep, priceStep,
  straightThroughStep, cacheStep,
];
