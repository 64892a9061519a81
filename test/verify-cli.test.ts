/** `natsearch verify` as users run it: a process, its two streams, its exit code. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { printPassing } from '../src/cli/verify-text.ts';
import { createEngine } from '../src/index.ts';
import type { NamedTensor } from '../src/formats/named-tensor.ts';
import { writeNpz } from '../src/formats/npz.ts';
import { writeSafetensors } from '../src/formats/safetensors.ts';
import { makeCase } from '../src/oracle/cases/make-case.ts';
import { type CaseEntry, formatManifest } from '../src/oracle/cases/manifest.ts';
import { type CaseReport, type OracleCase, OUTPUT_ORDER, type Tensors } from '../src/oracle/types.ts';
import { packCase } from '../src/oracle/cases/vector-files.ts';
import { verifyCase } from '../src/oracle/judge/verify.ts';
import { honestOutputs } from './support/honest.ts';
import { some } from './support/thorough.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const HOW = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
const cases: OracleCase[] = [];
let folder = '';
const path = (...names: string[]): string => join(folder, ...names);

const verify = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [MAIN, 'verify', ...args], { cwd: folder, encoding: 'utf8' });

const save = (file: string, tensors: Tensors): void =>
  writeFileSync(path(file), file.endsWith('.npz') ? writeNpz(Object.entries(tensors)) : writeSafetensors(Object.entries(tensors)));
const honest = (n: number): Tensors => honestOutputs(cases[n], { dtype: 'f32', order: 'online-16' });

/** Outputs of the first case with one number of `name` changed. */
function broken(name: string, at: number, value: number): Tensors {
  const outputs = honest(0);
  const data = outputs[name].data.slice();
  data[at] = value;
  return { ...outputs, [name]: { ...outputs[name], data } as NamedTensor };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'natsearch-verify-'));
  mkdirSync(path('vectors', 'outputs'), { recursive: true });
  const engine = createEngine();
  const base = { why: 'it must work', queryHeads: 2, kvHeads: 1, tokens: 12, headDim: 4, window: 2 };
  cases.push(await makeCase(engine, { ...base, name: 'first', types: { pattern: ['GLWLG'] }, steps: [6, 6] }));
  cases.push(await makeCase(engine, { ...base, name: 'second', types: { pattern: ['GW'] } }));
  const entries: CaseEntry[] = [];
  for (const each of cases) {
    const { entry, bytes } = await packCase(each, HOW);
    writeFileSync(path('vectors', entry.file), bytes);
    entries.push(entry);
  }
  const manifest = formatManifest({ format: 'natsearch-vectors', version: 1, ...HOW, complete: true, cases: entries });
  writeFileSync(path('vectors', 'manifest.json'), manifest);
  for (const name of ['mine', 'wrong', 'cut', 'strange', 'twice', 'nothing']) mkdirSync(path(name));
  save('vectors/outputs/first.safetensors', honest(0));
  save('vectors/outputs/second.npz', honest(1));
  cpSync(path('vectors', 'outputs'), path('mine'), { recursive: true });
  save('wrong/first.safetensors', broken('dq', 9, 1e3));
  save('cut/first.safetensors', honest(0));
  truncateSync(path('cut', 'first.safetensors'), readFileSync(path('cut', 'first.safetensors')).length - 9);
  save('strange/frist.safetensors', honest(0));
  save('twice/first.safetensors', honest(0));
  save('twice/first.npz', honest(0));
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('natsearch verify', () => {
  it('passes honest outputs of both formats, wherever they are in the folder of vectors', () => {
    for (const args of some(1, [['mine', '--vectors', 'vectors'], ['vectors'], ['vectors/outputs']])) {
      const { status, stdout, stderr } = verify(...args, '--all');
      expect(stderr).toBe('');
      expect(stdout).toContain('PASS first as f32: it must work');
      expect(stdout).toMatch(/\nlse +pass .*\d/);
      expect(stdout).toContain('Where budgets come from (f32: 2^-24 an operation, 2^-24 stored');
      expect(stdout).toMatch(/\nout +A max\|v\|/);
      expect(stdout.trimEnd().split('\n').at(-1)).toBe('2 cases: 2 pass, 0 fail');
      expect(stdout).not.toContain('\u001b');
      expect(status).toBe(0);
    }
  });

  it('sums up passing cases in a row per output, so that any number of them fits a screen', () => {
    const { status, stdout } = verify('vectors');
    expect(stdout).toMatch(/^passing as f32 +cases +worst error\/budget +in case\n/);
    expect(stdout).toMatch(/\nlast +2 +exact\n/);
    expect(stdout).toMatch(/\nlse +2 +\d\.\de-\d +(first|second)\n/);
    expect(stdout).toMatch(/\ncache_live +1 +exact\n/);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('2 cases: 2 pass, 0 fail (--all shows each case in full)');
    expect(status).toBe(0);
    const tensor = { status: 'pass', compared: 1, failed: 0, nan: 0, maxAbsolute: 0, maxRelative: 0, maxUlps: 0, first: undefined } as const;
    const reports = Array.from({ length: 61 }, (_, n): CaseReport => ({
      case: `a-case-of-a-long-name-${n}`, pass: true, dtype: 'bf16',
      tensors: OUTPUT_ORDER.map((name) => ({ ...tensor, name, worst: { ratio: 0.5, at: 0, budget: 1 } })),
    }));
    const lines = printPassing(reports).trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(22); // with the verdict and the next prompt 24
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('continues after files that cannot be judged: their cases fail with the reason, and the others are judged', () => {
    for (const [name, content] of some(1, [['cut', undefined], ['empty', ''], ['prose', 'not a tensor']] as const)) {
      mkdirSync(path(`broken-${name}`));
      if (content === undefined) cpSync(path('cut', 'first.safetensors'), path('broken-cut', 'first.safetensors'));
      else writeFileSync(path(`broken-${name}`, 'first.safetensors'), content);
      save(`broken-${name}/second.npz`, honest(1));
      const { status, stdout, stderr } = verify(`broken-${name}`, '--vectors', 'vectors');
      expect(stdout).toMatch(/^FAIL first: [^\n]*first\.safetensors[^\n]+\n\npassing as f32/);
      expect(stdout).toContain('2 cases: 1 pass, 1 fail');
      expect(stderr).toBe('');
      expect(status).toBe(1);
    }
    const { stdout } = verify('broken-cut', '--vectors', 'vectors', '--json');
    const { reports, ...totals } = JSON.parse(stdout) as { reports: object[] };
    expect(totals).toMatchObject({ pass: false, cases: 2, passed: 1, failed: 1, missing: 0 });
    expect(reports[0]).toEqual({ case: 'first', pass: false, error: expect.stringContaining('first.safetensors') });
  });

  it('fails a tensor that is missing or of a wrong kind by its name, and judges the rest', () => {
    const { lse: _, ...rest } = honest(0);
    mkdirSync(path('odd'));
    save('odd/first.npz', { ...rest, out: { ...rest['out'], dtype: 'I32', data: Int32Array.from(rest['out'].data) } as NamedTensor });
    save('odd/second.npz', honest(1));
    const { status, stdout } = verify('odd', '--vectors', 'vectors');
    expect(stdout).toMatch(/\nout +wrong dtype +it is I32: store floats/);
    expect(stdout).toMatch(/\nlse +missing +not among the outputs/);
    expect(stdout).toMatch(/\ndq +pass/);
    expect(stdout).toContain('2 cases: 1 pass, 1 fail');
    expect(status).toBe(1);
  });

  it('--quiet shows failing cases and the verdict, but no passing cases', () => {
    expect(verify('vectors', '--quiet').stdout).toBe('2 cases: 2 pass, 0 fail\n');
    const { status, stdout } = verify('wrong', '--vectors', 'vectors', '--quiet');
    expect(stdout).toMatch(/^FAIL first as f32/);
    expect(stdout).toMatch(/\n\nMISSING in wrong: second\n2 cases: 0 pass, 1 fail, 1 missing\n$/);
    expect(status).toBe(1);
    expect(verify('vectors', '--quiet', '--all')).toMatchObject({ status: 2, stdout: '' });
  });

  it('verifies a single file, without asking for the others', () => {
    const { status, stdout } = verify('vectors/outputs/second.npz');
    expect(stdout).toContain('1 cases: 1 pass, 0 fail');
    expect(status).toBe(0);
  });

  it('fails wrong numbers with the first divergence, and cases without a file', () => {
    const { status, stdout } = verify('wrong', '--vectors', 'vectors');
    expect(stdout).toContain('FAIL first as f32');
    expect(stdout).toMatch(/\ndq +fail .*1 of 96, first at 9/);
    expect(stdout).toContain('first divergence: dq[0,0,2,1] (batch 0, query head 0, query 2) is 1000 and must be ');
    expect(stdout).toContain('MISSING in wrong: second\n');
    expect(verify('wrong', '--vectors', 'vectors', '--all').stdout).toContain('MISSING second: no second.safetensors or .npz in wrong');
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('2 cases: 0 pass, 1 fail, 1 missing');
    expect(status).toBe(1);
  });

  it('fails one NaN for a claim of f16 too, and ignores it in a tensor that is not judged', () => {
    save('wrong/first.safetensors', broken('dk', 0, NaN));
    expect(verify('wrong/first.safetensors', '--vectors', 'vectors', '--dtype', 'f16').status).toBe(1);
    const { status, stdout } = verify('wrong/first.safetensors', '--vectors', 'vectors', '--tensors', 'life,forward', '--all');
    expect(stdout).toMatch(/\nnot asked for: [^\n]*\bdk\b/);
    expect(status).toBe(0);
    save('wrong/first.safetensors', broken('dq', 9, 1e3));
  });

  it('prints one JSON document, in which infinities are strings', () => {
    save('wrong/first.safetensors', broken('out', 0, Infinity));
    const { status, stdout } = verify('wrong', '--vectors', 'vectors', '--json');
    const { reports, ...totals } = JSON.parse(stdout) as { reports: (CaseReport & { missing?: true })[] };
    const likeliest = [{ name: 'nan', cases: 1, first: 1 }];
    expect(totals).toMatchObject({ pass: false, cases: 2, passed: 0, failed: 1, missing: 1, likeliest });
    expect(totals).toHaveProperty('common.places');
    expect(reports[0].tensors.find(({ name }) => name === 'out')).toMatchObject({ status: 'fail', maxAbsolute: 'Infinity' });
    expect(reports[1]).toEqual({ case: 'second', pass: false, missing: true });
    expect(status).toBe(1);
    save('wrong/first.safetensors', broken('dq', 9, 1e3));
  });

  it.each(some<[string, string[], string]>(4, [
    ['a path that does not exist', ['vectros'], 'no such file or folder vectros: did you mean vectors?'],
    ['a folder without vectors', ['nothing'], 'there is no manifest.json in nothing or above it: pass --vectors'],
    ['vectors that are none', ['mine', '--vectors', 'nothing'], 'nothing has no manifest.json'],
    ['a folder without outputs', ['nothing', '--vectors', 'vectors'], 'nothing has no .safetensors or .npz'],
    ['a file for no case', ['strange', '--vectors', 'vectors'], 'frist.safetensors belongs to no case of vectors/manifest.json: did you mean first?'],
    ['a case instead of outputs', ['vectors/first.safetensors'], 'it is a case, not outputs'],
    ['an unknown output', ['mine', '--vectors', 'vectors', '--tensors', 'dQ'], "there is no output 'dQ'"],
    ['an output that no case has', ['mine', '--vectors', 'vectors', '--tensors', 'dscores'], 'no case has any of dscores'],
    ['a file of another kind', ['vectors/manifest.json'], 'is neither .safetensors nor .npz'],
    ['an unknown dtype', ['mine', '--dtype', 'f8'], "argument 'f8' is invalid"],
  ]))('refuses %s in one line with exit code 2', (_, args, message) => {
    const { status, stdout, stderr } = verify(...args);
    expect(stderr).toMatch(/^natsearch: [^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('gives the same report from threads as from one', async () => {
    const engine = createEngine();
    const big = await makeCase(engine, {
      name: 'big', why: 'threads', queryHeads: 2, kvHeads: 2, tokens: 1500, headDim: 2, window: 9, types: { pattern: ['GLW', 'W'] },
    });
    mkdirSync(path('big', 'outputs'), { recursive: true });
    const { entry, bytes } = await packCase(big, HOW);
    writeFileSync(path('big', entry.file), bytes);
    writeFileSync(path('big', 'manifest.json'), formatManifest({ format: 'natsearch-vectors', version: 1, ...HOW, complete: true, cases: [entry] }));
    const outputs = Object.fromEntries(Object.entries(big.expected).map(([name, tensor]) =>
      [name, { ...tensor, ...(tensor.dtype === 'F64' && { data: tensor.data.map((x) => x * (1 + 1e-7)) }) } as NamedTensor]));
    save('big/outputs/big.safetensors', outputs);
    const { stdout, status } = verify('big', '--json');
    expect((JSON.parse(stdout) as { reports: CaseReport[] }).reports[0]).toEqual(verifyCase(big, outputs, { dtype: 'f32' }));
    expect(status).toBe(0);
  }, 60_000);
});
