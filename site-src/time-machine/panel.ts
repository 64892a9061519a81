/** One policy: what its cache holds at the moment, its mask, and the text as it remembers it. */
import { isHeld, type PolicyTrace } from '../../src/evaluate/trace/trace.ts';
import { entriesOverTime } from '../../src/evaluate/trace/trace.ts';
import { element, percent, shown } from './dom.ts';
import { drawMask, drawRow, kindAt, LETTERS, maskPicture } from './mask-canvas.ts';
import type { Shown, State } from './state.ts';

/** The most entries that the list of the cache shows. */
const MOST_CHIPS = 400;
/** The states of a token, in the order of its life. */
const STATES = ['future', 'new', 'held', 'gone'] as const;

/** What is said about a policy. */
export function describePolicy({ policy, lifetimes, budget }: PolicyTrace): string {
  if (policy === 'full') return 'nothing is forgotten';
  if (policy === 'nats') {
    const { window, localWindow } = lifetimes!;
    return `learned types, W = ${window}${localWindow === undefined ? '' : `, LOCAL ${localWindow}`}`;
  }
  if (lifetimes) return policy.startsWith('streaming') ? 'the first tokens and the newest' : 'the newest tokens';
  const size = budget!.perToken === 0 ? budget!.base : `${budget!.base} + ${budget!.perToken} n`;
  return `${size} entries a head`;
}

/** Adds the panel of a policy. */
export function addPanel(state: State, policy: PolicyTrace, into: HTMLElement): void {
  const { trace } = state;
  const N = state.length;
  const heads = trace.layers.length * trace.kvHeads;
  const entries = entriesOverTime(policy);
  const facts = element('p', { className: 'tm-facts' });
  const next = element('p', { className: 'tm-next' });
  const mask = element('canvas', { className: 'tm-mask' });
  const row = element('canvas', { className: 'tm-row' });
  for (const [canvas, what] of [[mask, 'mask: a row for each query'], [row, 'what the query of the moment sees']] as const) {
    canvas.role = 'img';
    canvas.ariaLabel = `${policy.policy}, ${what}`;
  }
  const cacheTitle = element('h3', { className: 'tm-small' });
  const cache = element('ol', { className: 'tm-cache', tabIndex: 0, ariaLabel: `entries of ${policy.policy}` });
  const text = element('p', { className: 'tm-text', tabIndex: 0, role: 'group', ariaLabel: `the text as ${policy.policy} remembers it; arrow keys choose an entry` });
  text.dataset['keys'] = '';
  cache.dataset['keys'] = '';
  const spans = Array.from({ length: N }, (_, j) => {
    const span = element('span', { className: 'tm-token', textContent: state.text(j) || '·' });
    span.dataset['position'] = String(j);
    return span;
  });
  text.append(...spans);
  into.append(element('section', { className: 'tm-panel', ariaLabel: policy.policy },
    element('h2', {}, element('code', { textContent: policy.policy }), element('small', { textContent: ` ${describePolicy(policy)}` })),
    facts, next, element('h3', { className: 'tm-small', textContent: 'What the queries see' }), mask, row, cacheTitle, cache,
    element('h3', { className: 'tm-small', textContent: 'The text' }), text));

  const choose = (event: Event): void => {
    const at = (event.target as HTMLElement).closest<HTMLElement>('[data-position]');
    if (at) state.set({ entry: Number(at.dataset['position']) });
  };
  text.addEventListener('click', choose);
  cache.addEventListener('click', choose);
  text.addEventListener('keydown', (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 }[event.key];
    if (steps === undefined) return;
    state.set({ entry: state.now.entry + steps });
    event.preventDefault();
  });
  mask.addEventListener('click', (event) => {
    const { width, height } = mask.getBoundingClientRect();
    state.set({ entry: Math.floor(event.offsetX / width * N), time: Math.floor(event.offsetY / height * N) });
  });
  row.addEventListener('click', (event) => {
    state.set({ entry: Math.floor(event.offsetX / row.getBoundingClientRect().width * N) });
  });

  let picture = maskPicture(state.headOf(policy));
  const states = new Int8Array(N).fill(-1);
  const draw = (now: Shown, before: Shown): void => {
    const head = state.headOf(policy);
    if (now === before || now.layer !== before.layer || now.head !== before.head) {
      picture = maskPicture(head);
      spans.forEach((span, j) => (span.dataset['kind'] = LETTERS[kindAt(head.types, j)]));
    }
    const { time, entry } = now;
    const held: number[] = [];
    for (let j = 0; j < N; j++) {
      const at = j > time ? 0 : j === time ? 1 : isHeld(head, j, time) ? 2 : 3;
      if (isHeld(head, j, time)) held.push(j);
      if (states[j] !== at) spans[j].dataset['state'] = STATES[states[j] = at];
    }
    spans[before.entry].classList.remove('tm-chosen');
    spans[entry].classList.add('tm-chosen');
    const share = entries[time] / (heads * (time + 1));
    facts.textContent = `this head holds ${held.length} of ${time + 1} entries; all heads ${percent(share)}, ${bytes(entries[time] * policy.entryBytes)}`;
    next.replaceChildren(...nextWords(state, policy, time));
    cacheTitle.textContent = `The cache: ${held.length} ${held.length === 1 ? 'entry' : 'entries'}${held.length > MOST_CHIPS ? `, the newest ${MOST_CHIPS} are shown` : ''}`;
    cache.replaceChildren(...held.slice(-MOST_CHIPS).map((j) => {
      const letter = LETTERS[kindAt(head.types, j)];
      const chip = element('li', { className: `tm-chip${j === entry ? ' tm-chosen' : ''}`, textContent: `${letter} ${j} ${shown(state.text(j))}` });
      chip.dataset['kind'] = letter;
      chip.dataset['position'] = String(j);
      return chip;
    }));
    drawMask(mask, picture, time, N, entry);
    drawRow(row, head, time);
    if (now.time !== before.time) follow(text, spans[time]);
    else if (now.entry !== before.entry) follow(text, spans[entry]);
  };
  state.listen(draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(state.now, state.now));
}

/** Scrolls a box, but not the page, so that `inside` is visible. */
function follow(box: HTMLElement, inside: HTMLElement): void {
  const top = inside.offsetTop - box.offsetTop;
  if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 40) box.scrollTop = top - box.clientHeight / 2;
}

/** Bytes as people read them. */
export const bytes = (count: number): string =>
  (count < 1e3 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`);

/** What the model thought of the next token. */
function nextWords(state: State, { loss, predicted }: PolicyTrace, time: number): (Node | string)[] {
  const guess = element('code', { textContent: shown(state.trace.texts[predicted[time]]) });
  if (time === state.length - 1) return ['most likely next: ', guess];
  const right = predicted[time] === state.trace.tokens[time + 1];
  const next = element('code', { textContent: shown(state.text(time + 1)) });
  return [`${right ? '✓' : '✗'} next is `, next, `, given ${percent(Math.exp(-loss[time]))}`, ...(right ? [] : ['; most likely ', guess])];
}
