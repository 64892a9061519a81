/** What the page does with the library: an engine, a model, and a loop of steps. Nothing here uses the DOM. */
import { createEngine, lifetime, loadModel, ndarray, withStarts } from 'neural-attention-search';

/** Prompt tokens per step. The page shows progress between steps. */
const PREFILL_STEP = 64;

// Vite recognizes these two expressions and ships the files.
const CONFIG = new URL('../../models/nats/config.json', import.meta.url).href;
const WEIGHTS = new URL('../../models/nats/model.safetensors', import.meta.url).href;

/**
 * Opens an engine on gpu.js and loads the shipped model on it.
 *
 * @param gpu `true` for the best GPU present, or 'wgsl', 'webgpu', 'webgl2', 'webasm', 'cpu'.
 * @param onProgress Called with the number of bytes loaded and, if the server tells it, the total.
 */
export async function open(gpu, onProgress) {
  const engine = await createEngine({ gpu });
  try {
    const [config, weights] = await Promise.all([
      download(CONFIG).then((bytes) => JSON.parse(new TextDecoder().decode(bytes))),
      download(WEIGHTS, onProgress),
    ]);
    return { engine, model: await loadModel({ config, weights }, { engine }) };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

async function download(url, onProgress = () => {}) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}: serve the models folder beside the page`);
  const total = Number(response.headers.get('content-length')) || undefined;
  const parts = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    onProgress(loaded, total);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/**
 * Feeds the prompt, then one token after the other, and yields after every step.
 *
 * @param options.temperature 0 picks the most likely token.
 * @param options.signal Aborting ends the loop after the step in progress.
 * @yields {{ fed: number[], types: Int32Array[][], stats: object[], next: number | undefined, prefill: boolean }}
 *   The tokens fed, their types by [layer][head], what the caches hold after the step, and the next token.
 */
export async function* run(model, prompt, { maxNewTokens, temperature, signal }) {
  const { layers, kvHeads } = model.config;
  const pending = [...withStarts(model.tokenizer, model.tokenizer.encode(prompt))];
  const session = model.session();
  try {
    for (let made = 0; made < maxNewTokens && !signal.aborted;) {
      const fed = pending.splice(0, PREFILL_STEP);
      const types = Array.from({ length: layers }, () => []);
      const logits = await session.step(fed, {
        onTypes: (layer, rows) => { // [heads, nc]: one type per token fed, then space for one more chunk
          const width = rows.length / kvHeads;
          for (let g = 0; g < kvHeads; g++) types[layer].push(rows.slice(g * width, g * width + fed.length));
        },
      });
      let next;
      if (pending.length === 0) {
        next = pick(logits.subarray(logits.length - model.config.vocabSize), temperature);
        made++;
        pending.push(next);
      }
      yield { fed, types, stats: await session.stats(), next, prefill: fed.length > 1 || next === undefined };
      if (next === model.tokenizer.eos) return;
    }
  } finally {
    session.dispose();
  }
}

/** Samples from softmax(logits / temperature). Temperature 0 picks the highest logit, the lowest index among equals. */
function pick(logits, temperature) {
  const best = logits.reduce((at, value, n) => (value > logits[at] ? n : at), 0);
  if (temperature === 0) return best;
  const weights = Array.from(logits, (value) => Math.exp((value - logits[best]) / temperature));
  let rest = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  return Math.max(0, weights.findIndex((weight) => (rest -= weight) < 0));
}

/** For each token, whether the head's cache still holds it: last(j) has not passed. */
export function held(types, window) {
  if (types.length === 0) return [];
  const { data: last } = lifetime(ndarray(Int32Array.from(types), [1, 1, types.length]), { window });
  return Array.from(last, (end) => end >= types.length);
}
