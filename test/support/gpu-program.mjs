/**
 * A small application of the built library: a fixed problem on gpu.js, printed as JSON. test/bundles.test.ts runs it as
 * it is and out of minified bundles. LIBRARY stands for the library's file.
 */
import { createEngine } from 'LIBRARY';

const numbersForTheProblem = (seed, length) => Float32Array.from({ length }, (_, n) => Math.sin(seed + 1.7 * n));

async function problemOnBackend(gpu) {
  const engine = await createEngine({ gpu });
  const [queryShape, keyShape] = [[1, 4, 9, 6], [1, 2, 9, 6]];
  const q = engine.tensor(numbersForTheProblem(1, 216), queryShape);
  const [k, v] = [2, 3].map((seed) => engine.tensor(numbersForTheProblem(seed, 108), keyShape));
  const types = engine.integers([0, 1, 2, 2, 1, 0, 2, 1, 0, 0, 2, 2, 1, 1, 0, 2, 2, 0], [1, 2, 9]);
  const last = engine.lifetime(types, 9, { window: 2, chunk: 1 });
  const inputs = { q, k, v, last, scale: 0.4 };
  const { out, lse } = engine.attention(inputs);
  const gradients = engine.attentionBackward({
    ...inputs, out, lse, dOut: q, types: { types, rule: 'bounded', window: 2, chunk: 1 },
  });
  const x = engine.tensor(numbersForTheProblem(4, 35), [5, 7]);
  const weight = engine.tensor(numbersForTheProblem(5, 21), [3, 7]);
  const y = engine.linear(x, weight);
  const cache = engine.createCache({ batch: 1, kvHeads: 2, headDim: 6, window: 2, chunk: 1, blockSize: 4 });
  cache.append(k, v, types);
  const cached = cache.attend(q, 0.4);
  cache.evict();
  const results = { out, lse, ...gradients, y, cached };
  const found = {};
  for (const [name, tensor] of Object.entries(results)) found[name] = [...await engine.read(tensor)];
  found.last = [...await engine.readIntegers(last)];
  found.positions = [...await cache.positions(0, 0), ...await cache.positions(0, 1)];
  engine.dispose();
  return found;
}

console.log(JSON.stringify({ cpu: await problemOnBackend('cpu'), webasm: await problemOnBackend('webasm') }));
