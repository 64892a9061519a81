/**
 * How far the float64 truths of the small suite are from the values in 64 decimal digits. mathjs computes
 * every case; where the strings of docs/equations.ts are fast enough, they confirm the loops of support/ruler.ts.
 */
import type { BigNumber } from 'mathjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { evaluateDefinitions, type Scope } from '../docs/mathematics.ts';
import { createEngine } from '../src/index.ts';
import { makeCase, type OracleCase, SUITES } from '../src/vectors.ts';
import { engineOutputs } from './support/engine-outputs.ts';
import { big, digits, type Exact, type ExactTruths, exactTruths } from './support/ruler.ts';
import { evaluateEquation, rowsOf } from './support/mathjs.ts';
import { THOROUGH } from './support/thorough.ts';

/** The allowed error of float64. Some error must be there, or nothing was measured. */
const BOUND = 1e-12;
/** The least magnitude to which errors are relative, since float64 flushes what is below 2^-1074 to 0. */
const TINY = 2 ** -960;

/** Only the cases that take little time in 64 digits. */
const RECIPES = SUITES.small.filter(({ tokens, headDim, queryHeads }) =>
  THOROUGH || tokens * tokens * headDim * queryHeads < 5_000);

const found = new Map<string, { readonly each: OracleCase; readonly exact: ExactTruths }>();
beforeAll(async () => {
  for (const recipe of RECIPES) {
    const each = await makeCase(recipe);
    found.set(recipe.name, { each, exact: exactTruths(each) });
  }
}, 600_000);

/**
 * The largest relative error of `got`. lse is relative to itself. Every other value is a sum whose terms may cancel,
 * so its error is relative to the sum of their magnitudes, with |do . o| and |do . v| within a term expanded in the
 * same way.
 */
function worst(got: ArrayLike<number>, { value, size }: Exact, skip: ReadonlySet<number>): number {
  expect(got.length).toBe(value.length);
  let most = 0;
  value.forEach((x, n) => {
    if (skip.has(n)) return;
    const error = Math.abs(Number(x.minus(big(got[n]))));
    most = Math.max(most, error / Math.max(size[n], TINY)); // NaN stays NaN, which is not below the bound
  });
  return most;
}

/** The worst error of every tensor over all cases, by name, with the case. */
class Table {
  readonly rows = new Map<string, { error: number; at: string; count: number }>();

  add(name: string, { each, exact }: { each: OracleCase; exact: ExactTruths }, got: ArrayLike<number>): void {
    const skip = new Set(each.notCompared[name]);
    const error = worst(got, exact.reals[name], skip);
    const row = this.rows.get(name) ?? { error: 0, at: '', count: 0 };
    const count = row.count + got.length - skip.size;
    this.rows.set(name, !(error <= row.error) ? { error, at: each.name, count } : { ...row, count });
  }

  toString(): string {
    return [...this.rows].map(([name, { error, at, count }]) =>
      `  ${name.padEnd(8)} ${error.toExponential(1)} (${at}; ${count} numbers)`).join('\n');
  }
}

const REALS = ['out', 'lse', 'dv', 'dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg', 'dscores'];

function expectBelow({ rows }: Table, names: readonly string[]): void {
  expect([...rows.keys()].sort()).toEqual([...names].sort());
  for (const [name, { error }] of rows) {
    expect(error, name).toBeLessThan(BOUND);
    expect(error, name).toBeGreaterThan(0);
  }
}

describe('against 64 digits, on every case of the small suite', () => {
  it('types and last are the same numbers', () => {
    for (const { each: { name, inputs, expected, parameters: { tokens: N } }, exact } of found.values()) {
      expect([...(inputs.types ?? expected.types).data], name).toEqual(exact.types);
      const within = (last: Iterable<number>): number[] => [...last].map((x) => Math.min(x, N - 1));
      expect(within(expected.last.data as Int32Array), name).toEqual(within(exact.last));
    }
  });

  it('the truths are right to 1e-12, relative', () => {
    const table = new Table();
    for (const one of found.values()) {
      for (const name of Object.keys(one.exact.reals)) table.add(name, one, one.each.expected[name].data);
    }
    console.log(`Truths of the small suite against 64 digits, largest relative error:\n${table.toString()}`);
    expectBelow(table, REALS);
  });

  it('the reference engine is right to 1e-12, relative', async () => {
    const engine = createEngine();
    const table = new Table();
    for (const one of found.values()) {
      const got = await engineOutputs(engine, one.each);
      for (const [name, data] of Object.entries(got)) table.add(name, one, data);
    }
    engine.dispose();
    console.log(`The reference engine against 64 digits, largest relative error:\n${table.toString()}`);
    expectBelow(table, REALS.filter((name) => name !== 'dm_rows')); // which no operation of the engine gives
  });
});

