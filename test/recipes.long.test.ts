/**
 * The recipes of CONTRIBUTING.md, followed one after the other in a copy of the repository: it compiles, keeps to the
 * style and the floors, and what each recipe says to run passes.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { follow, recipesOf } from './support/recipes.ts';
import { textOf } from './support/sources.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'natsearch-recipes-'));
const recipes = recipesOf(textOf('CONTRIBUTING.md'));
const written = new Set<string>();

/** What a command prints if it fails, or undefined if it passes. */
function failure(command: string): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, {
    cwd: copy, shell: true, encoding: 'utf8', env: { ...process.env, NATS_TESTS: '', VITEST: undefined },
  });
  return status === 0 ? undefined : `${command} ended with ${status}:\n${(stdout + stderr).slice(-4000)}`;
}

beforeAll(() => {
  const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root, encoding: 'utf8',
  }).split('\0').filter((path) => path !== '' && existsSync(root + path));
  for (const path of files) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    copyFileSync(root + path, join(copy, path));
  }
  symlinkSync(`${root}node_modules`, join(copy, 'node_modules'), 'junction');
  const read = (path: string): string | undefined =>
    (existsSync(join(copy, path)) ? readFileSync(join(copy, path), 'utf8') : undefined);
  for (const recipe of recipes) {
    for (const [path, text] of follow(recipe, read)) {
      mkdirSync(dirname(join(copy, path)), { recursive: true });
      writeFileSync(join(copy, path), text);
      written.add(path);
    }
  }
}, 120_000);
afterAll(() => rmSync(copy, { recursive: true, force: true }));

describe('a copy of the repository in which every recipe was followed', () => {
  it('compiles', () => {
    expect(failure('npx tsc --noEmit')).toBeUndefined();
  }, 300_000);

  it('keeps to the style and to the floors', () => {
    const scripts = [...written].filter((path) => /\.[mc]?[jt]s$/.test(path));
    expect(scripts.length).toBeGreaterThan(1);
    expect(failure(`npx eslint ${scripts.join(' ')}`)).toBeUndefined();
    expect(failure('npx vitest run test/architecture.test.ts -t "the sources"')).toBeUndefined();
  }, 300_000);

  it.each(recipes.flatMap(({ title, commands }) => commands.map((command) => ({ title, command }))))(
    'passes what "$title" runs: $command', ({ command }) => {
      expect(failure(command)).toBeUndefined();
    }, 600_000);
});
