/** What the suite in Chromium rests on: it does run in a browser, and over the engines asked for. */
import { describe, expect, it } from 'vitest';
import { ENGINES } from '../support/engines.ts';

const stacks = (process.env['NATS_STACKS'] ?? '').split(',');

describe('the suite in the browser', () => {
  it('runs in a page, not in Node', () => {
    expect(navigator.userAgent).toContain('Chrome/');
    expect(globalThis).toHaveProperty('document');
  });

  it.each(stacks)('runs over gpu.js on %s, and that is what it gets', async (stack) => {
    const use = ENGINES.find(({ name }) => name === `gpu.js ${stack}`);
    expect(use).toBeDefined();
    const engine = await use!.create();
    try {
      expect(engine.name).toContain(`gpu.js ${stack}`);
      const sum = engine.add(engine.tensor([1, 2], [2]), engine.tensor([3, 4], [2]));
      expect([...(await engine.read(sum))]).toEqual([4, 6]);
    } finally {
      engine.dispose();
    }
  });
});
