/** `natsearch verify` and `vectors`: choosing cases, recipes, layouts and files of one's own, and pages of errors. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NamedTensor } from '../src/formats/named-tensor.ts';
import { writeNpy } from '../src/formats/npy.ts';
import { writeSafetensors } from '../src/formats/safetensors.ts';
import { makeCase, type OracleCase, type Recipe, type Tensors } from '../src/vectors.ts';
import { honestOutputs } from './support/honest.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
let folder = '';
const path = (...names: string[]): string => join(folder, ...names);
const natsearch = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [MAIN, ...args], { cwd: folder, encoding: 'utf8' });
const save = (file: string, tensors: Tensors): void =>
  writeFileSync(path(file), writeSafetensors(Object.entries(tensors)));

const RECIPES: readonly Omit<Recipe, 'why'>[] = ['mine-a', 'mine-b', 'other'].map((name) => ({
  name, queryHeads: 4, kvHeads: 2, tokens: 20, headDim: 4, window: 3, types: { pattern: ['GWLWW', 'WWG'] },
}));
const cases: OracleCase[] = [];
const honest = (n: number): Tensors => honestOutputs(cases[n], { dtype: 'f32', order: 'ascending' });
const changed = (outputs: Tensors, name: string, change: (x: number, n: number) => number): Tensors =>
  ({ ...outputs, [name]: { ...outputs[name], data: outputs[name].data.map(change) } as NamedTensor });
/** [B,H,N,...] as [B,N,H,...]. */
const turned = (tensor: NamedTensor): NamedTensor => {
  const [B, H, N, ...rest] = tensor.shape;
  const d = rest.reduce((a, b) => a * b, 1);
  const data = tensor.data.map((_: number, n: number) => {
    const [c, h, i, b] = [n % d, Math.floor(n / d) % H, Math.floor(n / (d * H)) % N, Math.floor(n / (d * H * N))];
    return tensor.data[((b * H + h) * N + i) * d + c];
  });
  return { ...tensor, shape: [B, N, H, ...rest], data } as NamedTensor;
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'natsearch-options-'));
  writeFileSync(path('recipes.json'), JSON.stringify(RECIPES));
  expect(natsearch('vectors', '--recipes', 'recipes.json', '--out', 'vectors')).toMatchObject({ status: 0, stderr: '' });
  for (const recipe of RECIPES) cases.push(await makeCase({ ...recipe, why: 'a case of your own' }));
  for (const name of ['mine', 'turned', 'odd', 'arrays', 'heads']) mkdirSync(path(name));
  RECIPES.forEach(({ name }, n) => save(`mine/${name}.safetensors`, honest(n)));
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('natsearch vectors', () => {
  it('makes a folder of one\'s own recipes, and of a suite\'s cases by pattern', () => {
    const read = (name: string): { suite: string; cases: { name: string }[] } =>
      JSON.parse(readFileSync(path(name, 'manifest.json'), 'utf8')) as never;
    expect(read('vectors').suite).toMatch(/^recipes [0-9a-f]{12}$/);
    expect(read('vectors').cases.map(({ name }) => name)).toEqual(['mine-a', 'mine-b', 'other']);
    expect(natsearch('vectors', '--only', 'tile-6*,head-5', '--out', 'some')).toMatchObject({ status: 0, stderr: '' });
    expect(read('some').cases.map(({ name }) => name)).toEqual(['tile-63', 'tile-64', 'tile-65', 'head-5']);
    expect(readdirSync(path('some'))).toHaveLength(5);
  });

  it.each([
    ['a pattern without a case', ['--only', 'tile-66x'], '--only tile-66x matches no case: did you mean tile-6'],
    ['a file that is no JSON', ['--recipes', 'cut.json'], 'cut.json is not JSON'],
    ['a recipe that contradicts itself', ['--recipes', 'heads.json'], '3 query heads over 2 KV heads'],
    ['two recipes of one name', ['--recipes', 'twice.json'], 'two recipes named mine-a'],
    ['no recipes', ['--recipes', 'none.json'], 'none.json holds no list of recipes'],
  ])('refuses %s', (_, args, message) => {
    writeFileSync(path('cut.json'), '[{');
    writeFileSync(path('heads.json'), JSON.stringify([{ ...RECIPES[0], queryHeads: 3 }]));
    writeFileSync(path('twice.json'), JSON.stringify([RECIPES[0], RECIPES[0]]));
    writeFileSync(path('none.json'), '[]');
    const { status, stderr } = natsearch('vectors', ...args, '--out', 'refused');
    expect(stderr).toContain(message);
    expect(status).not.toBe(0);
  });
});

