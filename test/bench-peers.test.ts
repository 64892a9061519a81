/** The programs of bench/peers say what they take, and what is wrong with it in one line. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (program: string, ...args: string[]) =>
  spawnSync(process.execPath, [`bench/peers/${program}`, ...args], { cwd: root, encoding: 'utf8', timeout: 30_000 });

it.each([['main.mjs', '--threads <value>'], ['random-llama.mjs', '--layers <22>'], ['llama-cpp.mjs', '--prefill <4096>']])(
  '%s --help prints what the program does and its flags', (program, flag) => {
    const { status, stdout, stderr } = run(program, '--help');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain(program === 'main.mjs' ? 'npm run bench:peers' : `node bench/peers/${program}`);
    expect(stdout).toContain(`  ${flag}\n`);
  },
);

it.each([
  [['main.mjs', '--threats', '2'], "Unknown option '--threats'"],
  [['main.mjs', '--threads', 'two'], '--threads is two: it must be a whole number from 1 to 64'],
  [['random-llama.mjs'], '--out is missing: name the folder to write'],
  [['llama-cpp.mjs', 'nowhere.gguf'], 'nowhere.gguf is not there: name a GGUF file, such as random-llama.mjs writes'],
])('%j is refused in one line', ([program, ...args], message) => {
  const { status, stdout, stderr } = run(program, ...args);
  expect([status, stdout, stderr]).toEqual([2, '', `error: ${message}; --help says more\n`]);
});
