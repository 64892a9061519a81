/** `natsearch learn` as a process: files to begin with, answers in JavaScript and Python, and how they are graded. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { STEPS } from '../src/cli/learn/steps/index.ts';
import { some, THOROUGH } from './support/thorough.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const python = THOROUGH && spawnSync('python3', ['-c', 'import numpy']).status === 0;

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
    expect(empty.stdout.replace(/\s+/g, ' ')).toMatch(new RegExp(
      `^not yet: ${STEPS.map(({ name: each }) => each).join(', ')} 0 of 9 right in empty\\.mjs .*Next: lifetime $`));
    const one = await learn('attentionBackward', '--file', 'empty.mjs');
    expect(one.stdout).toMatch(/it throws Error: write attentionBackward \(at empty\.mjs:\d+\), in the call/);
    const single = await learn('mask', '--write', 'one.mjs');
    expect(single.stdout).toBe('one.mjs has an empty function. Fill it in, then: natsearch learn mask --file one.mjs\n');
    const again = await learn('--write', 'empty.mjs');
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/empty\.mjs exists: choose another name/)]);
    await learn('--write', 'empty.py');
    expect(readFileSync(join(folder, 'empty.py'), 'utf8')).toMatch(/\ndef mask_gradient\(q, k, v, last, d_out\):\n/);
  }, 60_000);

  it('grades a right answer, a typical mistake, and a wrong number', async () => {
    const right = await learn('lifetime', '--file', write('right.mjs', LIFETIME));
    expect(right.code).toBe(0);
    expect(right.stdout).toMatch(/^right {2}lifetime +\d+ of \d+ cases\n1 of 9 right in right\.mjs .*Next: mask\n$/);
    const early = await learn('lifetime', '--file', write('early.mjs', LIFETIME.replace('Infinity : next', 'Infinity : next - 1')));
    expect(early.stdout.replace(/\s+/g, ' ')).toContain('You compute the query before the next GLOBAL token for LOCAL tokens. Both ends count');
    const json = await learn('lifetime', '--json', '--file', write('odd.mjs', LIFETIME.replace('j + window', 'j + window + 3')));
    expect(JSON.parse(json.stdout)).toMatchObject([{ step: 'lifetime', right: false, text: expect.stringMatching(
      /^answer\[2\] is 5, and should be 2\. The call was lifetime\(types = \[0, 0, 2\], window = 0\)\.$/,
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
    expect(first.stdout).toMatch(/\n1 of 9 right in mine\.mjs \(kept in progress\/natsearch-learn\.json\)\. Next/);
    const env = { ...process.env, NO_COLOR: '1' };
    const listed = spawnSync(process.execPath, [main, 'learn'], { cwd: place, encoding: 'utf8', env });
    expect(listed.stdout).toMatch(/ 1 {2}right {2}lifetime .*\n {2}2 {9}mask /);
    if (!THOROUGH) return;
    write('progress/mine.mjs', LIFETIME.replace('j + window', 'j'));
    expect((await learn('lifetime', '--file', file)).stdout).toMatch(/\n0 of 9 right in mine.*Next: lifetime\n$/);
    const other = await learn('lifetime', '--file', write('progress/other.mjs', LIFETIME));
    expect(other.stdout).toMatch(/\n1 of 9 right in other\.mjs \(/);
    const union = await learn('mask', '--file', file);
    expect(union.stdout).toMatch(/\n0 of 9 right in mine\.mjs, 1 of 9 in all your files \(.*Next: mask\n$/);
    write('progress/natsearch-learn.json', '{"format":"other"}');
    const refused = await learn('lifetime', '--file', file);
    expect([refused.code, refused.stdout]).toEqual([1, expect.stringMatching(/^wrong {2}lifetime/)]);
    expect(refused.stderr).toMatch(/is no record of progress: delete it to begin anew/);
    expect(readFileSync(join(place, 'natsearch-learn.json'), 'utf8')).toBe('{"format":"other"}');
    write('progress/natsearch-learn.json', '{');
    const broken = await learn('lifetime', '--json', '--file', 'progress/other.mjs');
    expect([broken.code, JSON.parse(broken.stdout), broken.stderr]).toEqual([
      0, [expect.objectContaining({ right: true })], expect.stringMatching(/cannot be read: delete it to begin anew/)]);
  }, 60_000);

  if (THOROUGH) {
    it('says what a loop that never ends has printed', async () => {
      const loop = write('loop.mjs', 'export function lifetime() { process.stdout.write("a turn\\n"); for (;;); }');
      expect(JSON.parse((await learn('lifetime', '--json', '--file', loop)).stdout)).toMatchObject([
        { text: expect.stringMatching(/^It did not finish in 10 s: does a loop never end\?$/) as string, printed: 'a turn\n' }]);
    }, 60_000);
  }

  it('reads TypeScript, whether this Node does or not', async () => {
    const typed = LIFETIME.replace('(types, window) {', '(types: readonly number[], window: number): number[] {');
    const right = await learn('lifetime', '--file', write('mine.ts', typed));
    expect([right.code, right.stdout]).toEqual([0, expect.stringMatching(/^right {2}lifetime/)]);
    const empty = await learn('--write', 'stubs.ts').then(() => learn('--json', '--file', 'stubs.ts'));
    expect((JSON.parse(empty.stdout) as { text: string }[]).map(({ text }) => text)).toEqual(
      STEPS.map(() => expect.stringMatching(/^it throws Error: write \w+ \(at .*\d\), in the call /) as string));
    const broken = await learn('lifetime', '--file', write('broken.ts', 'export function ('));
    expect(broken.stdout).toMatch(/The file does not load: SyntaxError.* \(at broken\.ts:1\)/);
  }, 60_000);

  it('takes names as in a language and numbers, corrects others, and refuses two things at once', async () => {
    const [camel, snake, third, typo, two, json] = await Promise.all([
      learn('attentionBackward'), learn('attention_backward'), learn('3'), learn('lifetme'),
      learn('mask', '--hint', '--file', 'right.mjs'), learn('mask', '--hint', '--json'),
    ]);
    expect([camel.stdout, third.stdout]).toEqual([snake.stdout, expect.stringMatching(/^Attention over/)]);
    expect([typo.code, typo.stderr]).toEqual([2, expect.stringMatching(/lifetme: did you mean lifetime\?/)]);
    expect([two.code, two.stderr]).toEqual([2, expect.stringMatching(/--hint and --file are two things/)]);
    expect(JSON.parse(json.stdout)).toEqual({ step: 'mask', n: 1, of: 2, hint: STEPS[1].hints[0] });
  }, 60_000);

  it('says what stops a file from running', async () => {
    const said = async (name: string, text: string) => (await learn('lifetime', '--file', write(name, text))).stdout.replace(/\s+/g, ' ');
    for (const [name, text, words] of some<[string, string, RegExp]>(2, [
      ['throws.mjs', 'export const lifetime = () => {\n  null.x;\n};', /it throws TypeError: .*\(at throws\.mjs:2\), in/],
      ['syntax.mjs', 'const x = 1;\nexport function (', /The file does not load: SyntaxError.*at syntax\.mjs:2\)/],
      ['async.mjs', 'export const lifetime = async () => [];', /a Promise: the function must not be async/],
      ['exit.mjs', 'export const lifetime = () => process.exit(0);', /ends its thread before it returns/],
      ['nothing.mjs', 'export const x = 1;', /The file exports no function lifetime/],
      ['text.mjs', 'export const lifetime = () => "7";', /it returns a string, where numbers should be/],
    ])) expect(await said(name, text)).toMatch(words);
    if (!THOROUGH) return;
    const prints = write('prints.mjs', 'export function lifetime(types) { console.log("first", types); return [7]; }');
    expect(await said('prints.mjs', readFileSync(join(folder, prints), 'utf8'))).toMatch(/It printed: first \[ 0 \]/);
    const odd = await learn('--file', write('answers.txt', ''));
    expect([odd.code, odd.stderr]).toEqual([1, expect.stringMatching(/answers\.txt must end in \.js/)]);
    const missing = await learn('--file', 'nowhere.mjs');
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/nowhere\.mjs/)]);
  }, 60_000);

  if (python) {
    it('grades answers in NumPy', async () => {
      const file = write('mine.py', PYTHON);
      const both = await Promise.all(['lifetime', 'attention', 'mask', 'price'].map((step) => learn(step, '--file', file)));
      expect(both[0].stdout).toMatch(/^right {2}lifetime/);
      expect(both[1].stdout).toMatch(/^right {2}attention/);
      expect(both[2].stdout).toMatch(/the answer is 1 list of 1 number, and should be 3 lists of 3 numbers/);
      expect(both[3].stdout).toMatch(/The file has no function price/);
      const odd = write('odd.py', `import os
def lifetime(types, window):
    print('first', types)
    return [1 / 0]
def mask(last): os._exit(0)
def attention(q, k, v, last): return last
`);
      const all = (await learn('--file', odd)).stdout.replace(/\s+/g, ' ');
      expect(all).toMatch(/ZeroDivisionError: division by zero \(at odd\.py:4\), in .* It printed: first \[0\]/);
      expect(all).toMatch(/wrong mask .* It ends Python \(exit code 0\) before it returns\. wrong attention/);
      expect(all).toMatch(/The call was attention\(.* last = \[np\.inf\]\)/);
    }, 60_000);

    it('takes nine answers in NumPy, and the empty file as nine empty ones', async () => {
      const answers = readFileSync(new URL('support/learn-answers.py', import.meta.url), 'utf8');
      const nine = await learn('--file', write('nine.py', answers));
      expect([nine.code, nine.stdout]).toEqual([0, expect.stringMatching(/^(right .*\n){9}All nine are right\.\n$/)]);
      await learn('--write', 'stubs.py');
      const empty = await learn('--json', '--file', 'stubs.py');
      const texts = (JSON.parse(empty.stdout) as { text: string }[]).map(({ text }) => text);
      const asked = texts.filter((text) => /^it raises NotImplementedError: write \w+ \(at stubs\.py:/.test(text));
      expect(asked).toHaveLength(9);
    }, 60_000);

    it('leaves no Python behind, however it ends and whatever the answer catches', async () => {
      const pids = join(folder, 'pids');
      write('endless.py', `import os
def lifetime(types, window):
    with open(${JSON.stringify(pids)}, 'w') as file: file.write('%d ' % os.getpid())
    while True:
        try: sum(range(1000))
        except BaseException: pass
`);
      const command = `'${process.execPath}' '${main}' learn lifetime --file endless.py`;
      const running = (pid: number): boolean => {
        try {
          return process.kill(pid, 0);
        } catch {
          return false;
        }
      };
      const seen = async (until: () => boolean): Promise<void> => {
        while (!until()) await new Promise((done) => setTimeout(done, 50));
      };
      // Ctrl-C sends SIGINT to all processes of a shell's job; others may reach the command alone.
      for (const [signal, group] of [['SIGINT', true], ['SIGINT', false], ['SIGKILL', false]] as const) {
        rmSync(pids, { force: true });
        const line = group ? `${command}; exit 0` : `exec ${command}`;
        const shell = spawn('sh', ['-c', line], { cwd: folder, detached: true, stdio: 'ignore' });
        const ended = new Promise((done) => shell.on('close', done));
        await seen(() => existsSync(pids) && readFileSync(pids, 'utf8').endsWith(' '));
        const pid = Number(readFileSync(pids, 'utf8'));
        expect(running(pid)).toBe(true);
        process.kill(group ? -shell.pid! : shell.pid!, signal);
        await ended;
        await seen(() => !running(pid)); // or the test runs out of time
        expect(running(pid)).toBe(false);
      }
    }, 30_000);
  }
});
