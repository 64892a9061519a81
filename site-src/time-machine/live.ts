/** Runs the shipped model in the page and records a trace: by WebGPU where there is one, else by WebAssembly. */
import { createEngine } from '../../src/engines.ts';
import { isNamedError, UnsupportedError, ValueError } from '../../src/core/errors.ts';
import type { Engine } from '../../src/core/engine.ts';
import { equalPolicies } from '../../src/evaluate/trace/equal.ts';
import { markOf } from '../../src/evaluate/trace/marks.ts';
import { joined, recordTrace } from '../../src/evaluate/trace/record.ts';
import type { PolicyTrace, Trace } from '../../src/evaluate/trace/trace.ts';
import { loadModel } from '../../src/load.ts';
import { parseAdapter } from '../../src/model/folder/adapter.ts';
import type { Model } from '../../src/model/model.ts';
import { withStarts } from '../../src/model/tokenizer/tokenizer.ts';
import type { Policy } from '../../src/policies/index.ts';
import type { Asked, Live } from './live-form.ts';

/** The most tokens that a page records. */
const MOST = 700;

const NAME = 'models/base + keep-0.1-w32';

/** A model on an engine. */
interface Opened {
  readonly engine: Engine;
  readonly model: Model;
}

const models = new Map<string, Opened>();

async function open(wanted: Asked['engine'], folder: string, say: (words: string) => void): Promise<Opened> {
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
  const first = await open(wanted, folder, say);
  const { tokenizer } = first.model;
  const tokens = withStarts(tokenizer, tokenizer.encode(text));
  if (tokens.length < 2) throw new ValueError('The text has no tokens: type some words.');
  if (tokens.length > MOST) throw new ValueError(`The text has ${tokens.length} tokens, and a page records at most ${MOST}: shorten it.`);
  const marks = watch === '' ? [] : [markOf(tokenizer, tokens, watch)];
  let before = 0;
  const run = async ({ engine, model }: Opened, policies?: readonly Policy[]): Promise<Trace> => {
    const onProgress = (done: number): void =>
      say(`Token ${before * tokens.length + done} of ${4 * tokens.length}, on ${engine.name}`);
    const options = { marks, signal, name: NAME, onProgress, ...(policies && { policies }) };
    const trace = await recordTrace(model, tokens, options);
    before += trace.policies.length;
    return trace;
  };
  const learned = await run(first);
  const [own] = learned.policies;
  const window = await equalPolicies(own, ['window'], first.engine, first.model.config);
  const typed = await run(first, [{ kind: 'full' }, ...window]);
  const budget = await run(...await budgeted(own, first, () => open('wasm', folder, say)));
  const engine = budget.engine === learned.engine ? learned.engine : `${learned.engine}; H2O on ${budget.engine}`;
  return { ...joined(joined(typed, budget), learned), engine };
}

/** H2O of equal bytes, and where it can run: engines for GPUs may lack caches under a budget. */
async function budgeted(
  own: PolicyTrace, first: Opened, other: () => Promise<Opened>,
): Promise<[Opened, readonly Policy[]]> {
  const on = async (one: Opened): Promise<[Opened, readonly Policy[]]> =>
    [one, await equalPolicies(own, ['h2o'], one.engine, one.model.config)];
  try {
    return await on(first);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return on(await other());
  }
}

(globalThis as { natsearchLive?: Live }).natsearchLive = { record };
