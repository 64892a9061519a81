/** The commands say when a model decodes faster without a GPU. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { adviceOnGpu } from '../src/cli/open.ts';
import { parseConfig } from '../src/model/config/config.ts';

const configOf = (model: string) =>
  parseConfig(JSON.parse(readFileSync(new URL(`../models/${model}/config.json`, import.meta.url), 'utf8')));

it('advises against a GPU for the models that were measured to be slower there, and for no other', () => {
  const advice = 'a model of 0.8 million weights decodes faster on a CPU: leave out --gpu';
  expect(adviceOnGpu({ name: 'wgsl (some GPU)' }, configOf('nats'))).toBe(advice);
  expect(adviceOnGpu({ name: 'wgsl (some GPU)' }, configOf('base'))).toBeUndefined();
  expect(adviceOnGpu({ name: 'wasm float32' }, configOf('nats'))).toBeUndefined();
});
