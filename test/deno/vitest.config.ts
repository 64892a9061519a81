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

/** What starts Node, or a program that does. */
const STARTS_NODE = /child_process|process\.execPath|support\/(packed|python|chromium)/;
/** Modules of test/support that a file imports. */
const SUPPORT = /from '\.\/(?:support\/)?([\w-]+\.ts)'/g;
/** The test of the examples' types, which needs Node's tsc, and of a lost device, of which Deno 2.9 panics. */
const OTHERS = ['examples.test.ts', 'lost-device.test.ts'];

/** Whether a file of the tests, or a module of test/support behind it, starts Node. */
function startsNode(path: string, seen = new Set<string>()): boolean {
  if (seen.has(path)) return false;
  seen.add(path);
  const text = readFileSync(path, 'utf8');
  return STARTS_NODE.test(text)
    || [...text.matchAll(SUPPORT)].some(([, name]) => startsNode(`${root}test/support/${name}`, seen));
}

const suite = readdirSync(`${root}test`).filter((file) => {
  if (!file.endsWith('.test.ts') || file.endsWith('.long.test.ts') || OTHERS.includes(file)) return false;
  return !startsNode(`${root}test/${file}`);
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
