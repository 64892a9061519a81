/** What the page shows: the text coloured by one head's types, and a table with a row per layer and head. */
import { held } from './generate.js';

const NAMES = ['GLOBAL', 'LOCAL', 'WINDOW'];
const COLOURS = ['--global', '--local', '--window'];
const byId = (id) => document.getElementById(id);
const element = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

/** Everything that is shown of one run. Every run has its own view. */
export class View {
  #model;
  #tokens = [];
  #spans = [];
  /** The types of all tokens fed so far, by [layer][head]. */
  #types;
  #rows = [];
  #decoder;
  #promptLength;
  #chosen = false;

  /** @param promptLength The number of prompt tokens, including bos. The model made the tokens after them. */
  constructor(model, promptLength) {
    const { layers, kvHeads, nats } = model.config;
    this.#model = model;
    this.#promptLength = promptLength;
    this.#decoder = model.tokenizer.decoder();
    this.#types = Array.from({ length: layers }, () => Array.from({ length: kvHeads }, () => []));
    byId('window').textContent = String(nats.window);
    byId('text').replaceChildren();
    byId('cache').replaceChildren();
    byId('total').textContent = 'Nothing has been read yet.';
    const options = [];
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < kvHeads; head++) {
        const name = `layer ${layer}, head ${head}`;
        options.push(element('option', { value: `${layer} ${head}`, textContent: name }));
        this.#rows.push(this.#row(name));
      }
    }
    byId('head').replaceChildren(...options);
    byId('head').onchange = () => {
      this.#chosen = true;
      this.#paint();
    };
  }

  #row(name) {
    const cell = (className) => element('td', { className });
    const row = element('tr');
    const [live, seen, share, map] = [cell('number'), cell('number'), cell('number share'), cell('map')];
    const canvas = element('canvas', { height: 1 });
    canvas.setAttribute('aria-hidden', 'true');
    map.append(canvas);
    row.append(element('th', { scope: 'row', textContent: name }), live, seen, share, map);
    byId('cache').append(row);
    return { live, seen, share, canvas };
  }

  /** Adds the tokens that one step fed, and shows what the caches hold after it. */
  add({ fed, types, stats }) {
    for (const token of fed) this.#append(token, this.#tokens.length >= this.#promptLength);
    for (const [layer, heads] of types.entries()) {
      for (const [head, row] of heads.entries()) this.#types[layer][head].push(...row);
    }
    if (!this.#chosen && this.#tokens.length <= this.#promptLength) byId('head').value = this.#mostVaried();
    this.#paint();
    this.#cache(stats);
  }

  /** Adds the last token, which was made but never fed, so it has no type. */
  finish(next) {
    if (next !== undefined) this.#append(next, true);
  }

  #append(token, made) {
    const special = token >= 256;
    const text = special ? ['bos', 'eos'][token - 256] ?? '?' : this.#decoder.push(token);
    const span = element('span', {
      className: `token${made ? ' made' : ''}${special ? ' special' : ''}`, textContent: text,
    });
    span.dataset.token = token;
    this.#tokens.push(token);
    this.#spans.push(span);
    const box = byId('text');
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    box.append(span);
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  /** Colours the text by the types of the selected head. */
  #paint() {
    const [layer, head] = byId('head').value.split(' ').map(Number);
    const types = this.#types[layer][head];
    const kept = held(types, this.#model.config.nats.window);
    for (const [n, type] of types.entries()) {
      const span = this.#spans[n];
      if (span.dataset.type !== String(type)) span.dataset.type = type;
      span.classList.toggle('gone', !kept[n]);
      span.title = `position ${n}: ${NAMES[type]}, ${kept[n] ? 'held' : 'evicted'}`;
    }
  }

  /** The head with the most varied types, which have the highest entropy. */
  #mostVaried() {
    let best = { value: '0 0', entropy: -1 };
    for (const [layer, heads] of this.#types.entries()) {
      for (const [head, types] of heads.entries()) {
        const shares = NAMES.map((_, type) => types.filter((one) => one === type).length / types.length);
        const entropy = -shares.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0);
        if (entropy > best.entropy) best = { value: `${layer} ${head}`, entropy };
      }
    }
    return best.value;
  }

  #cache(stats) {
    const style = getComputedStyle(document.documentElement);
    const { kvHeads, nats } = this.#model.config;
    let [live, full, bytes] = [0, 0, 0];
    for (const [layer, each] of stats.entries()) {
      bytes += each.bytes[0];
      for (let head = 0; head < kvHeads; head++) {
        const row = this.#rows[layer * kvHeads + head];
        row.live.textContent = each.live[head];
        row.seen.textContent = each.seen[0];
        row.share.textContent = `${(100 * each.live[head] / each.seen[0]).toFixed(0)}%`;
        drawMap(row.canvas, this.#types[layer][head], nats.window, style);
        live += each.live[head];
        full += each.seen[0];
      }
    }
    const share = `${(100 * live / full).toFixed(1)}%`;
    byId('total').textContent = `${live} of ${full} entries held (${share}), ` +
      `${(bytes / 1024).toFixed(1)} KiB instead of ${(full * stats[0].entryBytes / 1024).toFixed(1)} KiB`;
  }
}

/** One pixel per token, in the colour of its type while it is held. */
function drawMap(canvas, types, window, style) {
  const colours = COLOURS.map((name) => style.getPropertyValue(name));
  canvas.width = types.length;
  const context = canvas.getContext('2d');
  for (const [n, kept] of held(types, window).entries()) {
    if (!kept) continue;
    context.fillStyle = colours[types[n]];
    context.fillRect(n, 0, 1, 1);
  }
}
