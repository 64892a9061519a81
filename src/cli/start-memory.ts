/**
 * What `natsearch start` shows of long memory: keys told once, and asked for hundreds of tokens later, under caches
 * that hold equally much.
 * @module
 */
import type { Engine } from '../core/engine.ts';
import { matchedPolicies } from '../evaluate/match.ts';
import { measureRecall } from '../evaluate/recall/measure.ts';
import { recallDocuments } from '../evaluate/recall/documents.ts';
import { formatPolicy, type Policy } from '../policies/index.ts';
import { openModel } from './open.ts';
import { formatShare, table } from './terminal.ts';

/** How many keys, and the characters of each text that hides one. */
const [KEYS, LENGTH] = [4, 2400];

/** What a model with one kind of cache answered. */
export interface Remembered {
  readonly policy: string;
  /** Entries held at the question over those of a full cache. */
  readonly endShare: number;
  readonly answers: readonly string[];
}

/** The keys that were told, and what each cache knew of them. */
export interface Memory {
  readonly told: readonly string[];
  /** The mean number of tokens of a text. */
  readonly tokens: number;
  readonly rows: readonly Remembered[];
}

/**
 * Asks a model for keys under learned types, under a window and H2O that hold as many entries at the question, and with
 * everything kept.
 *
 * @param filler The text that the keys are hidden in.
 */
export async function askForKeys(
  base: string, adapter: string, engine: Engine, filler: string, seed: number, signal: AbortSignal,
): Promise<Memory> {
  const model = await openModel({ model: base, adapter }, engine);
  try {
    const asked = recallDocuments({ kind: 'passkey', documents: KEYS, length: LENGTH, filler, seed });
    const learned = await measureRecall(model, asked, { signal });
    const { lengths, meanLiveShare, residentShare: endShare, meanTokens } = learned;
    const like = matchedPolicies({ lengths, meanLiveShare, endShare }, ['window', 'h2o'])
      .flatMap(({ by, policy }) => (by === 'end' && policy ? [policy] : []));
    const policies: Policy[] = [{ kind: 'full' }, { kind: 'nats' }, ...like];
    const rows: Remembered[] = [];
    for (const policy of policies) {
      const answers: string[] = [];
      for (const { prompt, answer } of asked) {
        let said = '';
        const how = { policy, temperature: 0, maxNewTokens: answer.length, signal, prefillStep: 64 };
        for await (const piece of model.generate(prompt, how)) said += piece;
        answers.push(said.slice(0, answer.length));
      }
      const { residentShare } = policy.kind === 'nats' ? learned
        : await measureRecall(model, asked.slice(0, 1), { policy, signal });
      rows.push({ policy: formatPolicy(policy), endShare: residentShare, answers });
    }
    return { told: asked.map(({ answer }) => answer), tokens: meanTokens, rows };
  } finally {
    model.dispose();
  }
}

/** The keys as a table, in which a wrong answer is in brackets. */
export function memoryTable({ told, rows }: Memory): string {
  const known = (answers: readonly string[]): string => `${answers.filter((answer, n) => answer === told[n]).length} of ${told.length}`;
  return table(['', 'entries held', 'known', ...told.map((key) => `told ${key}`)], rows.map(({ policy, endShare, answers }) => [
    policy, formatShare(endShare), known(answers),
    ...answers.map((answer, n) => (answer === told[n] ? answer : `(${answer.replace(/\s+/g, ' ')})`)),
  ]));
}
