/**
 * The terms that make up a row of an output, one for each pair of query and key, in the forms in which a kernel may
 * count them too often or not at all.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { oftenness } from './terms-hypotheses.ts';
import { attend } from './forward-hypotheses.ts';
import type { Scene, Sees } from './scene.ts';
import type { OutputName } from '../types.ts';

/** A pair of query i, in query head `query` / N, and key j. */
export interface Term {
  readonly i: number;
  readonly j: number;
  readonly query: number;
}

/** How terms make up a row. */
export interface Form {
  readonly output: OutputName;
  readonly name: DiagnosisName;
  /** The factor that a mask explains: -1 of visible pairs, 1 of hidden ones. */
  readonly mask?: -1 | 1;
  /** Of the forms that masks change: whose pairs. */
  readonly kind?: 'visible' | 'hidden' | 'later';
  /** Which pairs are looked at. */
  readonly domain: (scene: Scene, head: number, i: number, j: number) => boolean;
  readonly words: (pairs: string) => string;
  readonly times: (factor: number) => string;
  /** What is wrong with a number, as far as it is linear in the terms. */
  readonly off: (actual: number, truth: number) => number;
  /** What a term that counts once more adds to that, in channel c, where the output has the number `actual`. */
  readonly term: (row: number, term: Term, c: number, actual: number) => number;
  /** The part of the sum of the weights that a term is, where rows are divided by that. */
  readonly weight?: (term: Term) => number;
  /** The row with `factor` more of some terms. */
  readonly made: (row: number, terms: readonly Term[], factor: number, truth: Float64Array) => ArrayLike<number>;
}

const visible: Form['domain'] = (scene, head, i, j) => scene.sees(head, i, j);
const hidden: Form['domain'] = (scene, head, i, j) => j <= i && !scene.sees(head, i, j);
const later: Form['domain'] = (_scene, _head, i, j) => j > i;
const causal: Form['domain'] = (_scene, _head, i, j) => j <= i;

/** The terms of a row among which a form looks. */
export function termsOf(scene: Scene, { output, domain }: Form, row: number): readonly Term[] {
  const { N } = scene;
  const terms: Term[] = [];
  if (output === 'dk' || output === 'dv' || output === 'dm_rows') {
    const [head, at] = [Math.floor(row / N), row % N];
    for (let n = 0; n < N; n++) {
      const [i, j] = output === 'dm_rows' ? [at, n] : [n, at];
      if (domain(scene, head, i, j)) for (const query of scene.queriesOf(head, i)) terms.push({ i, j, query });
    }
    return terms;
  }
  const [head, i] = [scene.headOf(row), row % N];
  for (let j = 0; j < N; j++) if (domain(scene, head, i, j)) terms.push({ i, j, query: row });
  return terms;
}

/** Row `query` of out or lse by another mask. A row without a key is what the kernel makes of nothing. */
export function maskedRow(scene: Scene, output: OutputName, query: number, sees: Sees): ArrayLike<number> {
  const row = scene.row(query, { sees });
  if (row.keys.length > 0) {
    const { out, lse } = attend(scene, row);
    return output === 'lse' ? [lse] : out;
  }
  const width = output === 'lse' ? 1 : scene.d;
  const actual = scene.outputs[output].data.subarray(query * width, (query + 1) * width);
  return actual.every((x) => x === 0 || !Number.isFinite(x)) ? actual : new Float64Array(width).fill(NaN);
}

const often = (factor: number): string => {
  const times = 1 + factor;
  const rounded = Math.abs(times - Math.round(4 * times) / 4) < 5e-3 ? Math.round(4 * times) / 4 : undefined;
  return rounded === 0 ? ': left out' : rounded === undefined ? `: ${oftenness(times)}` : `: times ${rounded}`;
};
const counted = (factor: number): string =>
  (Math.abs(factor - 1) < 0.02 ? ', though hidden, count' : `, though hidden, count ${factor < 0 ? 'with another sign' : `times ${Number(factor.toPrecision(2))}`}`);

