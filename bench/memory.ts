/**
 * Memory while 50,000 tokens are decoded with a bounded live set, as the cache reports it and as the process uses it.
 * @module
 */
import { execFileSync } from 'node:child_process';
import type { Measurement, Settings } from './measure.ts';
import { randomModel, TINY } from './models.ts';

const BLOCK = 16;

/** Decodes in a process of its own, whose memory is not used by anything else and whose garbage can be collected. */
export async function memoryCase(settings: Settings): Promise<Measurement[]> {
  if (globalThis.gc) return measureHere(settings, globalThis.gc);
  const args = ['--expose-gc', process.argv[1], '--only', 'memory', '--json', ...(settings.quick ? ['--quick'] : [])];
  const printed = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return (JSON.parse(printed) as { measured: Measurement[] }).measured;
}

async function measureHere({ quick, createEngine }: Settings, collect: () => unknown): Promise<Measurement[]> {
  const engine = createEngine();
  const model = randomModel({ ...TINY, nats: { policy: 'streaming:4+64', window: 64 } }, engine);
  const session = model.session({ blockSize: BLOCK });
  const [early, late] = quick ? [2_000, 10_000] as const : [10_000, 50_000] as const;
  const decodeTo = async (tokens: number) => {
    while (session.lengths[0] < tokens) await session.step([session.lengths[0] % 256]);
    collect();
    const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
    const { live, bytes, entryBytes } = (await session.stats())[0];
    const inBlocks = Math.ceil(live[0] / BLOCK) * BLOCK * entryBytes;
    return { live: live[0], bytes: bytes[0], inBlocks, used: heapUsed + arrayBuffers, rss };
  };
  const [before, after] = [await decodeTo(early), await decodeTo(late)];
  session.dispose();
  model.dispose();
  engine.dispose();
  const ratio = `after ${late} / after ${early}`;
  return [
    { what: `live entries after ${late} tokens`, value: after.live, unit: '' },
    { what: `cache after ${late} tokens`, value: after.bytes / 1024, unit: 'KiB' },
    { what: 'cache / its live entries rounded up to blocks', value: after.bytes / after.inBlocks, unit: '', target: 1 },
    { what: `cache ${ratio}`, value: after.bytes / before.bytes, unit: '', target: 1 },
    { what: `process, heap and buffers in use, after ${late}`, value: after.used / 2 ** 20, unit: 'MiB' },
    { what: `process, heap and buffers in use, ${ratio}`, value: after.used / before.used, unit: '', target: 1.1 },
    { what: `process, resident set, after ${late}`, value: after.rss / 2 ** 20, unit: 'MiB' },
    { what: `process, resident set, ${ratio}`, value: after.rss / before.rss, unit: '', target: 1.1 },
  ];
}
