import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig, type ViteUserConfigFnObject } from 'vitest/config';

/** Files in which every test needs WebGPU. A run of other stacks leaves them out, as they would be empty. */
const ONLY_WEBGPU = [
  'drawn-token.test.ts', 'lost-device.test.ts',
  ...['backward.long', 'budget', 'device', 'fast', 'fast-prefill', 'gpu', 'layers', 'learned', 'learned.long', 'limits', 'prefill'].map((name) => `wgsl-${name}.test.ts`),
].map((name) => `test/${name}`);

/**
 * `npm test` touches everything once. `npm run test:all`, which is this with --mode all, runs the long suites too, and
 * more random cases of the others (test/support/thorough.ts).
 */
const config: ViteUserConfigFnObject = defineConfig(({ mode }) => {
  const stacks = (process.env['NATS_STACKS'] ?? 'webgpu').split(',');
  const all = mode === 'all' || process.env['NATS_TESTS'] === 'all';
  return {
    resolve: {
      // The names that examples import, on the sources: what is tested is what is written, not an old build.
      alias: {
        'neural-attention-search/vectors': fileURLToPath(new URL('./src/vectors.ts', import.meta.url)),
        'neural-attention-search': fileURLToPath(new URL('./src/index.ts', import.meta.url)),
      },
    },
    test: {
      environment: 'node',
      env: all ? { NATS_TESTS: 'all' } : {},
      include: ['test/**/*.test.ts'],
      exclude: [
        ...configDefaults.exclude, 'test/deno/**', ...(stacks.includes('webgpu') ? [] : ONLY_WEBGPU),
        ...(all ? [] : ['test/**/*.long.test.ts']),
      ],
      globalSetup: ['test/global-setup.ts'],
      // Files share the modules of their worker: importing them anew for each of 120 files took a third of all time.
      isolate: false,
      maxWorkers: '100%', // by default all cores but one, which of two is half
      testTimeout: 30_000,
      hookTimeout: 30_000,
    },
  };
});

export default config;
