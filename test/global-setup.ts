/**
 * Builds dist/ once before the tests, for those that run the command. Without declarations this takes seconds.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function setup(): void {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const tsup = fileURLToPath(new URL('../node_modules/tsup/dist/cli-default.js', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsup, '--no-dts', '--silent'], {
    cwd: root, encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the build of dist/ failed:\n${stdout}${stderr}`);
}
