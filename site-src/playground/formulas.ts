/** Every formula of the page with the numbers of the query and the key that are looked at. */
import { TOKEN_TYPE_NAMES, TokenType } from '../../src/core/lifetime.ts';
import { closing, HEAD_SIZE, type Results, shownLast, typeOf } from './results.ts';

/** A formula, in HTML: with letters, with numbers, and what it gives. */
export interface Formula {
  readonly name: string;
  readonly letters: string;
  readonly numbers: string;
  /** The result; a check compares it with the reference. Undefined if it is no number. */
  readonly value: number | undefined;
  readonly shown: string;
  /** What stands before the result. Default: an equals sign. */
  readonly joint?: string;
}

/** The parts of the page in which formulas stand. */
export interface Formulas {
  readonly lifetime: readonly Formula[];
  readonly attention: readonly Formula[];
  readonly gradient: readonly Formula[];
  readonly cache: readonly Formula[];
}

/** A number for people, with a true minus. */
export const number = (x: number, digits: number = 3): string => {
  const text = Math.abs(x) < 0.5 * 10 ** -digits ? '0' : String(Number(x.toFixed(digits)));
  return text.replace('-', '−');
};
const sub = (name: string, ...at: (number | string)[]): string => `<i>${name}</i><sub>${at.join(',')}</sub>`;
/** The most terms of a sum that are written. */
const TERMS = 9;

const sumText = (terms: readonly number[]): string => {
  if (terms.length === 0) return '0 (an empty sum)';
  const [first, ...more] = terms.slice(0, TERMS);
  const text = number(first) + more.map((x) => ` ${x < 0 && number(x) !== '0' ? '−' : '+'} ${number(Math.abs(x))}`).join('');
  return terms.length > TERMS ? `${text} + … (${terms.length} terms)` : text;
};
const total = (terms: readonly number[]): number => terms.reduce((a, b) => a + b, 0);
const dotText = (x: Float64Array, n: number, y: Float64Array, m: number): string =>
  Array.from({ length: HEAD_SIZE }, (_, r) => `${number(x[2 * n + r])}·${braced(y[2 * m + r])}`).join(' + ');
/** A number that something stands before. */
const braced = (x: number): string => number(x).replace(/^−(.*)/, '(−$1)');
const dot = (x: Float64Array, n: number, y: Float64Array, m: number): number =>
  x[2 * n] * y[2 * m] + x[2 * n + 1] * y[2 * m + 1];

/** Writes all formulas for query i and key j of the setting. */
export function formulasOf(results: Results): Formulas {
  return {
    lifetime: lifetimeOf(results), attention: attentionOf(results), gradient: gradientOf(results),
    cache: cacheOf(results),
  };
}

function lifetimeOf(results: Results): Formula[] {
  const { setting: { i, j, chunk: C, window: W }, last, mask, N } = results;
  const c = Math.floor(j / C);
  const type = typeOf(results, j);
  const e = closing(results, c);
  const unfinished = (c + 1) * C > N ? ', since its chunk is not full' : '';
  const end = C === 1 ? `${j} + ${W}` : `${(c + 1) * C - 1} + ${W}`;
  const how = type === TokenType.GLOBAL ? `GLOBAL${unfinished}`
    : type === TokenType.LOCAL ? `LOCAL, and the next GLOBAL ${e === undefined ? 'is not there yet' : `ends at ${e}`}`
      : `WINDOW: ${C === 1 ? '<i>j</i>' : 'the end of its chunk'} + <i>W</i> = ${end}`;
  return [
    {
      name: 'Lifetime', numbers: `${sub('t', j)} = ${how}`, value: last[j], joint: '→', shown: shownLast(last[j]),
      letters: `${sub('last', 'j')} = ∞ if GLOBAL, ${sub('e', 'j')}, the next GLOBAL, if LOCAL, <i>j</i> + <i>W</i> if WINDOW`,
    },
    {
      name: 'Mask', letters: `${sub('M', 'i', 'j')} = [<i>j</i> ≤ <i>i</i> ≤ ${sub('last', 'j')}]`,
      numbers: `[${j} ≤ ${i} ≤ ${shownLast(last[j])}]`, value: mask[i * N + j], shown: String(mask[i * N + j]),
    },
    {
      name: 'Kept', letters: `2 (min(${sub('last', 'j')}, <i>N</i> − 1) − <i>j</i>) / <i>N</i>`,
      numbers: `2 (${Math.min(last[j], N - 1)} − ${j}) / ${N}; the mean of all tokens is ${number(results.share)}`,
      value: 2 * (Math.min(last[j], N - 1) - j) / N, shown: number(2 * (Math.min(last[j], N - 1) - j) / N),
    },
  ];
}

