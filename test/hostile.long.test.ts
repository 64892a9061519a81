/** Like test/hostile.test.ts, but with all wrong values, and on every engine that Node can have. */
import { afterAll, describe, expect, it } from 'vitest';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ENGINES } from './support/engines.ts';
import { CALLS } from './support/hostile-calls.ts';
import { engineCalls } from './support/hostile-engine.ts';
import { faultsOf } from './support/hostile.ts';

describe('a public function refuses by a named error, or accepts,', { timeout: 300_000 }, () => {
  it.each(Object.keys(CALLS))('anything in any place of the arguments of %s', async (name) => {
    expect(await faultsOf(CALLS[name])).toEqual([]);
  });
});

describe.each(ENGINES.filter(({ missing }) => !missing))('an operation on $name', { timeout: 300_000 }, async ({ create }) => {
  const engine = await create() as TrainingEngine;
  const { calls, names } = await engineCalls(engine);
  afterAll(() => engine.dispose());

  it.each(Object.keys(calls))('refuses by a named error, or accepts, anything in any place of the arguments of %s', async (name) => {
    expect(await faultsOf(calls[name])).toEqual([]);
  });

  it('is tried, whatever its name', () => {
    expect(names.filter((name) => !Object.hasOwn(calls, name))).toEqual([]);
  });
});
