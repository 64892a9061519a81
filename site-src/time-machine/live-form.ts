/** The form with which a reader runs the model in the page. Pages of `natsearch trace` do not have it. */
import type { Trace } from '../../src/evaluate/trace/trace.ts';
import { byId, element } from './dom.ts';

/** What the form asks for. */
export interface Asked {
  readonly text: string;
  readonly watch: string;
  readonly engine: 'best' | 'wgsl' | 'wasm';
}

/** What the script with the model offers, which is loaded only when it is needed. */
export interface Live {
  record(asked: Asked, folder: string, say: (words: string) => void, signal: AbortSignal): Promise<Trace>;
}

/** Connects the form if there is one. */
export function connectLive(show: (trace: Trace) => void): void {
  const form = document.querySelector<HTMLFormElement>('#tm-live');
  if (!form) return;
  const folder = form.dataset['folder']!;
  const status = byId<HTMLOutputElement>('tm-status');
  const [start, stop] = [byId<HTMLButtonElement>('tm-run'), byId<HTMLButtonElement>('tm-stop')];
  let stopping = new AbortController();
  stop.onclick = () => stopping.abort();
  form.onsubmit = async (event) => {
    event.preventDefault();
    stopping = new AbortController();
    start.disabled = true;
    stop.disabled = false;
    form.dataset['state'] = 'running';
    try {
      if (location.protocol === 'file:') throw new Error('Browsers do not let a page from file: read the model beside it. Serve the site, for example with npm run site:dev.');
      status.value = 'Loading the program';
      const live = await load(folder);
      const given = new FormData(form);
      const trace = await live.record({
        text: String(given.get('text')), watch: String(given.get('watch')), engine: String(given.get('engine')) as Asked['engine'],
      }, folder, (words) => (status.value = words), stopping.signal);
      show(trace);
      status.value = `Done: the page shows this text now, recorded on ${trace.engine}.`;
      form.dataset['state'] = 'done';
    } catch (error) {
      status.value = stopping.signal.aborted ? 'Stopped.' : (error as Error).message;
      form.dataset['state'] = stopping.signal.aborted ? 'stopped' : 'failed';
    }
    start.disabled = false;
    stop.disabled = true;
  };
}

/** Loads the script once. A classic script, like all scripts of the site. */
async function load(folder: string): Promise<Live> {
  const place = globalThis as { natsearchLive?: Live };
  if (!place.natsearchLive) {
    await new Promise((resolve, reject) => {
      const script = element('script', { src: `${folder}live.js` });
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${folder}live.js could not be loaded`));
      document.head.append(script);
    });
  }
  return place.natsearchLive!;
}
