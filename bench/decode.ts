/**
 * The time of one more token after a short and after a long text, in steady state.
 * @module
 */
import { readFileSync } from 'node:fs';
import { parsePolicy } from '../src/index.ts';
import type { Session } from '../src/model/session/session.ts';
import { type Measurement, type Settings, timeInTurns } from './measure.ts';
import { shippedModel } from './models.ts';

const [PREFILL, WARM_UP, TIMED] = [64, 32, 200];

/**
 * Reads the next `count` tokens of `text`, which starts over when it ends, in steps as long as those in which
 * `generate` reads a prompt.
 */
export async function feed(session: Session, text: Int32Array, count: number): Promise<void> {
  for (let left = count; left > 0; left -= PREFILL) {
    const seen = session.lengths[0];
    await session.step(Int32Array.from({ length: Math.min(PREFILL, left) }, (_, n) => text[(seen + n) % text.length]));
  }
}

/** Times single tokens of two sessions in turns: one has read 1,024 tokens before, the other up to 8,192. */
export async function decodeCase({ quick, model: folder, createEngine }: Settings): Promise<Measurement[]> {
  const engine = createEngine();
  const model = await shippedModel(folder, engine);
  const text = model.tokenizer.encode(readFileSync('examples/moby-dick.txt', 'utf8'));
  const measured: Measurement[] = [];
  for (const policy of ['streaming:4+256', 'nats', 'full']) {
    // Filling a full cache takes quadratic time, and half the length is enough to show the trend.
    const lengths = quick ? [512, 1024] as const : [1024, policy === 'full' ? 4096 : 8192] as const;
    const sessions: Session[] = [];
    for (const length of lengths) {
      const session = model.session({ policy: parsePolicy(policy) });
      await feed(session, text, length);
      sessions.push(session);
    }
    const steps = sessions.map((session) => () => feed(session, text, 1));
    const times = await timeInTurns(steps, { rounds: TIMED, warmUp: WARM_UP });
    const live = await Promise.all(sessions.map(liveEntries));
    sessions.forEach((session) => session.dispose());
    lengths.forEach((length, n) => measured.push({
      what: `${policy}: ms per token after ${length}, ${live[n]} entries live`, value: times[n], unit: 'ms',
    }));
    measured.push({
      what: `${policy}: after ${lengths[1]} / after ${lengths[0]}`, value: times[1] / times[0], unit: '',
      ...(policy.startsWith('streaming') && { target: 1.3 }), // only its live set is bounded by definition
    });
  }
  model.dispose();
  engine.dispose();
  return measured;
}

/** The number of entries that all layers and heads hold now. */
async function liveEntries(session: Session): Promise<number> {
  return (await session.stats()).flatMap(({ live }) => [...live]).reduce((a, b) => a + b, 0);
}
