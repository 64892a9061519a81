/** The bar: play, one token back and forth, the slider, the speed and the head. */
import { byId, element, shown } from './dom.ts';
import type { State } from './state.ts';

/** Tokens a second. */
const SPEEDS = [2, 8, 30, 120] as const;

/** Connects the bar. Returns how to stop it, for a page that shows another trace. */
export function connectPlayer(state: State): () => void {
  const [play, slider, now] = [byId<HTMLButtonElement>('tm-play'), byId<HTMLInputElement>('tm-time'), byId<HTMLOutputElement>('tm-now')];
  const speed = byId<HTMLSelectElement>('tm-speed');
  const head = byId<HTMLSelectElement>('tm-head');
  const stop = new AbortController();
  const on = { signal: stop.signal };
  speed.replaceChildren(...SPEEDS.map((each) => element('option', { value: String(each), textContent: `${each} / s` })));
  speed.value = '8';
  head.replaceChildren(...state.trace.layers.flatMap((layer, l) => Array.from({ length: state.trace.kvHeads }, (_, g) =>
    element('option', { value: `${l} ${g}`, textContent: `layer ${layer}, head ${g}` }))));
  slider.max = String(state.length - 1);

  let timer: ReturnType<typeof setInterval> | undefined;
  const pause = (): void => {
    clearInterval(timer);
    timer = undefined;
    play.textContent = '▶ Play';
    now.setAttribute('aria-live', 'polite');
  };
  const start = (): void => {
    if (state.now.time === state.length - 1) state.set({ time: 0 });
    const each = Number(speed.value);
    const ticks = Math.min(each, 30); // a second; more tokens a tick when it is faster
    clearInterval(timer);
    timer = setInterval(() => {
      state.set({ time: state.now.time + each / ticks });
      if (state.now.time === state.length - 1) pause();
    }, 1000 / ticks);
    play.textContent = '⏸ Pause';
    now.setAttribute('aria-live', 'off'); // or a screen reader would read every token
  };
  const move = (steps: number): void => state.set({ time: state.now.time + steps });

  play.addEventListener('click', () => (timer === undefined ? start() : pause()), on);
  speed.addEventListener('change', () => timer !== undefined && start(), on);
  byId('tm-back').addEventListener('click', () => move(-1), on);
  byId('tm-forth').addEventListener('click', () => move(1), on);
  slider.addEventListener('input', () => state.set({ time: slider.valueAsNumber }), on);
  head.addEventListener('change', () => {
    const [layer, g] = head.value.split(' ').map(Number);
    state.set({ layer, head: g });
  }, on);
  document.addEventListener('keydown', (event) => {
    const at = event.target as HTMLElement;
    if (event.altKey || event.ctrlKey || event.metaKey || at.closest('input, select, textarea, button, a, summary, [data-keys]')) return;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -state.length, End: state.length,
    }[event.key];
    if (steps !== undefined) move(steps);
    else if (event.key === ' ') play.click();
    else return;
    event.preventDefault();
  }, on);
  state.listen(({ time, layer, head: g }) => {
    slider.value = String(time);
    slider.setAttribute('aria-valuetext', `token ${time}: ${shown(state.text(time))}`);
    now.value = `${time} of ${state.length - 1}: ${shown(state.text(time))}`;
    head.value = `${layer} ${g}`;
  });
  pause();
  return () => {
    pause();
    stop.abort();
  };
}
