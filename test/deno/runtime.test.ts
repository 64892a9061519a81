/** Runs only under Deno. Without it, a Deno tier that ran in Node by mistake would pass. */
import { expect, it } from 'vitest';

it('runs the test bodies under Deno, not under Node', () => {
  expect(globalThis).toHaveProperty('Deno.version.deno', expect.stringMatching(/^\d+\.\d+\.\d+/));
});
