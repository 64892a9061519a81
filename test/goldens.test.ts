/**
 * Gradients by PyTorch's autograd through the relaxed mask (examples/python/torch_goldens.py, which says how to make
 * the fixture again): an independent witness in another language, which uses no formula of §4 or §5.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { createEngine } from '../src/index.ts';
import type { FloatTensor } from '../src/formats/named-tensor.ts';
import { readSafetensors } from '../src/formats/safetensors.ts';
import { makeCase, type OracleCase, SUITES } from '../src/vectors.ts';
import { engineOutputs } from './support/engine-outputs.ts';

const file = 'test/fixtures/goldens/autograd.safetensors';
const { tensors, metadata } = readSafetensors(readFileSync(new URL(`../${file}`, import.meta.url)), file);
const names = [...new Set([...tensors.keys()].map((name) => name.split('.')[0]))];
const GRADIENTS = ['dq', 'dk', 'dv', 'dg', 'dl', 'dw'];

const cases = new Map<string, OracleCase>();
beforeAll(async () => {
  for (const recipe of SUITES.small) if (names.includes(recipe.name)) cases.set(recipe.name, await makeCase(recipe));
});

/** The results of autograd for a case, by the names of its truths. */
function goldensOf(name: string): [string, FloatTensor][] {
  return [...tensors].filter(([key]) => key.startsWith(`${name}.`))
    .map(([key, tensor]) => [key.slice(name.length + 1), tensor as FloatTensor]);
}

/** Expects agreement to 1e-10 of the largest number of the tensor. */
function expectGolden(name: string, got: Readonly<Record<string, ArrayLike<number>>>): void {
  const goldens = goldensOf(name);
  const scored = cases.get(name)!.inputs.scores ? ['dscores'] : [];
  expect(goldens.map(([key]) => key).sort()).toEqual([...GRADIENTS, ...scored].sort());
  for (const [key, { data, shape }] of goldens) {
    expect(shape, key).toEqual(cases.get(name)!.expected[key].shape);
    const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    expect(largest, key).toBeGreaterThan(1e-2); // the comparison is not of zeros
    const errors = Array.from(data, (x, n) => Math.abs(got[key][n] - x));
    expect(Math.max(...errors) / largest, `${name}: ${key}`).toBeLessThan(1e-10);
  }
}

describe("autograd's goldens", () => {
  it('say what made them', () => {
    expect(metadata).toMatchObject({ suite: 'small', seed: '0', made_by: 'examples/python/torch_goldens.py' });
    for (const key of ['torch', 'numpy', 'python', 'device']) expect(metadata[key], key).toMatch(/\w/);
  });

  it('cover both rules, chunks, groups, batches, scores and a price', () => {
    const some = (holds: (each: OracleCase) => boolean): boolean => [...cases.values()].some(holds);
    expect(cases.size).toBe(names.length);
    expect(cases.size).toBeGreaterThanOrEqual(12);
    for (const rule of ['exact', 'bounded']) expect(some(({ parameters }) => parameters.rule === rule), rule).toBe(true);
    expect(some(({ parameters: { chunk, tokens } }) => chunk > 1 && tokens % chunk > 0)).toBe(true);
    expect(some(({ parameters: { queryHeads, kvHeads } }) => kvHeads > 1 && queryHeads > kvHeads)).toBe(true);
    expect(some(({ parameters }) => parameters.batch > 1)).toBe(true);
    expect(some(({ parameters, inputs }) => parameters.price > 0 && inputs.noise !== undefined)).toBe(true);
  });

  it.each(names)('the truths of %s agree to 1e-10', (name) => {
    const { expected } = cases.get(name)!;
    expectGolden(name, Object.fromEntries(Object.entries(expected).map(([key, { data }]) => [key, data])));
  });

  it.each(names)('the reference engine agrees to 1e-10 on %s', async (name) => {
    const engine = createEngine();
    try {
      expectGolden(name, await engineOutputs(engine, cases.get(name)!));
    } finally {
      engine.dispose();
    }
  });
});
