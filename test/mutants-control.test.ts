/** The kernel that the mutants break is right when nothing is broken. */
import { expect, it } from 'vitest';
import { smallSuite, verifyCase } from '../src/vectors.ts';
import { run } from './mutants/kernel.ts';

it('passes every case of the small suite', async () => {
  const failing: string[] = [];
  for (const each of await smallSuite()) {
    const { pass, diagnosis } = verifyCase(each, run(each), { dtype: 'f32' });
    if (!pass) failing.push(`${each.name}: ${diagnosis!.words}`);
  }
  expect(failing).toEqual([]);
}, 60_000);
