/**
 * Steps of training of the shipped configuration with everything kept: this package beside jax-js, which differentiates
 * and compiles a Llama that is written here in its numpy. Both take turns on one thread: a forward and backward of one
 * sequence of 512 tokens, and AdamW.
 */
import { readFileSync } from 'node:fs';
import { createEngine, DEFAULT_TRAIN_OPTIONS, parseConfig, Trainer } from '../../dist/index.js';

const [L, D, F, H, G, V, N] = [4, 128, 352, 4, 2, 258, 512];
const d = D / H;

/** A function that takes one step of jax-js, and returns its loss. */
async function jaxStep(tokens) {
  const jax = await import('@jax-js/jax');
  // Node 20 lacks the helpers of iterators, which jax-js uses.
  const iterators = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
  iterators.map ??= function* map(of) { for (const each of this) yield of(each); };
  iterators.filter ??= function* filter(keep) { for (const each of this) if (keep(each)) yield each; };
  iterators.toArray ??= function toArray() { return [...this]; };
  await jax.init('wasm');
  jax.defaultDevice('wasm');
  const { numpy: np, nn, tree } = jax;
  const random = (rows, columns) => np.array(Float32Array.from(
    { length: rows * columns }, () => (Math.random() - 0.5) * 2 * Math.sqrt(3 / rows),
  )).reshape([rows, columns]);
  const ones = () => np.array(new Float32Array(D).fill(1));
  const layers = Array.from({ length: L }, () => ({
    q: random(D, D), k: random(D, G * d), v: random(D, G * d), o: random(D, D), gate: random(D, F), up: random(D, F),
    down: random(F, D), before: ones(), after: ones(),
  }));
  let weights = { layers, embedding: random(V, D), last: ones() };
  const zeros = () => tree.map((x) => np.zerosLike(x.ref), weights);
  let [m, v] = [zeros(), zeros()];
  const table = (of) => np.array(Float32Array.from(
    { length: N * (d / 2) }, (_, n) => of(Math.floor(n / (d / 2)) * 10_000 ** (-(n % (d / 2)) / (d / 2))),
  )).reshape([N, 1, d / 2]);
  const [cos, sin] = [table(Math.cos), table(Math.sin)];

  const norm = (x, w) => {
    const scale = np.reciprocal(np.sqrt(np.mean(np.square(x.ref), -1, { keepdims: true }).add(1e-5)));
    return x.mul(scale).mul(w);
  };
  const rotated = (x, c, s) => {
    const [a, b] = np.split(x, 2, -1);
    return np.concatenate([a.ref.mul(c.ref).sub(b.ref.mul(s.ref)), b.mul(c).add(a.mul(s))], -1);
  };
  const lossOf = (w, read, wanted, c, s) => {
    let x = np.matmul(nn.oneHot(read, V), w.embedding.ref);
    for (const layer of w.layers) {
      const n = norm(x.ref, layer.before);
      const q = rotated(np.matmul(n.ref, layer.q).reshape([N, H, d]), c.ref, s.ref);
      const k = rotated(np.matmul(n.ref, layer.k).reshape([N, G, d]), c.ref, s.ref);
      const values = np.matmul(n, layer.v).reshape([N, G, d]);
      const attended = nn.dotProductAttention(q, k, values, { isCausal: true }).reshape([N, D]);
      x = x.add(np.matmul(attended, layer.o));
      const y = norm(x.ref, layer.after);
      const gated = nn.silu(np.matmul(y.ref, layer.gate)).mul(np.matmul(y, layer.up));
      x = x.add(np.matmul(gated, layer.down));
    }
    c.dispose();
    s.dispose();
    const logits = np.matmul(norm(x, w.last), np.transpose(w.embedding));
    return np.mean(np.sum(nn.logSoftmax(logits, -1).mul(nn.oneHot(wanted, V)), -1)).neg();
  };
  const gradient = jax.jit(jax.valueAndGrad(lossOf));
  const update = jax.jit((w, g, mean, square) => {
    const nextMean = mean.mul(0.9).add(g.ref.mul(0.1));
    const nextSquare = square.mul(0.99).add(np.square(g).mul(0.01));
    const step = nextMean.ref.div(np.sqrt(nextSquare.ref).add(1e-8)).add(w.ref.mul(0.1));
    return [w.sub(step.mul(1e-3)), nextMean, nextSquare];
  });
  const [read, wanted] = [0, 1].map((from) => np.array(tokens.slice(from, from + N), { dtype: np.int32 }));
  return async () => {
    const [loss, gradients] = gradient(tree.map((x) => x.ref, weights), read.ref, wanted.ref, cos.ref, sin.ref);
    const [flat, form] = tree.flatten(weights);
    const [g, mean, square] = [gradients, m, v].map((each) => tree.flatten(each)[0]);
    const next = flat.map((w, n) => update(w, g[n], mean[n], square[n]));
    [weights, m, v] = [0, 1, 2].map((part) => tree.unflatten(form, next.map((each) => each[part])));
    await Promise.all(tree.flatten(weights)[0].map((x) => x.ref.data()));
    return (await loss.data())[0];
  };
}

async function ourStep(tokens) {
  const engine = await createEngine({ engine: 'wasm', threads: 1 });
  const raw = JSON.parse(readFileSync(new URL('../../models/full/config.json', import.meta.url), 'utf8'));
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 1, context: N };
  const trainer = new Trainer(engine, parseConfig(raw), options, tokens.slice(0, N + 1));
  return async () => (await trainer.next()).loss;
}

/** Tokens per second of CPU time. */
export async function training(rounds) {
  const tokens = Int32Array.from(readFileSync(new URL('../../examples/moby-dick.txt', import.meta.url)).subarray(0, N + 1));
  const runs = [];
  for (const [name, make] of [['ours', ourStep], ['jax-js', jaxStep]]) {
    const each = { name, rates: [] };
    runs.push(each);
    await make(tokens).then((run) => { each.run = run; }, (error) => { each.error = error.message; });
  }
  for (let round = -2; round < rounds; round++) {
    for (const each of runs) {
      if (each.error) continue;
      const before = process.cpuUsage();
      try {
        each.loss = await each.run();
      } catch (error) {
        each.error = error.message;
        continue;
      }
      const { user, system } = process.cpuUsage(before);
      if (round >= 0) each.rates.push(N * 1e6 / (user + system));
    }
  }
  for (const { name, loss } of runs) console.error(`${name}: the loss of the last step is ${loss}`);
  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
  return [['training, context 512, everything kept', Object.fromEntries(runs.map(({ name, rates, error }) => [name, error ?? median(rates)]))]];
}
