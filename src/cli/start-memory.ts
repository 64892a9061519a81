/**
 * What `natsearch start` shows of long memory: names whose keys are told once, and asked for a long time later, under
 * caches that hold equally much.
 * @module
 */
import type { Engine } from '../core/engine.ts';
import { matchedPolicies } from '../evaluate/match.ts';
import { type RecallDocument, recallDocuments } from '../evaluate/recall/documents.ts';
import type { Model } from '../model/model.ts';
import { formatPolicy, type Policy } from '../policies/index.ts';
import { openModel } from './open.ts';
import { createProgress, formatBytes, formatCount, formatShare, table } from './terminal.ts';

/** How many names, the characters of each text that tells some, and the least tokens from one to its question. */
const [NAMES, LENGTH, LEAST] = [4, 11_000, 3000];
/** Among how many texts to look for those. */
const DRAWN = 100;
/** The policies that hold as much as learned types. */
const MATCHED = ['window', 'h2o'] as const;
/** Tokens fed at once. Affects speed, never results. */
const STEP = 256;

/** What a model with one kind of cache answered. */
export interface Remembered {
  readonly policy: string;
  /** Entries held at the end over those of a full cache. */
  readonly endShare: number;
  /** Bytes of the caches at the end of a text, in the mean. */
  readonly residentBytes: number;
  readonly answers: readonly string[];
}

/** The keys that were told, and what each cache knew of them. */
export interface Memory {
  /** How the texts were chosen. */
  readonly rule: string;
  /** How each key is asked for: 'The key of anna is'. */
  readonly asked: readonly string[];
  readonly told: readonly string[];
  /** The number of tokens from each key to the question. */
  readonly distances: readonly number[];
  readonly rows: readonly Remembered[];
}

/** What the texts took under one policy, beside the answers. */
interface Asked extends Remembered {
  readonly lengths: readonly number[];
  readonly meanLiveShare: number;
}

/**
 * Asks a model for the keys of names with everything kept, under learned types, and under a window and H2O that hold as
 * many entries at the end. The texts are the first of those that `seed` draws in which the name lies far enough back;
 * nobody looks at answers to choose them.
 *
 * @param filler The text that the names are hidden in.
 */
export async function askForKeys(
  base: string, adapter: string, engine: Engine, filler: string, seed: number, signal: AbortSignal,
): Promise<Memory> {
  const model = await openModel({ model: base, adapter }, engine);
  const progress = createProgress({ label: 'asking', total: NAMES * (2 + MATCHED.length) });
  try {
    let asked = 0;
    progress.update(asked);
    const onAnswer = (): void => progress.update(++asked);
    const distanceOf = ({ prompt, distance }: RecallDocument): number => {
      return model.tokenizer.encode(prompt.slice(-distance)).length;
    };
    const drawn = recallDocuments({ kind: 'pairs', documents: DRAWN, length: LENGTH, filler, seed });
    const texts = drawn.filter((text) => distanceOf(text) >= LEAST).slice(0, NAMES);
    const rows = [
      await ask(model, { kind: 'full' }, texts, onAnswer, signal),
      await ask(model, { kind: 'nats' }, texts, onAnswer, signal),
    ];
    const { lengths, meanLiveShare, endShare } = rows[1];
    for (const { by, policy } of matchedPolicies({ lengths, meanLiveShare, endShare }, MATCHED)) {
      if (by === 'end' && policy) rows.push(await ask(model, policy, texts, onAnswer, signal));
    }
    return {
      rule: `the first ${NAMES} texts of seed ${seed} with ${formatCount(LEAST)} tokens or more from a name to its question`,
      asked: texts.map(({ prompt }) => /The key of \S+ is $/.exec(prompt)![0].trim()),
      told: texts.map(({ answer }) => answer),
      distances: texts.map(distanceOf),
      rows: rows.map(({ policy, endShare: share, residentBytes, answers }) => {
        return { policy, endShare: share, residentBytes, answers };
      }),
    };
  } finally {
    progress.finish();
    model.dispose();
  }
}

/** Reads each text once through the cache of a policy, and lets the model go on with the most likely tokens. */
async function ask(
  model: Model, policy: Policy, texts: readonly RecallDocument[], onAnswer: () => void, signal: AbortSignal,
): Promise<Asked> {
  const [answers, lengths]: [string[], number[]] = [[], []];
  let [live, full, bytes, visible, causal] = [0, 0, 0, 0, 0];
  for (const { prompt, answer } of texts) {
    const session = model.session({ policy });
    try {
      let said = '';
      const how = { session, temperature: 0, maxNewTokens: answer.length, signal, prefillStep: STEP };
      for await (const piece of model.generate(prompt, how)) said += piece;
      answers.push(said.slice(0, answer.length));
      onAnswer();
      const layers = await session.stats();
      const tokens = Math.max(...layers.flatMap(({ seen }) => [...seen]));
      lengths.push(tokens);
      for (const { live: held, bytes: resident, visiblePairs } of layers) {
        live += sum(held);
        bytes += sum(resident);
        visible += sum(visiblePairs);
        full += held.length * tokens;
        causal += held.length * tokens * (tokens + 1) / 2;
      }
    } finally {
      session.dispose();
    }
  }
  const [endShare, meanLiveShare, residentBytes] = [live / full, visible / causal, bytes / texts.length];
  return { policy: formatPolicy(policy), endShare, meanLiveShare, residentBytes, answers, lengths };
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);

/** The keys as a table with a column for each cache, in which a wrong answer is in brackets. */
export function memoryTable({ asked, told, distances, rows }: Memory): string {
  const right = ({ answers }: Remembered) => answers.filter((answer, n) => answer === told[n]).length;
  return table(['', ...rows.map(({ policy }) => policy)], [
    ['entries held', ...rows.map(({ endShare }) => formatShare(endShare))],
    ['resident', ...rows.map(({ residentBytes }) => formatBytes(residentBytes))],
    ['known', ...rows.map((row) => `${right(row)} of ${told.length}`)],
    ...told.map((key, n) => [
      `${asked[n]} ${key}, ${formatCount(distances[n])} tokens ago`,
      ...rows.map(({ answers }) => (answers[n] === key ? key : `(${answers[n].replace(/\s+/g, ' ')})`)),
    ]),
  ]);
}
