/** The passages that are watched: how much of each is held over time, when it is forgotten, and who recalls it. */
import { type Mark, markOverTime, type PolicyTrace } from '../../src/evaluate/trace/trace.ts';
import { byId, element, percent, svg } from './dom.ts';
import type { State } from './state.ts';

/** Colours (Okabe and Ito 2008, one for each theme) and dashes, so that lines differ without colour too. */
const LINES = [
  { variable: '--tm-line-0', dash: '' }, { variable: '--tm-line-1', dash: '7 4' }, { variable: '--tm-line-2', dash: '2 3' },
  { variable: '--tm-line-3', dash: '10 3 2 3' }, { variable: '--tm-line-4', dash: '1 5' },
];
/** A chart is drawn for the width of the screen, so that its letters keep their size. */
const [WIDTH, HEIGHT] = [innerWidth < 640 ? 340 : 720, 150];

/** Where the tokens of a mark occur again, later. */
export function repeatsOf({ trace: { tokens } }: Pick<State, 'trace'>, { begin, end }: Mark): number[] {
  const found: number[] = [];
  for (let at = end; at + end - begin <= tokens.length; at++) {
    let same = 0;
    while (same < end - begin && tokens[at + same] === tokens[begin + same]) same++;
    if (same === end - begin) found.push(at);
  }
  return found;
}

/** The probability that a policy gives to tokens `begin` to `end`, one after the other. */
export function probabilityOf({ loss }: PolicyTrace, begin: number, end: number): number {
  let sum = 0;
  for (let at = Math.max(1, begin); at < end; at++) sum += loss[at - 1];
  return Math.exp(-sum);
}

/** A probability, however small. */
const probable = (p: number): string => (p < 0.001 ? `1 in ${Number((1 / p).toPrecision(2)).toLocaleString('en')}` : `${(100 * p).toPrecision(3)}%`);

/** Connects the part of the page about watched passages; it is hidden if there are none. */
export function connectWatched(state: State): void {
  const part = byId('tm-watched');
  part.hidden = state.trace.marks.length === 0;
  byId('tm-marks').replaceChildren(...state.trace.marks.map((mark) => watchOne(state, mark)));
}

function watchOne(state: State, mark: Mark): HTMLElement {
  const { policies } = state.trace;
  const over = policies.map((policy) => markOverTime(policy, mark));
  const events = element('ul', { className: 'tm-events' });
  const event = (time: number, words: string): void => {
    const button = element('button', { type: 'button', textContent: `Token ${time}` });
    button.onclick = () => state.set({ time, entry: mark.begin });
    events.append(element('li', {}, button, ` ${words}`));
  };
  event(mark.begin, `“${mark.name}” is read.`);
  const ends = policies.map((policy, n) => {
    const at = over[n].findIndex((share, time) => time >= mark.end - 1 && share === 0);
    return { policy, at };
  });
  for (const { policy, at } of [...ends].filter(({ at: when }) => when >= 0).sort((a, b) => a.at - b.at)) {
    event(at, `${policy.policy} has forgotten it: no head of any layer holds a token of it any more.`);
  }
  const kept = ends.filter(({ at }) => at < 0).map(({ policy }) => policy.policy);
  if (kept.length > 0) events.append(element('li', { textContent: `Some of it is held to the end by ${kept.join(', ')}.` }));
  for (const at of repeatsOf(state, mark)) {
    const words = policies.map((policy) => `${policy.policy} ${probable(probabilityOf(policy, at, at + mark.end - mark.begin))}`);
    event(at - 1, `It is asked for. How probable the model finds it: ${words.join(', ')}.`);
  }
  const { chart, cursor, key } = draw(state, mark, over);
  state.listen(({ time }) => cursor(time));
  return element('div', { className: 'tm-mark' }, element('h3', { textContent: `“${mark.name}”` }), chart, key, events);
}

function draw(
  state: State, mark: Mark, over: readonly Float64Array[],
): { chart: HTMLElement; cursor: (time: number) => void; key: HTMLElement } {
  const N = state.length;
  const x = (time: number): number => 6 + (WIDTH - 12) * time / Math.max(1, N - 1);
  const y = (share: number): number => HEIGHT - 18 - (HEIGHT - 30) * share;
  const picture = svg('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', class: 'tm-chart',
    'aria-label': `the share of the entries of “${mark.name}” that are held after each token, by policy; the list below has the moments`,
  });
  for (const share of [0, 0.5, 1]) {
    picture.append(svg('line', { x1: 6, x2: WIDTH - 6, y1: y(share), y2: y(share), class: 'tm-grid' }),
      svg('text', { x: 8, y: y(share) - 3, class: 'tm-axis' }, `${100 * share}%`));
  }
  over.forEach((shares, n) => {
    const points: string[] = [];
    shares.forEach((share, time) => !Number.isNaN(share) && points.push(`${x(time).toFixed(1)},${y(share).toFixed(1)}`));
    const line = LINES[n % LINES.length];
    picture.append(svg('polyline', { points: points.join(' '), fill: 'none', style: `stroke: var(${line.variable})`, 'stroke-width': 2.5, 'stroke-dasharray': line.dash }));
  });
  const line = svg('line', { y1: 4, y2: HEIGHT - 14, class: 'tm-cursor' });
  const label = svg('text', { y: HEIGHT - 3, class: 'tm-axis', 'text-anchor': 'middle' });
  picture.append(line, label);
  const values = over.map(() => element('span'));
  const key = element('ul', { className: 'tm-key' }, ...state.trace.policies.map(({ policy }, n) => {
    const { variable, dash } = LINES[n % LINES.length];
    const sample = svg('svg', { viewBox: '0 0 34 8', width: 34, height: 8, 'aria-hidden': 'true' },
      svg('line', { x1: 0, x2: 34, y1: 4, y2: 4, style: `stroke: var(${variable})`, 'stroke-width': 3, 'stroke-dasharray': dash }));
    return element('li', {}, sample, ` ${policy} `, values[n]);
  }));
  picture.addEventListener('click', (event) => {
    const { left, width } = picture.getBoundingClientRect();
    state.set({ time: ((event as MouseEvent).clientX - left) / width * (N - 1) });
  });
  const cursor = (time: number): void => {
    for (const [name, value] of [['x1', x(time)], ['x2', x(time)]] as const) line.setAttribute(name, String(value));
    label.setAttribute('x', String(Math.min(Math.max(x(time), 30), WIDTH - 30)));
    label.textContent = `token ${time}`;
    over.forEach((shares, n) => (values[n].textContent = Number.isNaN(shares[time]) ? 'not read yet' : percent(shares[time])));
  };
  return { chart: element('div', {}, picture), cursor, key };
}