/** S, A, P′ and D of a pair. */
export function pairOf({ q, k, v, dOut, out, lse, mask, N }: Results, i: number, j: number): {
  S: number; A: number; P: number; D: number;
} {
  const S = dot(q, i, k, j) / Math.sqrt(HEAD_SIZE);
  return { S, A: mask[i * N + j] * Math.exp(S - lse[i]), P: dot(dOut, i, v, j), D: dot(dOut, i, out, i) };
}

function attentionOf(results: Results): Formula[] {
  const { setting: { i, j, rule }, q, k, v, dOut, out, lse, mask, dM, N } = results;
  if (j > i) {
    const numbers = `key ${j} comes after query ${i}, which cannot see it`;
    return [{ name: 'Attention', letters: '<i>j</i> ≤ <i>i</i>', numbers, value: undefined, shown: '' }];
  }
  const { S, A, P, D } = pairOf(results, i, j);
  const scores = Array.from({ length: i + 1 }, (_, n) => pairOf(results, i, n).S);
  const visible = scores.filter((_, n) => mask[i * N + n] === 1);
  const nu = rule === 'exact' ? lse[i] : Math.log(total(scores.map(Math.exp)));
  const normal = rule === 'exact' ? sub('lse', 'i') : sub('ν', 'i');
  const output = Array.from({ length: i + 1 }, (_, n) => n).filter((n) => mask[i * N + n] === 1);
  const one = (name: string, letters: string, numbers: string, value: number): Formula =>
    ({ name, letters, numbers, value, shown: number(value) });
  return [
    one('Score', `${sub('S', 'i', 'j')} = ${sub('q', 'i')} · ${sub('k', 'j')} / √2`, `(${dotText(q, i, k, j)}) / √2`, S),
    one('Log-sum-exp', `${sub('lse', 'i')} = log Σ exp(${sub('S', 'i', 'n')}) over what is seen`, `log(${visible.slice(0, TERMS).map((s) => number(Math.exp(s))).join(' + ')}${visible.length > TERMS ? ' + …' : ''})`, lse[i]),
    one('Weight', `${sub('A', 'i', 'j')} = ${sub('M', 'i', 'j')} exp(${sub('S', 'i', 'j')} − ${sub('lse', 'i')})`, `${mask[i * N + j]} · exp(${number(S)} − ${braced(lse[i])})`, A),
    one('Output', `${sub('o', 'i')} = Σ ${sub('A', 'i', 'n')} ${sub('v', 'n')}, its first number`, sumText(output.map((n) => pairOf(results, i, n).A * v[2 * n])), out[2 * i]),
    one('Would it help', `${sub('P′', 'i', 'j')} = ${sub('do', 'i')} · ${sub('v', 'j')}`, dotText(dOut, i, v, j), P),
    one('In common', `${sub('D', 'i')} = ${sub('do', 'i')} · ${sub('o', 'i')}`, dotText(dOut, i, out, i), D),
    ...(rule === 'exact' ? [] : [one('All causal keys', `${sub('ν', 'i')} = log Σ<sub>n ≤ i</sub> exp(${sub('S', 'i', 'n')})`, `log(${scores.slice(0, TERMS).map((s) => number(Math.exp(s))).join(' + ')}${scores.length > TERMS ? ' + …' : ''})`, nu)]),
    one('Gradient of the mask', `${sub('dM', 'i', 'j')} = exp(${sub('S', 'i', 'j')} − ${normal}) (${sub('P′', 'i', 'j')} − ${sub('D', 'i')})`, `exp(${number(S)} − ${braced(nu)}) (${number(P)} − ${braced(D)})`, dM[i * N + j]),
  ];
}

/** The sums of §5 for chunk c, term by term: a term for each pair of query and key. */
export function typeTerms(results: Results, c: number): { dg: number[]; closed: number[]; dl: number[]; dw: number[] } {
  const { dM, N, chunks, types, setting: { chunk: C, window: W } } = results;
  const end = (of: number): number => closing(results, of) ?? N - 1;
  const column = (of: number, from: (j: number) => number, to: number): number[] => {
    const terms: number[] = [];
    for (let j = of * C; j < Math.min((of + 1) * C, N); j++) {
      for (let i = from(j); i <= Math.min(to, N - 1); i++) terms.push(dM[i * N + j]);
    }
    return terms;
  };
  const own = (j: number): number => j;
  const after = Math.min((c + 1) * C, N); // the first query beyond the chunk
  const closed: number[] = [];
  for (let k = 0; k < c && c < chunks; k++) {
    const isOpen = types[k] === TokenType.LOCAL && end(k) >= Math.min((c + 1) * C - 1, N - 1);
    if (isOpen) closed.push(...column(k, () => after, end(c)));
  }
  return {
    dg: column(c, own, N - 1), closed, dl: column(c, own, end(c)), dw: column(c, own, (c + 1) * C - 1 + W),
  };
}

