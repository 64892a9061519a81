/**
 * A whole Llama in a folder: loading, prefill, and greedy decoding after contexts of several lengths, with everything
 * kept and with a tenth. bench/peers/random-llama.mjs writes a folder; bench/peers/llama-cpp.mjs measures its peer.
 * @module
 */
import { loadModel, type Model, parsePolicy, type Session } from '../src/index.ts';
import { flightOf } from '../src/model/session/session.ts';
import { median, type Measurement, type Settings } from './measure.ts';

/** Tokens that any vocabulary has. */
const prompt = (length: number): number[] => Array.from({ length }, (_, n) => 3 + ((n * 7919) % 251));

/** Reads `ids` in the steps that the engine prefers, and returns the greedy token after them. */
async function read(session: Session, ids: readonly number[]): Promise<number> {
  const step = session.engine.prefillStep ?? 64;
  for (let n = 0; n < ids.length; n += step) {
    const part = ids.slice(n, n + step);
    const isLast = n + step >= ids.length;
    if (isLast) return (await session.next(part))[0];
    await session.step(part, { logits: 'none' });
  }
  throw new Error('no tokens were given');
}

async function decode(session: Session, first: number, count: number): Promise<number[]> {
  const found: number[] = [];
  for await (const [token] of session.greedy([first], { steps: count })) found.push(token);
  return found;
}

/** The same, reading each token before the next step is recorded, as a session that others go on with must. */
async function decodeOneByOne(session: Session, first: number, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let token = first; found.length < count; found.push(token)) [token] = await session.next([token]);
  return found;
}

/** With tokens drawn by temperature, top-k and top-p, one step ahead as `generate` does. */
async function decodeDrawn(session: Session, first: number, count: number): Promise<number[]> {
  const flight = flightOf(session);
  const found: number[] = [];
  const begin = (token?: number): Promise<void> => flight.begin(
    token === undefined ? undefined : [token], [1], { temperature: 0.8, topK: 40, topP: 0.95, noise: [Math.random()] },
  );
  for (let begun = 0; found.length < count; found.push(...await flight.read())) {
    for (; begun < count && flight.steps < 2; begun++) await begin(begun === 0 ? first : undefined);
  }
  return found;
}

/** The policies of a context: everything, and a tenth of it. */
function policiesOf(length: number): readonly [string, string][] {
  return [['all kept', 'full'], ['a tenth kept', `streaming:4+${Math.max(1, Math.round(length / 10) - 4)}`]];
}

export async function llamaCase(
  { quick, repeats, openEngine, createEngine, llama, cache }: Settings,
): Promise<Measurement[]> {
  if (llama === undefined) return [];
  const engine = openEngine ? await openEngine() : createEngine();
  const found: Measurement[] = [];
  const begin = performance.now();
  const model: Model = await loadModel(llama, { engine });
  const open = (policy: string): Session => model.session({ policy: parsePolicy(policy), ...(cache && { cache }) });
  const loaded = performance.now();
  const first = open('full');
  const start = await read(first, [1, 2, 3, 4, 5, 6, 7, 8]);
  const warm = performance.now();
  const greedy = [start, ...await decode(first, start, 15)];
  first.dispose();
  process.stderr.write(`greedy after 1, 2, ..., 8: ${greedy.join(' ')}\n`);
  found.push(
    { what: 'loading the weights', value: loaded - begin, unit: 'ms' },
    { what: 'first token after loading, while kernels are compiled', value: warm - loaded, unit: 'ms' },
  );
  const [long, lengths, tokens] = quick ? [64, [16, 64], 4] : [4096, [512, 1024, 30_000], 64];
  const ways: readonly (readonly [string, typeof decode])[] = [
    ['', decode], [', each token read before the next', decodeOneByOne],
    ...(engine.forms?.drawnToken ? [[', drawn', decodeDrawn] as const] : []),
  ];
  const rates: number[] = [];
  for (let round = 0; round <= repeats; round++) { // one round of warm-up
    const session = open('full');
    const from = performance.now();
    await read(session, prompt(long));
    if (round > 0) rates.push((1000 * long) / (performance.now() - from));
    session.dispose();
  }
  found.push({ what: `prefill of ${long} tokens`, value: median(rates), unit: 'tokens/s' });
  for (const length of lengths) {
    for (const [name, policy] of policiesOf(length)) {
      const session = open(policy);
      let token = await read(session, prompt(length));
      for (const [way, run] of ways) {
        [token] = (await run(session, token, 8)).slice(-1);
        const speeds: number[] = [];
        for (let round = 0; round < repeats; round++) {
          const from = performance.now();
          [token] = (await run(session, token, tokens)).slice(-1);
          speeds.push((1000 * tokens) / (performance.now() - from));
        }
        const what = `decoding after ${length} tokens, ${name}${way}`;
        found.push({ what, value: median(speeds), unit: 'tokens/s' });
      }
      session.dispose();
    }
  }
  model.dispose();
  engine.dispose();
  return found;
}
