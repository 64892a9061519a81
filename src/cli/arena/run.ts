/**
 * Measures every entrant of an arena on every subject, or takes what was measured before.
 * @module
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CacheDtype } from '../../core/cache.ts';
import type { Engine } from '../../core/engine.ts';
import { expectGoing, UnsupportedError } from '../../core/errors.ts';
import { evaluate } from '../../evaluate/evaluate.ts';
import type { KeptOf } from '../../evaluate/match.ts';
import { measureRecall } from '../../evaluate/recall/measure.ts';
import type { Model } from '../../model/model.ts';
import { withStarts } from '../../model/tokenizer/tokenizer.ts';
import { formatPolicy, type Policy } from '../../policies/index.ts';
import type { ConfigOverrides } from '../../model/config/config-overrides.ts';
import { openModel } from '../open.ts';
import { createProgress, type Progress } from '../terminal.ts';
import { type Entrant, entrantsAt, entrantsLike, splitKinds, usesLearned } from './entrants.ts';
import type { Measured, Result, Results } from './results.ts';
import { hashOf, questionsOf, type Subject, tokensOf } from './subjects.ts';

/** What an arena is about. */
export interface ArenaOptions {
  readonly model: string;
  readonly adapters: readonly string[];
  readonly configOverrides?: ConfigOverrides;
  readonly bos: boolean;
  readonly subjects: readonly Subject[];
  readonly budgets: readonly number[];
  readonly kinds?: readonly string[];
  /** Whether learned types meet policies that keep exactly as much. */
  readonly match: boolean;
  readonly contexts: number;
  readonly context?: number;
  readonly maxDocuments: number;
  readonly step: number;
  readonly cache?: CacheDtype;
  readonly version: string;
}

/** A result, and how its entrant came to take part. */
export interface Row extends Omit<Entrant, 'policy'> {
  readonly result: Result;
}

/** A policy that the engine or the model cannot run. */
export interface Absent {
  readonly policy: string;
  readonly reason: string;
}

/** All rows, in the order of measuring. */
export interface ArenaOutcome {
  readonly rows: readonly Row[];
  readonly absent: readonly Absent[];
  /** The tokens of a context. */
  readonly context: number;
  readonly measured: number;
}

/** The SHA-256 of what makes a model: its weights, config and tokenizer. */
function folderHash(folder: string): Promise<string> {
  const names = readdirSync(folder).filter((name) => /\.(safetensors|json)$/.test(name)).sort();
  return hashOf(names.map((name) => join(folder, name)));
}

/** One run of an arena. */
export class Arena {
  readonly #options: ArenaOptions;
  readonly #engine: Engine;
  readonly #results: Results;
  readonly #signal: AbortSignal;
  readonly #hashes = new Map<string, string>();
  readonly #rows: Row[] = [];
  readonly #absent = new Map<string, Absent>();
  #open: { adapter: string | undefined; model: Model } | undefined;
  #progress: Progress | undefined;
  #done = 0;
  #total = 0;
  #measured = 0;

  constructor(options: ArenaOptions, engine: Engine, results: Results, signal: AbortSignal) {
    this.#options = options;
    this.#engine = engine;
    this.#results = results;
    this.#signal = signal;
  }

