/**
 * Memory of the engine of WebAssembly while threads decode a long text with a bounded live set. The memory of its
 * module never shrinks, so what it holds at the end is the most it ever held.
 * @module
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { wasmEngineOn } from '../wasm/index.ts';
import { Machine } from '../wasm/machine.ts';
import type { Measurement, Settings } from './measure.ts';
import { randomModel, TINY } from './models.ts';

/** Such that the largest product of a decoded token is just worth a second thread. */
const SHARED = { vocab_size: 8192, hidden_size: 64, max_position_embeddings: 2 ** 21 };

const KINDS = {
  'in use': 'used', 'memory of the module': 'held', 'heap of the process': 'heap', 'process, resident set': 'process',
} as const;

/** `--tokens`, by one thread and by two, after the first hundredth of them and after all. */
export async function wasmMemoryCase({ quick, tokens = quick ? 5_000 : 50_000 }: Settings): Promise<Measurement[]> {
  const found: Measurement[] = [];
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (const threads of [1, 2]) {
    const machine = new Machine('float32', false, threads);
    await machine.threads?.ready();
    const engine = wasmEngineOn(machine);
    const model = randomModel({ ...TINY, ...SHARED, nats: { policy: 'streaming:4+64', window: 64 } }, engine);
    const session = model.session();
    const decodeTo = async (length: number): Promise<Record<'used' | 'held' | 'heap' | 'process', number>> => {
      while (session.lengths[0] < length) await session.next([session.lengths[0] % 8192]);
      collect();
      const { heapUsed, rss } = process.memoryUsage();
      return { ...machine.use, heap: heapUsed, process: rss };
    };
    const [few, many] = [Math.ceil(tokens / 100), tokens];
    const uses = [await decodeTo(few), await decodeTo(many)];
    const who = `${machine.threads?.running ?? 1} thread${threads === 1 ? '' : 's'}`;
    for (const [n, length] of [few, many].entries()) {
      for (const [what, key] of Object.entries(KINDS)) {
        found.push({ what: `${who}, after ${length} tokens: ${what}`, value: uses[n][key] / 1024, unit: 'KiB' });
      }
    }
    found.push({ what: `${who}: memory of the module, after ${many} / after ${few}`, value: uses[1].held / uses[0].held, unit: '', target: 1 });
    session.dispose();
    model.dispose();
    engine.dispose();
  }
  return found;
}
