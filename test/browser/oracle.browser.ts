/** The oracle in a page: vectors of the same bytes as in Node and Deno, and a verdict with its diagnosis. */
import { expect, it } from 'vitest';
import { caseOf, smallSuite, verifyCase } from '../../src/vectors.ts';
import { SMALL_SUITE_HASH, suiteHash } from '../support/suite-hash.ts';

it('writes the small suite with the same bytes as every other platform', async () => {
  expect(await suiteHash(await smallSuite())).toBe(SMALL_SUITE_HASH);
});

it('tells a window that is too long from the numbers of out', async () => {
  const each = (await smallSuite()).find(({ name }) => name === 'all-window')!;
  expect(verifyCase(each, each.expected, { dtype: 'f32' }).pass).toBe(true);
  const window = each.parameters.window + 1;
  const { expected } = await caseOf({ ...each, parameters: { ...each.parameters, window } });
  const report = verifyCase(each, expected, { dtype: 'f32', tensors: ['forward'] });
  expect(report.pass).toBe(false);
  expect(report.diagnosis!.name).toBe('window-long');
});