describe('natsearch verify', () => {
  it('judges the cases that patterns name', () => {
    const { status, stdout } = natsearch('verify', 'mine', '--vectors', 'vectors', '--only', 'mine-*');
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^2 cases: 2 pass, 0 fail/);
    expect(status).toBe(0);
    expect(natsearch('verify', 'mine', '--vectors', 'vectors', '--only', 'mine')).toMatchObject({ status: 2 });
  });

  it('takes [B,N,H,d], with lse as [B,H,N] or [B,N,H]', () => {
    const names = ['out', 'dq', 'dk', 'dv'];
    for (const lse of [true, false]) {
      RECIPES.forEach(({ name }, n) => save(`turned/${name}.safetensors`, Object.fromEntries(
        Object.entries(honest(n)).map(([key, tensor]) =>
          [key, names.includes(key) || (lse && key === 'lse') ? turned(tensor) : tensor]),
      )));
      expect(natsearch('verify', 'turned', '--vectors', 'vectors', '--layout', 'bnhd')).toMatchObject({ status: 0 });
    }
    expect(natsearch('verify', 'turned', '--vectors', 'vectors')).toMatchObject({ status: 1 });
  });

  it('takes a folder of .npy files per case', () => {
    mkdirSync(path('arrays', 'mine-a'));
    for (const [name, tensor] of Object.entries(honest(0))) writeFileSync(path('arrays', 'mine-a', `${name}.npy`), writeNpy(tensor));
    const { status, stdout } = natsearch('verify', 'arrays', '--vectors', 'vectors', '--only', 'mine-a');
    expect([status, stdout.includes('1 cases: 1 pass')]).toEqual([0, true]);
  });

  it('judges the other cases when one has a file that nothing can read, two files, or a stray beside it', () => {
    save('odd/other.safetensors', honest(2));
    save('odd/mine-b.safetensors', honest(1));
    writeFileSync(path('odd', 'mine-b.npz'), '');
    mkdirSync(path('odd', 'mine-a.safetensors'));
    save('odd/mine-c.safetensors', honest(0));
    const { status, stdout, stderr } = natsearch('verify', 'odd', '--vectors', 'vectors');
    expect(stderr).toMatch(/mine-c\.safetensors belongs to no case of .*: did you mean mine-a\?; it is left out/);
    expect(stdout).toMatch(/FAIL mine-a: .*(EISDIR|cannot|directory)/);
    expect(stdout).toContain('FAIL mine-b: mine-b has two files in odd');
    expect(stdout).toContain('3 cases: 1 pass, 2 fail');
    expect(status).toBe(1);
  });

  it('draws the errors as a map, in letters and on a page', () => {
    RECIPES.forEach(({ name }, n) => save(`heads/${name}.safetensors`, changed(honest(n), 'out', (x, at) =>
      (Math.floor(at / 80) % 2 === 1 && at % 80 >= 64 ? x + 1 : x))));
    const { status, stdout } = natsearch('verify', 'heads', '--vectors', 'vectors', '--html', 'page.html');
    expect(stdout).toContain('out by tiles of 16 queries (down) and query heads (across)');
    expect(stdout).toMatch(/\n {3}0 \|\.{4}\|\n {2}16 \|\.\d\.\d\|\n/);
    // Without a mask that explains them, errors are shared among the keys by the true probabilities:
    // rows from 16 alone.
    expect(stdout).toContain('out query head 1, by tiles of 16 queries (down) and 1 channel (across)');
    expect(stdout).toContain('where the errors of out may come from, query head 1, by tiles of 16 queries (down) and 16 keys (across)');
    expect(stdout).toMatch(/\n {3}0 \|\. \|\n {2}16 \|\d\d\|\n/);
    expect(stdout).toContain('out fails only in odd query heads, only in the last tile of 16 rows, which is not whole: in 2 of 4 query heads, 4 of 20 rows');
    expect(stdout).toMatch(/In common:\n(.*\n)*? {2}fails only in odd query heads \(in every failing case\)/);
    expect(status).toBe(1);
    const page = readFileSync(path('page.html'), 'utf8');
    expect(page).toMatch(/^<!doctype html>/);
    // Rows by heads, rows by channels of the worst head, and queries by keys.
    expect(page.match(/<svg /g)).toHaveLength(3 * 3);
    expect(page.match(/<rect /g)).toHaveLength(3 * (2 * 4 + 2 * 4 + 2 * 2));
    expect(page).not.toMatch(/undefined|<script/);
  });
});
