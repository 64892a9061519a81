/** The playground: everything follows from the setting, and the setting is in the address. */
import { TOKEN_TYPE_NAMES } from '../../src/core/lifetime.ts';
import { byId, element } from '../time-machine/dom.ts';
import { type Formula, formulasOf, leastOf, number } from './formulas.ts';
import { cachePicture, margin, maskPicture, pairWords, type Shows } from './pictures.ts';
import { compute, type Results, shownLast, typeOf } from './results.ts';
import { EXAMPLE, fromHash, LETTERS, MOST, type Setting, toHash, within, withType } from './setting.ts';

let setting = fromHash(location.hash);

const input = (id: string): HTMLInputElement => byId<HTMLInputElement>(id);
const tokens = byId('pg-tokens');
const shows = byId<HTMLSelectElement>('pg-show');

/** Shows the setting and all that follows from it. */
function draw(): void {
  const results = compute(setting);
  drawTokens(results);
  drawControls(results);
  drawPictures(results);
  drawFormulas(results);
  drawGradient(results);
  byId('pg').dataset['state'] = 'ready';
}

function change(by: Partial<Setting>): void {
  setting = within({ ...setting, ...by });
  history.replaceState(null, '', toHash(setting));
  byId<HTMLOutputElement>('pg-copied').value = '';
  draw();
}

function drawTokens(results: Results): void {
  const { N, chunks, last, setting: { chunk, j } } = results;
  while (tokens.children.length > N) tokens.lastChild!.remove();
  while (tokens.children.length < N) tokens.append(element('button', { type: 'button', className: 'pg-token' }));
  Array.from(tokens.children).forEach((each, n) => {
    const button = each as HTMLButtonElement;
    const letter = LETTERS[typeOf(results, n)];
    const unfinished = Math.floor(n / chunk) === chunks - 1 && chunks * chunk > N;
    button.replaceChildren(element('small', { textContent: String(n) }), letter, element('small', { textContent: `→${shownLast(last[n])}` }));
    button.dataset['kind'] = letter;
    button.toggleAttribute('data-begins', chunk > 1 && n > 0 && n % chunk === 0);
    button.ariaDisabled = String(unfinished);
    button.title = unfinished ? 'a chunk that is not full counts as GLOBAL' : '';
    button.ariaLabel = `token ${n}: ${TOKEN_TYPE_NAMES[typeOf(results, n)]}${unfinished ? ', its chunk is not full' : ''}, last seen by ${last[n] > MOST ? 'all later queries' : `query ${last[n]}`}`;
    button.tabIndex = n === j ? 0 : -1;
  });
}

function drawControls({ N }: Results): void {
  const { window: W, chunk, lambda, rule, i, j } = setting;
  for (const [id, value] of [['pg-count', N], ['pg-window', W], ['pg-chunk', chunk], ['pg-lambda', lambda]] as const) {
    input(id).value = String(value);
    byId<HTMLOutputElement>(`${id}-now`).value = String(value);
  }
  byId<HTMLSelectElement>('pg-rule').value = rule;
  for (const [id, value] of [['pg-i', i], ['pg-j', j]] as const) {
    input(id).max = String(N - 1);
    if (document.activeElement !== input(id)) input(id).value = String(value);
  }
}

/** Replaces a picture, and keeps the focus that it may have. */
function put(id: string, picture: SVGElement): void {
  const focused = byId(id).contains(document.activeElement);
  byId(id).replaceChildren(picture);
  if (focused) picture.focus();
}

const LEGENDS: Readonly<Record<Shows, string>> = {
  types: 'Coloured: the query sees the key, whose type the letter names. Grey: the key is hidden, and may be evicted.',
  weights: 'The fuller the colour, the more attention. A row adds up to 1.',
  gradient: '+ orange: seeing the key raises the loss. − blue: it lowers it. Dashed places are hidden keys, which have a gradient too.',
};

function drawPictures(results: Results): void {
  const { i, j } = setting;
  put('pg-mask', maskPicture(results, shows.value as Shows));
  put('pg-cache', cachePicture(results));
  byId('pg-legend').textContent = `${LEGENDS[shows.value as Shows]} Here: ${pairWords(results, i, j)}.`;
  const most = Math.max(...results.held.map(({ length }) => length));
  byId('pg-size').textContent = `After query ${i} it holds ${results.held[i].length} of ${i + 1} entries; at most ${most}, and over the text ${number(100 * results.share, 1)}% of what full attention costs.`;
}

function row({ name, letters, numbers, shown, joint = '=' }: Formula): HTMLElement {
  const lettersLine = element('p');
  lettersLine.innerHTML = letters; // made of letters and numbers of this page only
  const numbersLine = element('p', { className: 'pg-numbers' });
  numbersLine.innerHTML = `${numbers}${shown === '' ? '' : ` ${joint} <strong>${shown}</strong>`}`;
  return element('div', { className: 'pg-formula' }, element('b', { textContent: name }), element('div', {}, lettersLine, numbersLine));
}

