/** Gumbel noise without WebAssembly. A file of its own: modules cannot be forgotten and loaded anew in Chromium. */
import { describe, expect, it, vi } from 'vitest';
import { gumbelNoise } from '../src/core/random.ts';

describe('gumbelNoise()', () => {
  it('is the same where WebAssembly is missing', async () => {
    const drawn = gumbelNoise(1, [2], 5);
    vi.resetModules(); // so that no module is compiled yet
    vi.stubGlobal('WebAssembly', undefined);
    try {
      const fresh = await import('../src/core/random.ts');
      expect(fresh.gumbelNoise(1, [2], 5)).toEqual(drawn);
      const narrow = new Float32Array(5);
      fresh.drawGumbel(1, [2], narrow);
      expect(narrow).toEqual(Float32Array.from(drawn));
      expect((await import('../src/core/gumbel.ts')).fastGumbel([1, 2, 3, 4], new Float64Array(1))).toBe(false);
    } finally {
      vi.unstubAllGlobals();
      vi.resetModules();
    }
  });
});
