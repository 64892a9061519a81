/**
 * examples/python/numpy_attention.py, written from the equations in another language, agrees with the truths, so that
 * each confirms the other.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeCase, readManifest, SUITES, verifyCase } from '../src/vectors.ts';
import { readNpz } from '../src/formats/npz.ts';
import { describePython, natsearch, runExample } from './support/python.ts';

const SCRIPT = 'numpy_attention.py';

describePython(SCRIPT, () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'natsearch-python-'));
    const { code, stderr } = natsearch('vectors', '--format', 'npz', '--out', join(folder, 'vectors'));
    expect(code, stderr).toBe(0);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([['float64', 'f64'], ['float32', 'f32']])(
    'passes natsearch verify on every case of the small suite in %s',
    (dtype, claim) => {
      const [vectors, outputs] = [join(folder, 'vectors'), join(folder, dtype)];
      const made = runExample(SCRIPT, vectors, '--out', outputs, '--dtype', dtype);
      expect(made.code, made.stderr).toBe(0);
      const { code, stdout, stderr } = natsearch('verify', outputs, '--vectors', vectors, '--dtype', claim, '--json');
      expect(code, stderr + stdout.slice(0, 2000)).toBe(0);
      const { passed, cases } = JSON.parse(stdout) as { passed: number; cases: number };
      expect([passed, cases]).toEqual([SUITES.small.length, SUITES.small.length]);
    }, 120_000);

  it('computes every output itself, whatever the truths in the file are', async () => {
    const vectors = join(folder, 'vectors');
    const { code, stderr } = runExample(SCRIPT, vectors, '--out', join(folder, 'one'), '--case', 'price-chunks');
    expect(code, stderr).toBe(0);
    const file = join(folder, 'one', 'price-chunks.npz');
    const outputs = Object.fromEntries(await readNpz(readFileSync(file), { file }));
    const recipe = SUITES.small.find(({ name }) => name === 'price-chunks')!;
    const { tensors } = verifyCase(await makeCase(recipe), outputs, { dtype: 'f64' });
    expect(tensors.filter(({ status }) => status !== 'pass').map(({ name }) => name)).toEqual([]);
    // Another way of computing rounds differently, so equal bits everywhere would mean a copy.
    expect(Math.max(...tensors.map(({ maxAbsolute }) => maxAbsolute))).toBeGreaterThan(0);
    expect(readManifest(readFileSync(join(vectors, 'manifest.json'), 'utf8')).cases.map(({ name }) => name))
      .toContain('price-chunks');
  });

  it.each<[string, string[], RegExp]>([
    ['a folder', ['nowhere'], /npx natsearch vectors --format npz --out/],
    ['a case', ['vectors', '--case', 'nosuch'], /manifest\.json has no case nosuch\n$/],
  ])('says what is wrong with %s, and how to go on', (_, [name, ...more], message) => {
    const { code, stderr } = runExample(SCRIPT, join(folder, name), ...more);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });

  it.each(['--help'])('prints its help with %s', (help) => {
    expect(runExample(SCRIPT, help).stdout).toMatch(/--case NAME[^]*--dtype/);
  });
});
