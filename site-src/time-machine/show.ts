/** Shows a trace in the page. */
import type { Trace } from '../../src/evaluate/trace/trace.ts';
import { byId, element } from './dom.ts';
import { connectEntry } from './entry.ts';
import { addPanel } from './panel.ts';
import { connectPlayer } from './player.ts';
import { type Shown, State } from './state.ts';
import { connectWatched } from './watched.ts';

let stop = (): void => undefined;

/** The head under learned types whose types are the most mixed, since it is the one with the most to see. */
function mostMixed({ policies }: Trace): Pick<Shown, 'layer' | 'head'> {
  const learned = policies.find(({ policy }) => policy === 'nats') ?? policies[0];
  let best = { layer: 0, head: 0, entropy: -1 };
  learned.heads.forEach((layer, l) => layer.forEach(({ types }, g) => {
    const counts = [0, 1, 2].map((type) => types.filter((each) => each === type).length / types.length);
    const entropy = -counts.reduce((sum, p) => (p > 0 ? sum + p * Math.log(p) : sum), 0);
    if (entropy > best.entropy) best = { layer: l, head: g, entropy };
  }));
  return { layer: best.layer, head: best.head };
}

/** What the address says after #, such as #time=120&entry=57&layer=1&head=0. */
function fromHash(): Partial<Shown> {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(['time', 'layer', 'head', 'entry'].filter((key) => /^\d+$/.test(given.get(key) ?? ''))
    .map((key) => [key, Number(given.get(key))]));
}

/** Replaces what the page shows by a trace. */
export function show(trace: Trace): void {
  stop();
  const [mark] = trace.marks;
  const time = mark ? mark.end + 8 : Math.min(40, trace.tokens.length - 1);
  const state = new State(trace, { ...mostMixed(trace), time, entry: mark?.begin ?? 1, ...fromHash() });
  byId('tm-about').textContent = `${trace.model}: ${trace.tokens.length} tokens, ${trace.layers.length} ` +
    `${trace.layers.length === 1 ? 'layer' : 'layers'} of ${trace.kvHeads} KV heads, recorded on ${trace.engine}.`;
  const panels = byId('tm-panels');
  panels.replaceChildren();
  const count = trace.policies.length;
  byId('tm').style.setProperty('--two', String(Math.min(count, 2)));
  byId('tm').style.setProperty('--four', String(count === 4 ? 4 : Math.min(count, 3)));
  stop = connectPlayer(state);
  connectWatched(state);
  for (const policy of trace.policies) addPanel(state, policy, panels);
  connectEntry(state);
  let writing: ReturnType<typeof setTimeout> | undefined;
  state.listen((now, before) => {
    if (now === before) return;
    clearTimeout(writing);
    writing = setTimeout(() => {
      const { time: at, layer, head, entry } = now;
      history.replaceState(null, '', `#time=${at}&layer=${layer}&head=${head}&entry=${entry}`);
    }, 300);
  });
  byId('tm').dataset['state'] = 'ready';
}

/** Says what is wrong, in place of the panels. */
export function fail(error: unknown): void {
  byId('tm-panels').replaceChildren(element('p', { role: 'alert', textContent: error instanceof Error ? error.message : String(error) }));
  byId('tm').dataset['state'] = 'failed';
}
