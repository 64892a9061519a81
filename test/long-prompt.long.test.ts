/** A prompt of 200 kB, which no command line can hold, from stdin and from a file. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const MODEL = fileURLToPath(new URL('../models/base', import.meta.url));

test('natsearch generate reads a prompt of 200 kB from stdin, and shows its progress', async () => {
  const text = 'It was a damp, drizzly November in my soul. '.repeat(4600);
  expect(text.length).toBeGreaterThan(200_000);
  const args = ['--model', MODEL, '--prompt', '-', '--policy', 'window:16', '--max-new-tokens', '2', '--json'];
  const child = spawn(process.execPath, [MAIN, 'generate', ...args]);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece));
  child.stdin.end(text);
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as { newTokens: number; promptTokens: number };
  expect(report.newTokens).toBeGreaterThan(0);
  expect(report.promptTokens).toBeGreaterThan(40_000);
  expect(stderr).toMatch(/read the prompt \(tokens\) \d+%/);
}, 1_800_000);
