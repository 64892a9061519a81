/** The mask and the cache as pictures. */
import { svg } from '../time-machine/dom.ts';
import { LETTERS } from './setting.ts';
import { number, pairOf } from './formulas.ts';
import { type Results, typeOf } from './results.ts';

/** What the mask shows in its places. */
export type Shows = 'types' | 'weights' | 'gradient';

const COLOURS = ['--tm-global', '--tm-local', '--tm-window'] as const;
/** Letters and signs are drawn in places that are large enough for them. */
const LEGIBLE = 20;

/** The space for numbers beside the squares, in squares: more of them for more tokens, or nobody could read them. */
export const margin = (N: number): number => 1.1 * Math.max(1, N / 16);

const viewBox = (across: number, N: number): string =>
  `${-margin(N)} ${-margin(N)} ${across + margin(N) + 0.2} ${N + margin(N) + 0.2}`;

/** A square of the picture, with a letter or a sign. */
function place(x: number, y: number, style: string, label: string, kind: string = ''): SVGElement[] {
  const cell = svg('rect', { x, y, width: 1, height: 1, class: 'pg-cell', style });
  return label === '' ? [cell] : [cell, svg('text', { x: x + 0.5, y: y + 0.54, class: `pg-label ${kind}` }, label)];
}

function axes(N: number, rows: boolean, i: number, j: number | undefined): SVGElement[] {
  const every = N <= 14 ? 1 : N <= 28 ? 2 : 5;
  const away = margin(N) / 2;
  const style = `font-size: ${0.38 * margin(N)}px`;
  return Array.from({ length: N }, (_, n) => n).filter((n) => n % every === 0).flatMap((n) => [
    ...(rows ? [svg('text', { x: -away, y: n + 0.52, style, class: `pg-axis${n === i ? ' pg-now' : ''}` }, String(n))] : []),
    ...(j === undefined ? [] : [svg('text', { x: n + 0.5, y: -away, style, class: `pg-axis${n === j ? ' pg-now' : ''}` }, String(n))]),
  ]);
}

/** What a place of the mask says to a screen reader. */
export function pairWords(results: Results, i: number, j: number): string {
  if (j > i) return `query ${i}, key ${j}: later than the query`;
  const { A } = pairOf(results, i, j);
  const dM = number(results.dM[i * results.N + j]);
  return results.mask[i * results.N + j] === 1 ? `query ${i} sees key ${j}, weight ${A.toFixed(3)}, gradient ${dM}`
    : `key ${j} is hidden from query ${i}, gradient ${dM}`;
}

/** The mask, or weights or gradients in its places. */
export function maskPicture(results: Results, shows: Shows): SVGElement {
  const { N, mask, dM, setting: { i, j } } = results;
  const strongest = Math.max(...dM.map(Math.abs), 1e-9);
  const picture = svg('svg', {
    viewBox: viewBox(N, N), tabindex: 0, role: 'img', 'aria-label': `mask; ${pairWords(results, i, j)}`, 'data-keys': '',
  });
  for (let row = 0; row < N; row++) {
    for (let key = 0; key <= row; key++) {
      const seen = mask[row * N + key] === 1;
      const type = typeOf(results, key);
      const letter = N <= LEGIBLE ? LETTERS[type] : '';
      if (shows === 'gradient') {
        const x = dM[row * N + key];
        const strength = Math.round(100 * Math.sqrt(Math.abs(x) / strongest));
        const colour = x < 0 ? '--pg-less' : '--pg-more';
        const sign = N <= LEGIBLE && strength > 8 ? (x < 0 ? '−' : '+') : '';
        picture.append(...place(key, row, `fill: color-mix(in srgb, var(${colour}) ${strength}%, var(--panel)); stroke-dasharray: ${seen ? 'none' : '.12 .12'}`, sign, 'pg-sign'));
      } else if (shows === 'weights') {
        const strength = Math.round(100 * pairOf(results, row, key).A);
        picture.append(...place(key, row, `fill: color-mix(in srgb, var(${COLOURS[type]}) ${strength}%, var(--panel))`, seen && N <= LEGIBLE && strength > 45 ? letter : ''));
      } else picture.append(...place(key, row, `fill: ${seen ? `var(${COLOURS[type]})` : 'var(--code)'}`, seen ? letter : ''));
    }
  }
  picture.append(...axes(N, true, i, j), svg('rect', { x: 0, y: i, width: i + 1, height: 1, class: 'pg-mark' }),
    svg('rect', { x: j, y: j, width: 1, height: N - j, class: 'pg-mark' }),
    svg('rect', { x: j, y: i, width: 1, height: 1, class: 'pg-pick' }));
  return picture;
}

/** What the cache holds after each query, side by side, as it lies in memory. */
export function cachePicture(results: Results): SVGElement {
  const { N, held, setting: { i, j } } = results;
  const width = Math.max(...held.map(({ length }) => length), 1);
  const picture = svg('svg', {
    viewBox: viewBox(Math.max(N, width), N), role: 'img',
    'aria-label': `the cache after query ${i} holds ${held[i].length === 0 ? 'nothing' : [...held[i]].join(', ')}`,
  });
  held.forEach((positions, row) => positions.forEach((key, n) => {
    picture.append(...place(n, row, `fill: var(${COLOURS[typeOf(results, key)]})`, N <= LEGIBLE ? String(key) : ''));
    if (key === j) picture.append(svg('rect', { x: n + 0.08, y: row + 0.08, width: 0.84, height: 0.84, class: 'pg-pick', style: 'stroke-width: .1' }));
  }));
  picture.append(...axes(N, true, i, undefined), svg('rect', { x: 0, y: i, width: Math.max(held[i].length, 0.3), height: 1, class: 'pg-mark' }));
  return picture;
}
