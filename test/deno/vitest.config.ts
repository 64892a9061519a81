/**
 * The tests that run under Deno too (`deno task test`): all except those that are about Node, npm or the command, and
 * the long ones. The test runner is the same, but started by Deno; test/deno/runtime.test.ts checks that the tests
 * run there too.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Tests that start Node, or a program that does. */
const STARTS_NODE = /child_process|process\.execPath|support\/(packed|python|chromium)/;
/** The test of the examples' types, which needs Node's tsc. */
const OTHERS = ['examples.test.ts'];

const suite = readdirSync(`${root}test`).filter((file) => {
  if (!file.endsWith('.test.ts') || file.endsWith('.long.test.ts') || OTHERS.includes(file)) return false;
  return !STARTS_NODE.test(readFileSync(`${root}test/${file}`, 'utf8'));
});

const config: ViteUserConfig = defineConfig({
  root,
  resolve: {
    alias: {
      'neural-attention-search/vectors': `${root}src/vectors.ts`, 'neural-attention-search': `${root}src/index.ts`,
    },
  },
  test: {
    environment: 'node',
    include: [...suite.map((file) => `test/${file}`), 'test/deno/*.test.ts'],
    // Threads would be ended by a call that Deno does not have.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default config;
