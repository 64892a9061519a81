/** Texts larger than a process should hold in memory: memory depends only on the tokens that are used. */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const MODEL = fileURLToPath(new URL('../models/nats', import.meta.url));
/** MB of text, enough to be distinguished from the 100 MB that the command itself takes. */
const [SMALL, LARGE] = [40, 240];
const SIZES = '--hidden 16 --heads 2 --kv-heads 1 --layers 1 --intermediate 16 --context 32 --batch 1 --threads 1'.split(' ');

let root = '';
const path = (name: string) => join(root, name);

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-large-'));
  const line = Buffer.from('Ünïcödé lines — ☃, 漢字 and 😀 among plain words, over and over again.\n');
  const block = Buffer.concat(Array.from({ length: Math.floor(1e6 / line.length) }, () => line));
  for (const size of [SMALL, LARGE]) {
    const file = openSync(path(`${size}.txt`), 'w');
    for (let n = 0; n < size; n++) writeSync(file, block);
    closeSync(file);
  }
}, 120_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Runs the command, and returns its peak memory in MB. */
async function peakOf(args: readonly string[]): Promise<{ peak: number; code: number | null; stderr: string }> {
  const told = 'process.on("exit", () => process.stderr.write(`peak ${process.resourceUsage().maxRSS}\\n`))';
  const child = spawn(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(told)}`, MAIN, ...args]);
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => void (stderr += data.toString()));
  child.stdout.resume();
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { peak: Number(/peak (\d+)/.exec(stderr)?.[1]) / 1024, code, stderr };
}

describe('a text of hundreds of megabytes', () => {
  it('takes train between one and two bytes of memory per byte', async () => {
    const train = (size: number) =>
      peakOf(['train', '--text', path(`${size}.txt`), '--out', path(`run-${size}`), '--steps', '1', ...SIZES]);
    const [small, large] = [await train(SMALL), await train(LARGE)];
    expect([small.code, large.code], large.stderr).toEqual([0, 0]);
    expect(large.peak - small.peak).toBeLessThan(2 * (LARGE - SMALL));
  }, 300_000);

  it('takes eval --max-tokens no more memory than a small text', async () => {
    const limits = ['--max-tokens', '64', '--policy', 'nats'];
    const [small, large] = [await peakOf(['eval', '--model', MODEL, '--text', path(`${SMALL}.txt`), ...limits]),
      await peakOf(['eval', '--model', MODEL, '--text', path(`${LARGE}.txt`), ...limits])];
    expect([small.code, large.code], large.stderr).toEqual([0, 0]);
    expect(Math.abs(large.peak - small.peak)).toBeLessThan(20);
  }, 120_000);
});