function gradientOf(results: Results): Formula[] {
  const { setting: { j, chunk: C, window: W, lambda }, N, priced, weight } = results;
  const c = Math.floor(j / C);
  const e = closing(results, c) ?? N - 1;
  const { dg, closed, dl, dw } = typeTerms(results, c);
  const keys = Array.from({ length: Math.min((c + 1) * C, N) - c * C }, (_, n) => c * C + n);
  const price = (until: number): number => total(keys.map((key) => weight * (Math.min(until, N - 1) - key)));
  const prices = [price(N - 1), price(e), price((c + 1) * C - 1 + W)];
  const of = C === 1 ? sub('dM', 'i', 'j') : `${sub('dM', 'i', 'n')} over the keys <i>n</i> of the chunk`;
  const paid = (n: number): string => (lambda > 0 ? ` + ${number(prices[n], 4)} for memory` : '');
  const one = (name: string, letters: string, numbers: string, value: number): Formula =>
    ({ name, letters, numbers, value, shown: number(value) });
  const index = C === 1 ? 'j' : 'c';
  return [
    ...relaxedOf(results),
    one(TOKEN_TYPE_NAMES[0], `${sub('dg', index)} = Σ<sub>j ≤ i</sub> ${of}, less the rows ${sub('dM', 'i', 'k')} of LOCAL <i>k</i> before it that it would close, up to ${sub('e', index)}`,
      `${sumText(dg)}${closed.length > 0 ? ` − (${sumText(closed)})` : ' − 0'}${paid(0)}`, total(dg) - total(closed) + prices[0]),
    one(TOKEN_TYPE_NAMES[1], `${sub('dl', index)} = Σ<sub>j ≤ i ≤ ${e}</sub> ${of}`, `${sumText(dl)}${paid(1)}`, total(dl) + prices[1]),
    one(TOKEN_TYPE_NAMES[2], `${sub('dw', index)} = Σ<sub>j ≤ i ≤ ${Math.min((c + 1) * C - 1 + W, N - 1)}</sub> ${of}`, `${sumText(dw)}${paid(2)}`, total(dw) + prices[2]),
    {
      name: 'Descent', letters: 'the type whose derivative is the least', value: undefined, joint: '→',
      numbers: [0, 1, 2].map((n) => `${TOKEN_TYPE_NAMES[n]} ${number(priced[3 * c + n])}`).join(', '),
      shown: TOKEN_TYPE_NAMES[leastOf(priced, c)],
    },
  ];
}

/** The mask for types that are real numbers, at the types as they are (§5). */
function relaxedOf(results: Results): Formula[] {
  const { setting: { i, j, chunk: C, window: W }, types } = results;
  if (j > i) return [];
  const [c, r] = [Math.floor(j / C), Math.floor(i / C)];
  const [g, l, w] = [0, 1, 2].map((type) => Number(types[c] === type));
  const between = Array.from(types.slice(c + 1, r), (type) => Number(type === TokenType.GLOBAL));
  const open = Number(!between.includes(1));
  const end = (c + 1) * C - 1 + W;
  const product = between.length === 0 ? '1' : between.slice(0, TERMS).map((x) => `(1 − ${x})`).join('') + (between.length > TERMS ? '…' : '');
  const [of, n] = C === 1 ? ['j', 'j &lt; n &lt; i'] : ['c', 'c &lt; n &lt; r'];
  const value = g + l * open + w * Number(i <= end);
  return [{
    name: 'Relaxed mask', value, shown: String(value),
    letters: `${sub('M', 'i', 'j')} = ${sub('g', of)} + ${sub('l', of)} Π<sub>${n}</sub> (1 − ${sub('g', 'n')}) + ${sub('w', of)} [<i>i</i> ≤ ${C === 1 ? '<i>j</i>' : 'end'} + <i>W</i>]`,
    numbers: `${g} + ${l} · ${product} + ${w} · [${i} ≤ ${end}]`,
  }];
}

/** The type that a step of gradient descent makes more of, relative to the others. */
export function leastOf(gradient: Float64Array, c: number): 0 | 1 | 2 {
  const [g, l, w] = gradient.subarray(3 * c, 3 * c + 3);
  return g <= l && g <= w ? 0 : l <= w ? 1 : 2;
}

function cacheOf({ setting: { i, j }, held, last, N }: Results): Formula[] {
  const holds = held[i].includes(j);
  return [
    {
      name: 'Cache', letters: `held after query <i>i</i>: { <i>j</i> ≤ <i>i</i> : ${sub('last', 'j')} ≥ <i>i</i> + 1 }`,
      numbers: held[i].length === 0 ? 'nothing' : `{ ${[...held[i]].join(', ')} }`, value: held[i].length,
      shown: `${held[i].length} of ${i + 1}`,
    },
    {
      name: 'Entry', letters: `${sub('last', 'j')} ≥ <i>i</i> + 1`, value: Number(holds),
      joint: '→',
      numbers: j > i ? `key ${j} has not arrived` : `${shownLast(last[j])} ≥ ${i + 1}${i === N - 1 ? ', if there were a next query' : ''}`,
      shown: holds ? 'held' : 'not held',
    },
  ];
}