  /** @throws {StoppedError} If the signal aborts. What was measured by then stays in the results. */
  async run(): Promise<ArenaOutcome> {
    const { adapters, subjects, budgets, kinds, match } = this.#options;
    const { fixed, ranking } = splitKinds(kinds);
    for (const folder of [this.#options.model, ...adapters]) this.#hashes.set(folder, await folderHash(folder));
    const base = await this.#model();
    const { context = base.config.maxPositions } = this.#options;
    const own = base.policy.kind === 'nats' ? [undefined] : [];
    const learners = [...own, ...adapters];
    this.#total = subjects.length * (1 + budgets.length * (fixed.length + learners.length * ranking.length)
      + learners.length * (1 + (match ? 3 * (fixed.length + ranking.length) : 0)));
    this.#progress = createProgress({ label: 'arena', total: this.#total });
    try {
      for (const subject of subjects) {
        const length = await this.#lengthOf(subject, base, context);
        const grid = budgets.flatMap((share) => entrantsAt(share, length, fixed));
        const full = { policy: { kind: 'full' } as const };
        for (const entrant of [full, ...grid]) await this.#enter(subject, entrant, undefined);
      }
      for (const learner of learners) {
        for (const subject of subjects) {
          const length = await this.#lengthOf(subject, base, context);
          const learned = await this.#enter(subject, { policy: { kind: 'nats' } }, learner);
          const grid = budgets.flatMap((share) => entrantsAt(share, length, ranking));
          const like = match && learned ? entrantsLike(keptOf(learned), [...fixed, ...ranking]) : [];
          for (const entrant of [...grid, ...like]) await this.#enter(subject, entrant, learner);
        }
      }
    } finally {
      this.#progress.finish();
    }
    return { rows: this.#rows, absent: [...this.#absent.values()], context, measured: this.#measured };
  }

  dispose(): void {
    this.#open?.model.dispose();
    this.#open = undefined;
  }

  /** The model with the types of an adapter. Only one is loaded at a time. */
  async #model(adapter?: string): Promise<Model> {
    if (!this.#open || this.#open.adapter !== adapter) {
      this.dispose();
      const { model, bos, configOverrides } = this.#options;
      const flags = {
        model, bos, ...(adapter !== undefined && { adapter }), ...(configOverrides && { configOverrides }),
      };
      this.#open = { adapter, model: await openModel(flags, this.#engine) };
    }
    return this.#open.model;
  }

  readonly #lengths = new Map<Subject, number>();
  /** The tokens of a context, or the mean number of those of a question. */
  async #lengthOf(subject: Subject, { tokenizer }: Model, context: number): Promise<number> {
    if (subject.kind === 'text') return context;
    let length = this.#lengths.get(subject);
    if (length === undefined) {
      const asked = await questionsOf(subject, this.#options.maxDocuments);
      const tokens = asked.map(({ prompt, answer }) => withStarts(tokenizer, tokenizer.encode(prompt + answer)).length);
      length = tokens.reduce((a, b) => a + b, 0) / tokens.length;
      this.#lengths.set(subject, length);
    }
    return length;
  }

  /** Measures one entrant on one subject. Undefined if that cannot be done. */
  async #enter(
    subject: Subject, { policy, ...how }: Entrant, learner: string | undefined,
  ): Promise<Result | undefined> {
    expectGoing(this.#signal, () =>
      `the arena was stopped after ${this.#done} of ${this.#total} measurements: the same command goes on`);
    const adapter = usesLearned(policy) ? learner : undefined;
    const key = this.#key(subject, policy, adapter);
    const about = { key, subject: subject.name, learner: this.#ownerOf(policy, learner), policy: formatPolicy(policy) };
    // The same content may have been measured under another name.
    const known = this.#results.get(key);
    let result = known && { ...known, ...about };
    try {
      if (!result) {
        result = { ...about, ...await this.#measure(subject, policy, learner) };
        this.#measured++;
        await this.#results.add(result);
      }
      this.#rows.push({ ...how, result });
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      this.#absent.set(formatPolicy(policy), { policy: formatPolicy(policy), reason: error.message });
    }
    this.#done++;
    return result;
  }

  /** The folder whose types or scores a policy uses, if it uses any. */
  #ownerOf(policy: Policy, learner: string | undefined): string | null {
    return usesLearned(policy) ? learner ?? this.#options.model : null;
  }

  async #measure(subject: Subject, policy: Policy, learner: string | undefined): Promise<Measured> {
    const { contexts, maxDocuments, step, cache } = this.#options;
    const model = await this.#model(learner);
    const { context = model.config.maxPositions } = this.#options;
    const name = formatPolicy(policy);
    const onProgress = (done: number, total: number): void =>
      this.#progress!.update(this.#done + done / total, `${subject.name} ${name}`);
    const how = { policy, step, signal: this.#signal, ...(cache && { cache }) };
    if (subject.kind === 'questions') {
      const documents = await questionsOf(subject, maxDocuments);
      return { kind: 'questions', measured: await measureRecall(model, documents, { ...how, onProgress }) };
    }
    const tokens = await tokensOf(subject, model.tokenizer, contexts * context, this.#signal);
    const measured = await evaluate(model, tokens, {
      ...how, context, onProgress: (done) => onProgress(done, tokens.length),
    });
    return { kind: 'text', measured };
  }

  #key(subject: Subject, policy: Policy, adapter: string | undefined): string {
    const { model, configOverrides, bos, contexts, context, maxDocuments, cache, version } = this.#options;
    const size = subject.kind === 'text' ? { contexts, context } : { maxDocuments };
    const all = {
      base: this.#hashes.get(model), adapter: adapter && this.#hashes.get(adapter), bos, policy: formatPolicy(policy),
      subject: subject.hash, ...size, configOverrides, cache, engine: this.#engine.name, version,
    };
    return createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 32);
  }
}

/** How much a policy kept. */
function keptOf(result: Result): KeptOf {
  if (result.kind === 'text') {
    const { contexts, meanLiveShare, endLiveShare } = result.measured;
    return { lengths: contexts.map(({ inputs }) => inputs), meanLiveShare, endShare: endLiveShare };
  }
  const { lengths, meanLiveShare, residentShare } = result.measured;
  return { lengths, meanLiveShare, endShare: residentShare };
}