function drawFormulas(results: Results): void {
  const { lifetime, attention, gradient, cache } = formulasOf(results);
  const { i, j, chunk } = setting;
  const key = chunk === 1 ? `token ${j}` : `the chunk of token ${j}`;
  byId('pg-formulas').replaceChildren(...([
    [`Token ${j}`, lifetime], [`The cache after query ${i}`, cache], [`Query ${i} and key ${j}`, attention], [`Types of ${key}`, gradient],
  ] as const).flatMap(([title, all]) => [element('h3', { textContent: title }), ...all.map(row)]));
}

/** The letter of a type, in its colour. */
function chip(type: number): HTMLElement {
  const made = element('abbr', { className: 'tm-chip', textContent: LETTERS[type], title: TOKEN_TYPE_NAMES[type] });
  made.dataset['kind'] = LETTERS[type];
  return made;
}

function drawGradient({ priced, types, chunks, N }: Results): void {
  const { chunk, j } = setting;
  const head = ['token', 'type', 'dg', 'dl', 'dw', 'more of'].map((textContent) => element('th', { textContent, scope: 'col' }));
  const rows = Array.from({ length: chunks }, (_, c) => {
    const least = leastOf(priced, c);
    const end = Math.min((c + 1) * chunk, N) - 1;
    const made = element('tr', {},
      element('th', { scope: 'row', textContent: chunk === 1 ? String(c) : `${c * chunk}–${end}` }), element('td', {}, chip(types[c])),
      ...[0, 1, 2].map((n) => {
        const cell = element('td', { textContent: `${n === least ? '▼ ' : ''}${number(priced[3 * c + n])}` });
        cell.toggleAttribute('data-chosen', n === types[c]);
        return cell;
      }), least === types[c] ? element('td', { textContent: 'as it is' }) : element('td', {}, chip(least)));
    if (c === Math.floor(j / chunk)) made.ariaCurrent = 'true';
    made.onclick = () => change({ j: c * chunk });
    return made;
  });
  byId('pg-gradient').replaceChildren(element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows));
}

const indexOf = (target: EventTarget | null): number =>
  Array.from(tokens.children).indexOf((target as HTMLElement).closest('.pg-token') as HTMLElement);

tokens.addEventListener('click', (event) => {
  const j = indexOf(event.target);
  if (j < 0) return;
  const begin = j - (j % setting.chunk);
  const next = LETTERS[(LETTERS.indexOf(setting.types[begin]) + 1) % 3];
  change({ ...withType(setting, j, next), j, i: Math.max(setting.i, j) });
});
tokens.addEventListener('keydown', (event) => {
  const j = indexOf(event.target);
  const letter = event.key.toUpperCase();
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -MOST, End: MOST }[event.key];
  if (j < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  if (step !== undefined) {
    change({ j: Math.max(0, Math.min(setting.types.length - 1, j + step)) });
    (tokens.children[setting.j] as HTMLElement).focus();
  } else if (letter.length === 1 && LETTERS.includes(letter)) change({ ...withType(setting, j, letter), j });
  else return;
  event.preventDefault();
});
input('pg-count').addEventListener('input', () => {
  const N = input('pg-count').valueAsNumber;
  // What is added goes on as the text does: the types so far, again.
  const types = Array.from({ length: N }, (_, n) => setting.types[n] ?? setting.types[n % setting.types.length]).join('');
  change({ types });
});
input('pg-window').addEventListener('input', () => change({ window: input('pg-window').valueAsNumber }));
input('pg-chunk').addEventListener('input', () => change({ chunk: input('pg-chunk').valueAsNumber }));
input('pg-lambda').addEventListener('input', () => change({ lambda: input('pg-lambda').valueAsNumber }));
byId('pg-rule').addEventListener('change', () => change({ rule: byId<HTMLSelectElement>('pg-rule').value as Setting['rule'] }));
for (const [id, name] of [['pg-i', 'i'], ['pg-j', 'j']] as const) {
  input(id).addEventListener('input', () => input(id).value !== '' && change({ [name]: input(id).valueAsNumber }));
}
shows.addEventListener('change', draw);
byId('pg-seed').addEventListener('click', () => change({ seed: (setting.seed % 9999) + 1 }));
byId('pg-example').addEventListener('click', () => change(EXAMPLE));
byId('pg-link').addEventListener('click', () => {
  history.replaceState(null, '', toHash(setting));
  const copied = byId<HTMLOutputElement>('pg-copied');
  navigator.clipboard.writeText(location.href).then(() => (copied.value = 'Copied.'), () => (copied.value = 'It is in the address bar.'));
});
byId('pg-mask').addEventListener('click', (event) => {
  const picture = byId('pg-mask').querySelector('svg')!;
  const { left, top, width, height } = picture.getBoundingClientRect();
  const N = setting.types.length;
  const j = Math.floor(((event as MouseEvent).clientX - left) / width * (N + margin(N) + 0.2) - margin(N));
  const i = Math.floor(((event as MouseEvent).clientY - top) / height * (N + margin(N) + 0.2) - margin(N));
  if (i >= 0 && i < N && j >= 0 && j < N) change({ i, j });
});
byId('pg-mask').addEventListener('keydown', (event) => {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step) return;
  change({ i: setting.i + step[0], j: setting.j + step[1] });
  event.preventDefault();
});
addEventListener('hashchange', () => {
  setting = fromHash(location.hash);
  draw();
});
draw();
