/**
 * Measures picking a token from a vocabulary of 151,936, for ordinary and difficult rows, relative to an argmax.
 * @module
 */
import { logprobsOf } from '../src/model/generate/logprobs.ts';
import { likeliest } from '../src/model/generate/ranking/likeliest.ts';
import { Sampler, type Sampling } from '../src/model/generate/sampler.ts';
import { generator } from '../src/core/random.ts';
import { type Measurement, median, type Settings } from './measure.ts';

const VOCABULARY = 151_936;

const SAMPLINGS: readonly Sampling[] = [
  { temperature: 0 }, { temperature: 1 }, { temperature: 1, topK: 50 }, { temperature: 1, topP: 0.9 },
  { temperature: 1, minP: 0.05 }, { temperature: 1, topK: 50_000, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1 },
];

/** CPU time of this process in milliseconds, on which other processes have little effect. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The median times of picks with each set of options, without log-probabilities and with those of 5 tokens. */
export function pickingCase({ quick }: Settings): Promise<Measurement[]> {
  const random = generator(0, [1]);
  const row = Float32Array.from({ length: VOCABULARY }, () => 3 * random.normal());
  const rows = {
    'random': row, 'all equal': row.map(() => 1), 'a third tied at the top': row.map((x, n) => (n % 3 === 0 ? 20 : x)),
    'ascending': row.slice().sort(), 'descending': row.slice().sort().reverse(),
  };
  const seen = Int32Array.from({ length: 2000 }, () => random.below(VOCABULARY));
  const [batches, each] = quick ? [3, 10] : [7, 20];
  const time = (work: () => unknown) => {
    const times = Array.from({ length: batches + 3 }, () => {
      const begin = cpuMs();
      for (let n = 0; n < each; n++) work();
      return (cpuMs() - begin) / each;
    });
    return median(times.slice(3));
  };
  const argmax = new Map(Object.values(rows).map((logits) => [logits, time(() => likeliest(logits))]));
  const measured = SAMPLINGS.flatMap((sampling) => [false, true].map((withLogprobs): Measurement => {
    const sampler = new Sampler(sampling);
    const all = Object.entries(rows).map(([name, logits]) => {
      const ms = time(() => {
        const token = sampler.pick(logits, random, seen);
        if (withLogprobs) logprobsOf(logits, token, 5, sampler.total);
      });
      return { name, ms, ratio: ms / argmax.get(logits)! };
    });
    const slowest = all.reduce((a, b) => (a.ms > b.ms ? a : b));
    const options = Object.entries(sampling).map(([name, value]) => `${name} ${value}`).join(', ');
    const what = `${options}${withLogprobs ? ', logprobs 5' : ''}: slowest row (${slowest.name}, ${slowest.ms.toFixed(1)} ms) / argmax`;
    return { what, value: slowest.ratio, unit: '' };
  }));
  return Promise.resolve(measured);
}
