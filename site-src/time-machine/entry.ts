/** One entry under every policy: its type and scores, its birth, its death and what caused it, and who used it. */
import { endingOf } from '../../src/evaluate/trace/ending.ts';
import { type HeadTrace, isHeld, NO_TYPE, type PolicyTrace, TOP_QUERIES } from '../../src/evaluate/trace/trace.ts';
import { byId, element, percent, shown } from './dom.ts';
import { kindAt, LETTERS } from './mask-canvas.ts';
import type { State } from './state.ts';

const NAMES = ['GLOBAL', 'LOCAL', 'WINDOW'] as const;

/** Connects the part of the page about one entry. */
export function connectEntry(state: State): void {
  const input = byId<HTMLInputElement>('tm-entry');
  const table = byId('tm-lives');
  input.max = String(state.length - 1);
  input.oninput = () => input.value !== '' && state.set({ entry: input.valueAsNumber });
  byId('tm-entry-now').onclick = () => state.set({ time: state.now.entry });
  state.listen(({ time, entry }) => {
    if (document.activeElement !== input) input.value = String(entry);
    byId('tm-entry-text').textContent = shown(state.text(entry));
    const context = Array.from({ length: 12 }, (_, n) => entry - 8 + n).filter((j) => j >= 0 && j < state.length);
    byId('tm-entry-context').replaceChildren(...context.map((j) => element(j === entry ? 'mark' : 'span', { textContent: state.text(j) })));
    table.replaceChildren(...state.trace.policies.map((policy) => life(state, policy, entry, time)));
  });
}

function jump(state: State, to: number, words: string): HTMLElement {
  const button = element('button', { className: 'tm-link', type: 'button', textContent: words });
  button.onclick = () => state.set({ time: to });
  return button;
}

const code = (state: State, at: number): HTMLElement => element('code', { textContent: shown(state.text(at)) });

function life(state: State, policy: PolicyTrace, j: number, time: number): HTMLElement {
  const head = state.headOf(policy);
  const end = endingOf(policy, head, j);
  const users = Array.from({ length: TOP_QUERIES }, (_, n) => j * TOP_QUERIES + n)
    .filter((n) => head.userWeights[n] > 0);
  const rows: [string, (Node | string)[]][] = [
    ['type', typeWords(head, j)],
    ['born', ['at ', jump(state, j, `token ${j}`), `, with its own query`]],
    ['ended', end.after === undefined ? [end.words] : [`${end.words}; last seen by `, jump(state, end.after, `query ${end.after}`), ' ', code(state, end.after)]],
    ['used most by', users.flatMap((n, at) => [
      ...(at > 0 ? [', '] : []), jump(state, head.users[n], `query ${head.users[n]}`), ' ', code(state, head.users[n]), ` ${percent(head.userWeights[n])}`,
    ])],
    ['attention', [`${head.received[j].toFixed(2)} queries' worth`]],
    ['all heads', [headMap(state, policy, j, time)]],
  ];
  const now = j > time ? 'not read yet' : isHeld(head, j, time) ? 'held now' : end.after === time ? 'evicted in this step' : j === time ? 'evicted at once' : 'forgotten by now';
  return element('section', { className: 'tm-life', ariaLabel: `this entry under ${policy.policy}` },
    element('h3', {}, element('code', { textContent: policy.policy }), element('small', { textContent: ` ${now}` })),
    element('dl', {}, ...rows.flatMap(([name, words]) => [element('dt', { textContent: name }), element('dd', {}, ...words)])));
}

/** The type with its probabilities. */
function typeWords({ types, scores }: HeadTrace, j: number): string[] {
  const type = types[j] === NO_TYPE ? 'none: a budget ranks entries' : NAMES[types[j]];
  if (scores.length === 0) return [type];
  const own = [...scores.subarray(3 * j, 3 * j + 3)];
  const max = Math.max(...own);
  const powers = own.map((x) => Math.exp(x - max));
  const sum = powers.reduce((a, b) => a + b, 0);
  const all = NAMES.map((name, n) => `${name} ${own[n].toFixed(1)} (${percent(powers[n] / sum)})`).join(', ');
  const forced = types[j] === 0 && j === 0 && own[0] < max ? ', forced since it is the first' : '';
  return [`${type}${forced}; scores ${all}`];
}

/** A cell for each head: its letter, filled if it holds the entry. A row is a layer. */
function headMap(state: State, policy: PolicyTrace, j: number, time: number): HTMLElement {
  const grid = element('div', { className: 'tm-heads' });
  grid.style.gridTemplateColumns = `repeat(${state.trace.kvHeads}, 1.7rem)`;
  policy.heads.forEach((layer, l) => layer.forEach((head, g) => {
    const held = isHeld(head, j, time);
    const letter = LETTERS[kindAt(head.types, j)];
    const cell = element('button', { type: 'button', className: 'tm-cell', textContent: letter });
    cell.ariaLabel = cell.title = `layer ${state.trace.layers[l]}, KV head ${g}: ${held ? 'held' : 'not held'}; ${endingOf(policy, head, j).words}`;
    cell.dataset['kind'] = letter;
    cell.dataset['state'] = held ? 'held' : 'gone';
    cell.ariaPressed = String(l === state.now.layer && g === state.now.head);
    cell.onclick = () => state.set({ layer: l, head: g });
    grid.append(cell);
  }));
  return grid;
}
