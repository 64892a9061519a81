/**
 * The source text of applications that use the package. Each leaves its result, or a promise of it, in the global
 * `result`.
 * @module
 */

/** An application that uses only one function of the library. */
export const LIFETIME_ALONE = `
import { lifetime, ndarray } from 'neural-attention-search';
const types = ndarray(Int32Array.of(1, 2, 0), [1, 1, 3]);
globalThis.result = [...lifetime(types, { window: 0 }).data].join();
`;
/** FOREVER is 2^31 - 1. */
export const LIFETIME_RESULT = '2,1,2147483647';

/**
 * Generates with a model from fetched bytes, on the reference, on WebAssembly and on gpu.js, and loads a path, which a
 * page refuses. It says what was fetched.
 */
export const WHOLE = `
import { createEngine, loadModel } from 'neural-attention-search';
const fetched = new Set();
const ask = globalThis.fetch;
globalThis.fetch = (what) => {
  fetched.add(String(what));
  return ask(what);
};
const bytes = async (name) => new Uint8Array(await (await fetch('/model/' + name)).arrayBuffer());
async function generated(engine) {
  const config = JSON.parse(new TextDecoder().decode(await bytes('config.json')));
  const model = await loadModel({ config, weights: await bytes('model.safetensors') }, { engine });
  let text = '';
  for await (const piece of model.generate('My fellow citizens', { maxNewTokens: 12, temperature: 0 })) text += piece;
  model.dispose();
  engine.dispose();
  return text;
}
const isBrowser = typeof document !== 'undefined';
const refusal = () => loadModel('models/nats').then(() => 'loaded', (error) => error.name + ': ' + error.message);
globalThis.result = (async () => ({
  reference: await generated(createEngine()),
  wasm: await generated(await createEngine({ engine: 'wasm' })),
  gpu: await generated(await createEngine({ gpu: 'webasm' })),
  path: isBrowser ? await refusal() : '',
  fetched: [...fetched],
}))();
`;
