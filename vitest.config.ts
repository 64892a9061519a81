import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig, type ViteUserConfig } from 'vitest/config';

/** `npm run test:all` runs the long suites too, and more random cases of the others (test/support/thorough.ts). */
const long = process.env['NATS_TESTS'] === 'all' ? [] : ['test/**/*.long.test.ts'];

const config: ViteUserConfig = defineConfig({
  resolve: {
    // The names that examples import, on the sources: what is tested is what is written, not an old build.
    alias: {
      'neural-attention-search/vectors': fileURLToPath(new URL('./src/vectors.ts', import.meta.url)),
      'neural-attention-search': fileURLToPath(new URL('./src/index.ts', import.meta.url)),
    },
  },
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/deno/**', ...long],
    globalSetup: ['test/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});

export default config;