describe('the loops in 64 digits', () => {
  const chosen = RECIPES.filter(({ name }) =>
    ['one-token', 'odd-3', 'head-5', ...(THOROUGH ? ['batch'] : []), 'global-adjacent', 'price', 'temperature-half'].includes(name));

  it.each(chosen.map(({ name }) => name))('are the equations of the chapter, in 64 digits: %s', (name) => {
    const { each, exact } = found.get(name)!;
    const { batch: B, kvHeads: G } = each.parameters;
    for (let head = 0; head < B * G; head++) {
      const truth = byEquations(each, head);
      for (const [tensor, values] of Object.entries(truth)) {
        const all = exact.reals[tensor];
        const at = head * values.length;
        expect(all.value.length).toBe(B * G * values.length);
        values.forEach((x, n) => {
          const error = Math.abs(Number(all.value[at + n].minus(x)));
          expect(error, `${tensor} ${n}`).toBeLessThanOrEqual(1e-55 * Math.max(all.size[at + n], 1e-9));
        });
      }
    }
  });

  /** Every float truth of one KV head, by the strings of docs/equations.ts. */
  function byEquations({ inputs, parameters }: OracleCase, head: number): Record<string, BigNumber[]> {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d, window: W, rule, scale, temperature, price } = parameters;
    const evaluate = (id: string, scope: Scope): Scope => evaluateEquation(id, scope, digits);
    const R = H / G;
    const bigs = (name: string): BigNumber[] => [...inputs[name].data].map(big);
    const rows = (name: string, n: number): BigNumber[][] => rowsOf(bigs(name), d).slice(n * N, (n + 1) * N);
    const triples = (name: string): BigNumber[][] | undefined => inputs[name] && rowsOf(bigs(name), 3);
    const zero = [big(0), big(0), big(0)];
    const y: BigNumber[][] = [];
    const t = Array.from({ length: N }, (_, j) => {
      const n = head * N + j;
      if (inputs.types) return inputs.types.data[n];
      const given = { s: triples('scores')![n], u: triples('noise')?.[n] ?? zero, tau: big(temperature) };
      const chosen = evaluate('types', given);
      y.push(chosen['y'] as BigNumber[]);
      return inputs.forced?.data[Math.floor(head / G) * N + j] === 1 ? 0 : chosen['t'] as number;
    });
    const { last } = evaluate('lifetime', { N, W, t });
    const results: Record<string, BigNumber[]> = { out: [], lse: [], dq: [] };
    const sums: Scope = {};
    const add = (name: string, x: unknown): void =>
      void (sums[name] = sums[name] ? digits.add(sums[name] as BigNumber[], x as BigNumber[]) : x);
    const base = { N, d, W, t, last, scale: big(scale), k: rows('k', head), v: rows('v', head) };
    for (let h = head * R; h < (head + 1) * R; h++) {
      let scope: Scope = { ...base, q: rows('q', h), do: rows('dout', h) };
      const ids = ['scores', 'mask', 'attention', 'attention-backward', `mask-gradient-${rule}`];
      for (const id of ids) scope = evaluate(id, scope);
      results['out'].push(...(scope['o'] as BigNumber[][]).flat());
      results['lse'].push(...scope['lse'] as BigNumber[]);
      results['dq'].push(...(scope['dq'] as BigNumber[][]).flat());
      for (const name of ['dk', 'dv', 'dM']) add(name, scope[name]);
    }
    for (const name of ['dk', 'dv']) results[name] = (sums[name] as BigNumber[][]).flat();
    const rowSums = { expressions: ['s[i] = total(j, j <= i, dM[i, j])'] };
    results['dm_rows'] = evaluateDefinitions(digits, rowSums, { N, dM: sums['dM'] })['s'] as BigNumber[];
    const gradient = evaluate('type-gradient', { N, W, t, dM: sums['dM'] });
    for (const name of ['dg', 'dl', 'dw']) results[name] = gradient[name] as BigNumber[];
    if (y.length === 0) return results;
    // K = price: in the chapter K is 2 lambda / (L G B N^2), of which all but lambda can be chosen here.
    const Kdt = evaluate('price', { N, W, t, L: 1, G: 1, B: 1, lambda: big(price).times(N * N / 2) });
    results['dscores'] = y.flatMap((p, j) => {
      if (inputs.forced?.data[Math.floor(head / G) * N + j] === 1) return zero;
      const dt = ['g', 'l', 'w'].map((c) =>
        digits.add((gradient[`d${c}`] as BigNumber[])[j], (Kdt[`K${c}`] as BigNumber[])[j]));
      return evaluate('types-backward', { y: p, dt, tau: big(temperature) })['ds'] as BigNumber[];
    });
    return results;
  }
});
