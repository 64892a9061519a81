/**
 * The property suite in headless Chromium: the same test files, on the engines that NATS_STACKS names (default: every
 * GPU backend of a browser). An engine that is not available is a failure. `npx vitest run --config
 * test/browser/vitest.config.mjs`
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { executablePath, flags } from '../../examples/browser/chromium.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const stacks = process.env['NATS_STACKS'] ?? 'webgl2,webgpu';

/** Tests that are not about engines: what all engines share, and models in the form of published ones. */
const others = ['elementary.test.ts', 'lifetime.test.ts', 'hf-tokenizer.test.ts', 'hf-text.test.ts'];

/** The tests that take the engine as a parameter and do not need Node, and the others above. */
const suite = readdirSync(`${root}test`).filter((file) => {
  if (!file.endsWith('.test.ts') || file.endsWith('.long.test.ts')) return false;
  const text = readFileSync(`${root}test/${file}`, 'utf8');
  return others.includes(file) || (/support\/engines\.ts/.test(text) && !/from 'node:/.test(text));
});

export default defineConfig({
  root,
  cacheDir: 'node_modules/.vite-browser',
  resolve: { alias: { 'neural-attention-search': `${root}src/index.ts` } },
  // Bundled before the first test, since a dependency found later would reload the page.
  optimizeDeps: {
    entries: [],
    include: [
      '@huggingface/jinja', '@huggingface/tokenizers', 'fast-check', 'gpu.js', 'pure-rand/distribution/uniformFloat64',
      'pure-rand/distribution/uniformInt', 'pure-rand/generator/xoroshiro128plus',
    ],
  },
  define: { 'process.env': JSON.stringify({ NATS_STACKS: stacks, NATS_REQUIRE: stacks }) },
  test: {
    include: ['test/browser/*.browser.ts', ...suite.map((file) => `test/${file}`)],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    fileParallelism: false, // there is only one GPU
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: { executablePath, args: flags } }),
      instances: [{ browser: 'chromium' }],
    },
  },
});
