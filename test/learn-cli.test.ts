/** `natsearch learn` as a process: files to begin with, answers in JavaScript and Python, and how they are graded. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { STEPS } from '../src/cli/learn/steps/index.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const python = spawnSync('python3', ['-c', 'import numpy']).status === 0;

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'natsearch-learn-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function learn(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const env = { ...process.env, NO_COLOR: '1' };
  const child = spawn(process.execPath, [main, 'learn', ...args], { cwd: folder, env });
  const ended = { code: null as number | null, stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => void (ended.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => void (ended.stderr += data.toString()));
  return new Promise((resolve) => child.on('close', (code) => resolve({ ...ended, code })));
}
const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};

const LIFETIME = `export function lifetime(types, window) {
  return types.map((type, j) => {
    if (type === 0) return Infinity;
    if (type === 2) return j + window;
    const next = types.findIndex((other, n) => n > j && other === 0);
    return next < 0 ? Infinity : next;
  });
}
`;
const PYTHON = `import numpy as np
def lifetime(types, window):
    last = np.full(len(types), np.inf)
    for j, t in enumerate(types):
        if t == 2: last[j] = j + window
        if t == 1:
            after = np.nonzero(types[j + 1:] == 0)[0]
            if len(after): last[j] = j + 1 + after[0]
    return last
def attention(q, k, v, last):
    i, j = np.indices((len(q), len(q)))
    seen = (j <= i) & (i <= last)
    s = np.where(seen, q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True) @ v
def mask(last): return [[1]]
`;

describe('natsearch learn', () => {
  it('lists nine exercises, shows one, and gives its hints one by one', async () => {
    const [all, one, hint, second, none] = await Promise.all([
      learn(), learn('mask'), learn('mask', '--hint'), learn('mask', '--hint', '2'), learn('mask', '--hint', '9'),
    ]);
    for (const { name } of STEPS) expect(all.stdout).toContain(` ${name} `);
    expect(one.stdout).toMatch(/^What each query sees\n/);
    expect(one.stdout).toContain('\nexport function mask(last: number[]): number[][] {\n');
    expect(hint.stdout).toBe(`${STEPS[1].hints[0]} (--hint 2 for the next)\n`);
    expect(second.stdout).toBe(`${STEPS[1].hints[1]}\n`);
    expect([none.code, none.stderr]).toEqual([2, 'natsearch: mask has 2 hints: --hint takes 1 to 2\n']);
  });

  it('writes files with empty functions, which are graded as empty, and never over answers', async () => {
    const written = await learn('--write', 'empty.mjs');
    expect(written.stdout).toMatch(/^empty\.mjs has 9 empty functions/);
    const empty = await learn('--file', 'empty.mjs');
    expect(empty.code).toBe(1);
    expect(empty.stdout.match(/^wrong /gm)).toHaveLength(9);
    expect(empty.stdout).toMatch(/it throws Error: write attentionBackward, in the call/);
    expect(empty.stdout).toMatch(/\nStuck\? natsearch learn lifetime --hint\n0 of 9 are right .*Next: lifetime\n$/);
    const again = await learn('--write', 'empty.mjs');
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/empty\.mjs exists: choose another name/)]);
    await learn('--write', 'empty.py');
    expect(readFileSync(join(folder, 'empty.py'), 'utf8')).toMatch(/\ndef mask_gradient\(q, k, v, last, d_out\):\n/);
  }, 60_000);

  it('grades a right answer, a typical mistake, and a wrong number', async () => {
    const right = await learn('lifetime', '--file', write('right.mjs', LIFETIME));
    expect(right.code).toBe(0);
    expect(right.stdout).toMatch(/^right {2}lifetime +14 of 14 cases\n1 of 9 are right .*Next: mask\n$/);
    const early = await learn('lifetime', '--file', write('early.mjs', LIFETIME.replace('Infinity : next', 'Infinity : next - 1')));
    expect(early.stdout.replace(/\s+/g, ' ')).toContain('You compute the query before the next GLOBAL token for LOCAL tokens. Both ends count');
    const json = await learn('lifetime', '--json', '--file', write('odd.mjs', LIFETIME.replace('j + window', 'j + window + 3')));
    expect(JSON.parse(json.stdout)).toMatchObject([{ step: 'lifetime', right: false, text: expect.stringMatching(
      /^answer\[3\] is 8, and should be 5\. The call was lifetime\(types = \[0, 1, 1, 2, 0, 1, 2, 2\], window = 2\)\.$/,
    ) as string }]);
    expect(json.code).toBe(1);
    const talks = await learn('lifetime', '--json', '--file', write('talks.mjs', `console.log('hello');\n${LIFETIME}`));
    expect(JSON.parse(talks.stdout)).toMatchObject([{ right: true }]);
    expect(talks.stderr).toBe('hello\n');
  }, 60_000);

  it('keeps progress beside the answers, until they are wrong again, and overwrites no other file', async () => {
    const place = join(folder, 'progress');
    mkdirSync(place);
    const file = write('progress/mine.mjs', LIFETIME);
    const first = await learn('--file', file);
    expect(first.stdout).toMatch(/\n1 of 9 are right \(kept in natsearch-learn\.json\)\. Next: mask\n$/);
    const env = { ...process.env, NO_COLOR: '1' };
    const listed = spawnSync(process.execPath, [main, 'learn'], { cwd: place, encoding: 'utf8', env });
    expect(listed.stdout).toMatch(/ 1 {2}right {2}lifetime .*\n {2}2 {9}mask /);
    write('progress/mine.mjs', LIFETIME.replace('j + window', 'j'));
    expect((await learn('lifetime', '--file', file)).stdout).toMatch(/\n0 of 9 are right .*Next: lifetime\n$/);
    write('progress/natsearch-learn.json', '{"format":"other"}');
    const refused = await learn('lifetime', '--file', file);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/is no record of progress: move it elsewhere/);
    expect(readFileSync(join(place, 'natsearch-learn.json'), 'utf8')).toBe('{"format":"other"}');
  }, 60_000);

  it('reads TypeScript, whether this Node does or not', async () => {
    const typed = LIFETIME.replace('(types, window) {', '(types: readonly number[], window: number): number[] {');
    const right = await learn('lifetime', '--file', write('mine.ts', typed));
    expect([right.code, right.stdout]).toEqual([0, expect.stringMatching(/^right {2}lifetime/)]);
    const empty = await learn('--write', 'stubs.ts').then(() => learn('--json', '--file', 'stubs.ts'));
    expect((JSON.parse(empty.stdout) as { text: string }[]).map(({ text }) => text)).toEqual(
      STEPS.map(() => expect.stringMatching(/^it throws Error: write \w+, in the call /) as string));
    const broken = await learn('lifetime', '--file', write('broken.ts', 'export function ('));
    expect(broken.stdout).toMatch(/The file does not load: SyntaxError/);
  }, 60_000);

  it('says what stops a file from running', async () => {
    const said = async (name: string, text: string) => (await learn('lifetime', '--file', write(name, text))).stdout.replace(/\s+/g, ' ');
    expect(await said('syntax.mjs', 'export function (')).toMatch(/The file does not load: SyntaxError/);
    expect(await said('nothing.mjs', 'export const x = 1;')).toMatch(/The file exports no function lifetime/);
    expect(await said('text.mjs', 'export const lifetime = () => "7";')).toMatch(/it returns a string, where numbers should be/);
    expect(await said('exit.mjs', 'export const lifetime = () => process.exit(0);')).toMatch(/ends its thread before it returns/);
    const odd = await learn('--file', write('answers.txt', ''));
    expect([odd.code, odd.stderr]).toEqual([1, expect.stringMatching(/answers\.txt must end in \.js/)]);
    const missing = await learn('--file', 'nowhere.mjs');
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/nowhere\.mjs/)]);
  }, 60_000);

  if (python) {
    it('takes nine answers in NumPy, and the empty file as nine empty ones', async () => {
      const answers = readFileSync(new URL('support/learn-answers.py', import.meta.url), 'utf8');
      const nine = await learn('--file', write('nine.py', answers));
      expect([nine.code, nine.stdout]).toEqual([0, expect.stringMatching(/^(right .*\n){9}All nine are right\.\n$/)]);
      await learn('--write', 'stubs.py');
      const empty = await learn('--json', '--file', 'stubs.py');
      const texts = (JSON.parse(empty.stdout) as { text: string }[]).map(({ text }) => text);
      const asked = texts.filter((text) => /^it raises NotImplementedError: write \w+, in the call /.test(text));
      expect(asked).toHaveLength(9);
    }, 60_000);

    it('grades answers in NumPy', async () => {
      const file = write('mine.py', PYTHON);
      const both = await Promise.all(['lifetime', 'attention', 'mask', 'price'].map((step) => learn(step, '--file', file)));
      expect(both[0].stdout).toMatch(/^right {2}lifetime/);
      expect(both[1].stdout).toMatch(/^right {2}attention/);
      expect(both[2].stdout).toMatch(/the answer is 1 list of 1 number, and should be 8 lists of 8 numbers/);
      expect(both[3].stdout).toMatch(/The file has no function price/);
    }, 60_000);
  }
});
