/**
 * Runs every rung of the ladder on the same head, compares it with the one before, and shows how long it takes.
 * @module
 */
import { dense } from '../../docs/ladder/1-dense.ts';
import { live } from '../../docs/ladder/2-live.ts';
import { tiles } from '../../docs/ladder/3-tiles.ts';
import { cached } from '../../docs/ladder/4-cache.ts';
import { onDevice } from '../../docs/ladder/5-wgsl.ts';
import { exampleHead, type Head } from '../../docs/ladder/head.ts';

type Run = (head: Head) => ArrayLike<number> | Promise<ArrayLike<number>>;

const [RUNS, SIZE, WINDOW] = [5, 32, 32];

/** The kernel on this browser's GPU, or why there is none. */
async function gpu(): Promise<Run | string> {
  if (!navigator.gpu) return 'this browser has no WebGPU';
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) return 'WebGPU has no adapter here';
  return onDevice(await adapter.requestDevice(), SIZE);
}

/** The milliseconds of the middle one of some runs, after one to warm up. */
async function time(run: Run, head: Head): Promise<{ out: ArrayLike<number>; ms: number }> {
  const out = await run(head);
  const times: number[] = [];
  for (let n = 0; n < RUNS; n++) {
    const begin = performance.now();
    await run(head);
    times.push(performance.now() - begin);
    await new Promise((done) => setTimeout(done)); // the page stays alive
  }
  return { out, ms: times.sort((a, b) => a - b)[RUNS >> 1] };
}

const place = document.querySelector('#ladder')!;
place.innerHTML = `<p><label>Tokens <select><option>256<option selected>512<option>1024<option>2048</select></label>
<button type="button" class="primary">Time the rungs in this browser</button></p>
<p role="status"></p>
<div class="table" tabindex="0"><table hidden><thead><tr><th>rung<th>milliseconds<th>largest difference from the rung before</tr></thead><tbody></tbody></table></div>`;
const [select, button] = [place.querySelector('select')!, place.querySelector('button')!];
const [status, table, body] = [place.querySelector('[role]')!, place.querySelector('table')!, place.querySelector('tbody')!];

async function timeAll(): Promise<void> {
  const N = Number(select.value);
  const head = exampleHead(N, SIZE, WINDOW);
  const pairs = head.last.reduce((sum, end, j) => sum + Math.min(end, N - 1) - j + 1, 0);
  const rungs: readonly (readonly [string, Run | string])[] = [
    ['1. dense and masked', dense], ['2. the list of live keys', live], ['3. tiles, online softmax', tiles],
    ['4. the cache', (each) => cached(each).out], ['5. WGSL, with upload and download', await gpu()],
  ];
  body.replaceChildren();
  table.hidden = false;
  let before: ArrayLike<number> | undefined;
  for (const [name, run] of rungs) {
    status.textContent = `Running ${name} ...`;
    await new Promise((done) => setTimeout(done, 20)); // so that the text is seen
    const row = body.insertRow();
    row.insertCell().textContent = name;
    if (typeof run === 'string') {
      row.insertCell().textContent = run;
      continue;
    }
    const { out, ms } = await time(run, head);
    const last = before;
    row.insertCell().textContent = ms.toFixed(2);
    row.insertCell().textContent = last === undefined ? ''
      : Array.from(out).reduce((most, x, n) => Math.max(most, Math.abs(x - last[n])), 0).toExponential(1);
    before = out;
  }
  status.textContent = `One head of size ${SIZE}, ${N} tokens, W = ${WINDOW}, one tenth GLOBAL, three tenths LOCAL: ` +
    `${(100 * pairs / (N * (N + 1) / 2)).toFixed(0)}% of the pairs are visible. The middle of ${RUNS} runs each, in ${navigator.userAgent}.`;
}

button.onclick = () => {
  button.disabled = true;
  timeAll().catch((error: Error) => void (status.textContent = `Stopped: ${error.message}`)).finally(() => {
    button.disabled = false;
  });
};