/** The forms of an output, the most likely first. */
export function* formsOf(scene: Scene, output: OutputName): Generator<Form> {
  const { N, d, k, q, v, dout, parameters: { scale, rule } } = scene;
  const keyOf = ({ query, j }: Term): number => scene.headOf(query) * N + j;
  const weight = (term: Term): number => scene.weight(term.query, keyOf(term));
  const linear = (actual: number, truth: number): number => actual - truth;
  const base = { output, name: 'terms-weighed' as DiagnosisName, words: (pairs: string) => pairs, off: linear };
  const sums = (term: Form['term']): Pick<Form, 'term' | 'made'> => ({
    term,
    made: (row, terms, factor, truth) => Array.from(truth, (x, c) =>
      terms.reduce((sum, each) => sum + factor * term(row, each, c, 0), x)),
  });
  const domains = [[visible, often, -1, 'visible'], [hidden, counted, 1, 'hidden'], [later, counted, 1, 'later']] as const;
  if (output === 'out' || output === 'cache_out') {
    const value = (term: Term, c: number): number => v[keyOf(term) * d + c];
    for (const [domain, times, mask, kind] of domains) {
      yield {
        ...base, kind, domain, times, mask, weight, term: (_, term, c, a) => weight(term) * (value(term, c) - a),
        made: (_, terms, factor, truth) => {
          const Z = terms.reduce((sum, term) => sum + factor * weight(term), 1);
          return Array.from(truth, (x, c) =>
            terms.reduce((sum, term) => sum + factor * weight(term) * value(term, c), x) / Z);
        },
      };
      yield { ...base, domain, times, words: (pairs) => `in P v, but not in Z, ${pairs}`, ...sums((_, term, c) => weight(term) * value(term, c)) };
      yield {
        ...base, domain, times: (factor) => times(factor).replace(': left out', ''), name: 'normaliser-other',
        words: (pairs) => (mask === -1 ? `the sum without ${pairs}` : `the sum with ${pairs}`),
        weight, term: (_, term, _c, a) => -weight(term) * a,
        made: (_, terms, factor, truth) => {
          const Z = terms.reduce((sum, term) => sum + factor * weight(term), 1);
          return truth.map((x) => x / Z);
        },
      };
    }
  } else if (output === 'lse') {
    for (const [domain, times, mask, kind] of domains) {
      yield {
        ...base, kind, domain, times, mask, weight,
        off: (actual, truth) => Math.exp(actual - truth) - 1, term: (_, term) => weight(term),
        made: (_, terms, factor, [lse]) =>
          [lse + Math.log(terms.reduce((sum, term) => sum + factor * weight(term), 1))],
      };
    }
  } else if (output === 'dv') {
    for (const [domain, times, , kind] of domains) {
      yield { ...base, kind, domain, times, ...sums((_, term, c) => weight(term) * dout[term.query * d + c]) };
    }
  } else if (output === 'dq' || output === 'dk') {
    const of = output === 'dq' ? (term: Term, c: number): number => scale * k[keyOf(term) * d + c]
      : (term: Term, c: number): number => scale * q[term.query * d + c];
    for (const [domain, times, , kind] of domains) {
      const dS = (term: Term): number => weight(term) * (scene.gain(term.query, keyOf(term)) - scene.D(term.query));
      yield { ...base, kind, domain, times, ...sums((_, term, c) => dS(term) * of(term, c)) };
    }
    yield { ...base, domain: visible, times: often, words: (pairs) => `D, of ${pairs}`, ...sums((_, term, c) => -weight(term) * scene.D(term.query) * of(term, c)) };
    yield { ...base, domain: visible, times: often, words: (pairs) => `dP, of ${pairs}`, ...sums((_, term, c) => weight(term) * scene.gain(term.query, keyOf(term)) * of(term, c)) };
  } else if (output === 'dm_rows') {
    const norm = (query: number): number => (rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
    const P = (term: Term): number => Math.exp(scale * scene.product(term.query, keyOf(term)) - norm(term.query));
    const dM = (term: Term): number => P(term) * (scene.gain(term.query, keyOf(term)) - scene.D(term.query));
    yield { ...base, domain: causal, times: often, ...sums((_, term) => dM(term)) };
    yield { ...base, domain: visible, times: often, words: (pairs) => `visible pairs, of ${pairs}`, ...sums((_, term) => dM(term)) };
    yield { ...base, domain: hidden, times: often, words: (pairs) => `hidden pairs, of ${pairs}`, ...sums((_, term) => dM(term)) };
    yield { ...base, domain: causal, times: often, words: (pairs) => `D, of ${pairs}`, ...sums((_, term) => -P(term) * scene.D(term.query)) };
  }
}
