/**
 * The tests that run under Deno too (`deno task test`): all but those that are about Node, npm or the command, and the
 * long ones. The runner is the same one, started by Deno; test/deno/runtime.test.ts makes sure that the bodies are too.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What starts Node, or a program that does. */
const STARTS_NODE = /child_process|process\.execPath|support\/(packed|python|chromium)/;
/** The types that examples need, by Node's tsc. */
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
    // Threads end with a call that Deno does not have.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default config;
