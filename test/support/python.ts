/**
 * Python with NumPy for tests of examples/python. If it is missing they are skipped, with the reason; if NATS_REQUIRE
 * names python they fail instead.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const required = (process.env['NATS_REQUIRE'] ?? '').split(',').includes('python');

/** The exit code and output of a process. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[]): Ended {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8', timeout: 120_000 });
  return { code: status, stdout: stdout ?? '', stderr: error ? error.message : stderr };
}

/** The Python to use. Debian's NumPy belongs to Debian's Python, which is not always the first on the path. */
const python = ['python3', '/usr/bin/python3'].find((each) =>
  run(each, ['-c', 'import sys, numpy; sys.exit(sys.version_info < (3, 11))']).code === 0);

/** Runs a script of examples/python. */
export function runExample(script: string, ...args: readonly string[]): Ended {
  return run(python ?? 'python3', [`examples/python/${script}`, ...args]);
}

/** Runs natsearch from dist/. */
export function natsearch(...args: readonly string[]): Ended {
  return run(process.execPath, ['dist/cli/main.js', ...args]);
}

/** `describe` for tests that run Python. */
export function describePython(title: string, tests: () => void): void {
  if (python || required) describe(title, tests);
  else describe.skip(`${title} [skipped, no python3 >= 3.11 with numpy]`, tests);
}

/**
 * Runs Python code with the modules of examples/python; one that is called pytest stands in where pytest is missing.
 */
export function runPython(code: string, env: Readonly<Record<string, string>> = {}): Ended {
  const before = `
import sys, types
sys.path.insert(0, 'examples/python')
try:
    import pytest
except ImportError:
    same = lambda *_, **__: (lambda f: f)
    mark = types.SimpleNamespace(parametrize=same)
    sys.modules['pytest'] = types.SimpleNamespace(fixture=same, mark=mark, fail=print)
`;
  const { status, stdout, stderr, error } = spawnSync(python ?? 'python3', ['-c', before + code], {
    cwd: root, encoding: 'utf8', timeout: 120_000, env: { ...process.env, ...env },
  });
  return { code: status, stdout: stdout ?? '', stderr: error ? error.message : stderr };
}
