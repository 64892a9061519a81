/** Runs the shipped model in the page and records a trace: by WebGPU where there is one, else by WebAssembly. */
import { createEngine } from '../../src/engines.ts';
import { isNamedError, ValueError } from '../../src/core/errors.ts';
import type { Engine } from '../../src/core/engine.ts';
import { equalPolicies } from '../../src/evaluate/trace/equal.ts';
import { markOf } from '../../src/evaluate/trace/marks.ts';
import { joined, recordTrace } from '../../src/evaluate/trace/record.ts';
import type { Trace } from '../../src/evaluate/trace/trace.ts';
import { loadModel } from '../../src/load.ts';
import { parseAdapter } from '../../src/model/folder/adapter.ts';
import type { Model } from '../../src/model/model.ts';
import { withStarts } from '../../src/model/tokenizer/tokenizer.ts';
import type { Asked, Live } from './live-form.ts';

/** The most tokens that a page records. */
const MOST = 700;

const models = new Map<string, { engine: Engine; model: Model }>();

async function open(wanted: Asked['engine'], folder: string, say: (words: string) => void): Promise<{ engine: Engine; model: Model }> {
  const known = models.get(wanted);
  if (known) return known;
  const bytes = async (name: string): Promise<Uint8Array> => {
    const response = await fetch(`${folder}model/${name}`);
    if (!response.ok) throw new Error(`${folder}model/${name} answered ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  say('Loading the model, 7 MB');
  const [config, weights, tokenizer, adapterConfig, adapterWeights] = await Promise.all([
    'config.json', 'model.safetensors', 'tokenizer.json', 'adapter_config.json', 'adapter_model.safetensors',
  ].map(bytes));
  const engine = await openEngine(wanted);
  const adapter = await parseAdapter(adapterConfig, adapterWeights);
  const model = await loadModel({ config, weights, tokenizer }, { engine, adapter });
  const opened = { engine, model };
  models.set(wanted, opened);
  return opened;
}

async function openEngine(wanted: Asked['engine']): Promise<Engine> {
  if (wanted === 'wasm') return createEngine({ engine: 'wasm' });
  try {
    return await createEngine({ gpu: 'wgsl' });
  } catch (error) {
    if (wanted === 'wgsl' || !isNamedError(error)) throw error;
    return createEngine({ engine: 'wasm' });
  }
}

async function record(
  { text, watch, engine: wanted }: Asked, folder: string, say: (words: string) => void, signal: AbortSignal,
): Promise<Trace> {
  const { engine, model } = await open(wanted, folder, say);
  const tokens = withStarts(model.tokenizer, model.tokenizer.encode(text));
  if (tokens.length < 2) throw new ValueError('The text has no tokens: type some words.');
  if (tokens.length > MOST) throw new ValueError(`The text has ${tokens.length} tokens, and a page records at most ${MOST}: shorten it.`);
  const marks = watch === '' ? [] : [markOf(model.tokenizer, tokens, watch)];
  const options = (before: number, all: number): Parameters<typeof recordTrace>[2] => ({
    marks, signal, name: 'models/base + keep-0.1-w32',
    onProgress: (done) => say(`Token ${before * tokens.length + done} of ${all * tokens.length}, on ${engine.name}`),
  });
  const learned = await recordTrace(model, tokens, options(0, 4));
  const others = await equalPolicies(learned.policies[0], ['window', 'h2o'], engine, model.config);
  const rest = await recordTrace(model, tokens, { ...options(1, 4), policies: [{ kind: 'full' }, ...others] });
  return joined(rest, learned);
}

(globalThis as { natsearchLive?: Live }).natsearchLive = { record };
