/** As test/hostile.test.ts, with all that does not belong there, on every engine that Node can have, and deeper. */
import { afterAll, describe, expect, it } from 'vitest';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ENGINES } from './support/engines.ts';
import { CALLS } from './support/hostile-calls.ts';
import { engineCalls } from './support/hostile-engine.ts';
import { faultsOf } from './support/hostile.ts';

describe('a public function refuses by a named error, or takes,', { timeout: 300_000 }, () => {
  it.each(Object.keys(CALLS))('anything in any place of the arguments of %s', async (name) => {
    expect(await faultsOf(CALLS[name])).toEqual([]);
  });
});

describe.each(ENGINES.filter(({ missing }) => !missing))('an operation on $name', { timeout: 300_000 }, async ({ create }) => {
  const engine = await create() as TrainingEngine;
  const { calls, names } = await engineCalls(engine);
  afterAll(() => engine.dispose());

  it.each(Object.keys(calls))('refuses by a named error, or takes, anything in any place of the arguments of %s', async (name) => {
    expect(await faultsOf(calls[name])).toEqual([]);
  });

  it('is tried, whichever it is', () => {
    expect(names.filter((name) => !Object.hasOwn(calls, name))).toEqual([]);
  });
});
