/** Only runs under Deno: without this, a Deno tier that ran in Node would look green. */
import { expect, it } from 'vitest';

it('runs the test bodies under Deno, not under Node', () => {
  expect(globalThis).toHaveProperty('Deno.version.deno', expect.stringMatching(/^\d+\.\d+\.\d+/));
});
