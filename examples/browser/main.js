/** Connects the parts of the page: ?gpu= picks the backend, the form starts a run, Stop ends it. */
import { open, run } from './generate.js';
import { View } from './view.js';

const byId = (id) => document.getElementById(id);
/** Publishes the state for programs that drive the page: loading, ready, running, done, stopped or failed. */
function state(name) {
  document.body.dataset.state = name;
  byId('status').ariaBusy = String(name === 'running'); // so that a screen reader reads the end, not every token
}

function progress(value, max) {
  byId('progress').max = max || 1;
  if (value === undefined) byId('progress').removeAttribute('value'); // in progress, but it is not known how far
  else byId('progress').value = value;
}

/** Shows one line that says what is wrong. */
function fail(error, remedy) {
  byId('error').textContent = error instanceof Error ? error.message : String(error);
  byId('error').hidden = false;
  byId('status').textContent = remedy;
  progress(0, 1);
  state('failed');
}

let stopping = new AbortController();

async function generate(engine, model) {
  const prompt = byId('prompt').value;
  const [maxNewTokens, temperature] = [byId('count').valueAsNumber, byId('temperature').valueAsNumber];
  const promptLength = 1 + model.tokenizer.encode(prompt).length; // with bos
  const view = new View(model, promptLength);
  stopping = new AbortController();
  byId('error').hidden = true;
  byId('start').disabled = true;
  byId('stop').disabled = false;
  state('running');
  const began = performance.now();
  let [seen, made, last, prefilled] = [0, 0, undefined, 0];
  try {
    for await (const step of run(model, prompt, { maxNewTokens, temperature, signal: stopping.signal })) {
      view.add(step);
      seen += step.fed.length;
      last = step.next;
      if (last !== undefined) made++;
      if (made === 1) prefilled = performance.now();
      progress(seen, promptLength + maxNewTokens - 1);
      byId('status').textContent = made === 0
        ? `Reading the prompt: ${seen} of ${promptLength} tokens`
        : `${made} of ${maxNewTokens} tokens${rate(made - 1, performance.now() - prefilled)} on ${engine.name}`;
      await painted();
    }
    view.finish(last);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const stopped = stopping.signal.aborted;
    byId('status').textContent = `${stopped ? 'Stopped' : 'Done'}: ${made} new tokens in ${seconds} s` +
      `${rate(made - 1, performance.now() - prefilled)} on ${engine.name}`;
    state(stopped ? 'stopped' : 'done');
  } catch (error) {
    fail(error, 'Stopped by an error. If the GPU was lost, reload the page.');
  }
  byId('start').disabled = false;
  byId('stop').disabled = true;
}

const rate = (tokens, ms) => (tokens > 0 ? `, ${(1000 * tokens / ms).toFixed(1)} a second` : '');

/** Lets the browser draw. A hidden tab is never drawn, so there it only gives way to other tasks. */
function painted() {
  return new Promise((resolve) => {
    if (document.hidden) setTimeout(resolve);
    else requestAnimationFrame(() => resolve());
  });
}

async function start() {
  state('loading');
  const query = new URLSearchParams(location.search).get('gpu') || 'true';
  byId('gpu').value = query;
  byId('gpu').addEventListener('change', () => void (location.search = `?gpu=${byId('gpu').value}`));
  try {
    byId('status').textContent = 'Loading the model';
    progress();
    const { engine, model } = await open(query === 'true' ? true : query, progress);
    byId('status').textContent = `Ready: ${model.parameters.toLocaleString('en')} weights on ${engine.name}`;
    progress(0, 1);
    new View(model, 0); // shows an empty text and caches
    byId('form').addEventListener('submit', (event) => {
      event.preventDefault();
      void generate(engine, model);
    });
    byId('stop').addEventListener('click', () => stopping.abort());
    byId('start').disabled = false;
    state('ready');
  } catch (error) {
    fail(error, 'Nothing can run yet: choose another backend at “Runs on”.');
  }
}

void start();
