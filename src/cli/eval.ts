/**
 * `natsearch eval`: measures what each cache policy costs in quality and saves in memory.
 * @module
 */
import type { Command } from 'commander';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { type Difference, perplexityDifference } from '../evaluate/difference.ts';
import { evaluate, type Evaluation } from '../evaluate/evaluate.ts';
import { evaluateShuffled, SHUFFLED } from '../evaluate/shuffled.ts';
import type { KeptOf } from '../evaluate/match.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import { formatPolicy, kindOf, parsePolicy } from '../policies/index.ts';
import { openEngine, openModel } from './open.ts';
import {
  bosOption, computeOption, configOverridesOption, engineOption, gpuOption, threadsOption, whole,
} from './options.ts';
import { checkModelFolder } from './paths.ts';
import {
  absentText, addPolicyOptions, checkPolicyFlags, chosenPolicies, type Matched, policyCount, type PolicyFlags, SAME,
  withMatched,
} from './policies.ts';
import { createProgress, formatBytes, formatCount, formatShare, interruptSignal, table } from './terminal.ts';
import { readTokens } from './text.ts';
import { TEXT_HELP } from './text-files.ts';

interface Flags extends PolicyFlags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  bos: boolean;
  text: string[];
  context?: number;
  maxTokens?: number;
  step: number;
  engine?: CpuChoice;
  threads?: number;
  gpu?: GpuChoice;
  compute?: 'f32' | 'f16';
  shuffled: boolean;
  json: boolean;
}

/** Adds the command. */
export function registerEval(program: Command): void {
  const command = program.command('eval')
    .description('decode text through the evicting cache and compare policies')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .requiredOption('--text <path...>', TEXT_HELP)
    .option('--context <n>', 'tokens after which a new cache begins (default: as trained)', whole(1))
    .option('--max-tokens <n>', 'read only the first n tokens, and no more of the texts than they need', whole(1))
    .option('--step <n>', 'tokens fed at once; affects speed, never results', whole(1), 1)
    .option('--shuffled', 'also the learned types at other places of each context: the control', false)
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(gpuOption())
    .addOption(computeOption())
    .option('--json', 'print one JSON document instead', false)
    .action(run);
  addPolicyOptions(command);
}

async function run(flags: Flags): Promise<void> {
  checkPolicyFlags(flags);
  checkModelFolder(flags.model);
  const engine = await openEngine(flags);
  const model = await openModel(flags, engine);
  const interrupt = interruptSignal();
  try {
    const chosen = chosenPolicies(flags, model);
    const context = flags.context ?? model.config.maxPositions;
    // evaluate() adds the starts itself, and the end of the last document is not worth scoring.
    const read = await readTokens(model.tokenizer, flags.text, {
      bare: true, signal: interrupt.signal, ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }),
    });
    const tokens = read.slice(0, read.length);
    const progress = createProgress({ label: 'eval', total: policyCount(chosen, flags.match) * tokens.length });
    let all: { results: Evaluation[]; matched: Matched<Evaluation>[] };
    try {
      all = await withMatched(chosen, flags.match, (policy, n) => evaluate(model, tokens, {
        policy, ...(flags.cache && { cache: flags.cache }), context, step: flags.step, signal: interrupt.signal,
        onProgress: (done) => progress.update(n * tokens.length + done, formatPolicy(policy)),
      }), keptOf);
    } finally {
      progress.finish();
    }
    const { matched } = all;
    const control = flags.shuffled ? await evaluateShuffled(model, tokens, {
      ...(flags.cache && { cache: flags.cache }), context, step: flags.step, signal: interrupt.signal,
    }) : undefined;
    const results = control ? [...all.results, control.shuffled] : all.results;
    const { parameters } = model;
    const rows = flags.match === false ? undefined : comparedRows(results, matched);
    if (flags.json) {
      const about = { model: flags.model, parameters, tokens: tokens.length, context, step: flags.step };
      process.stdout.write(`${JSON.stringify({ ...about, results, ...(rows && { match: rows }) })}\n`);
      return;
    }
    const size = `${formatCount(parameters)} weights; ${formatCount(tokens.length)} tokens in contexts of ${context}`;
    const shown = rows ? `${matchTable(rows, results)}${absentText(matched)}` : `${policyTable(results)}\n`;
    process.stdout.write(`${flags.model}: ${size}\n\n${shown}`);
  } finally {
    interrupt.dispose();
    model.dispose();
    engine.dispose();
  }
}

/** How much a policy kept, to find others that keep as much. */
function keptOf({ contexts, meanLiveShare, endLiveShare }: Evaluation): KeptOf {
  return { lengths: contexts.map(({ inputs }) => inputs), meanLiveShare, endShare: endLiveShare };
}

/** Learned types beside one other policy. */
interface ComparedRow extends Partial<Difference> {
  readonly policy?: string;
  /** Null for a policy that was chosen, whatever it keeps. */
  readonly kind: string | null;
  readonly by: Matched<Evaluation>['by'] | null;
  /** Why the policy was not measured. */
  readonly absent?: string;
}

const isLearned = ({ policy }: Evaluation): boolean =>
  policy !== SHUFFLED && kindOf(parsePolicy(policy)).learned === true;

/** How much better or worse learned types are than each of the other policies. */
function comparedRows(results: readonly Evaluation[], matched: readonly Matched<Evaluation>[]): ComparedRow[] {
  const learned = results.find(isLearned)!;
  const beside = (result: Evaluation): Difference => perplexityDifference(learned.contexts, result.contexts);
  const byName = new Set(matched.map(({ policy }) => policy));
  const chosen = results.filter((result) => result !== learned && !byName.has(result.policy));
  return [
    ...chosen.map((result) => ({ policy: result.policy, kind: null, by: null, ...beside(result) })),
    ...matched.map(({ kind, by, policy, result, absent }) => ({
      kind, by, ...(policy !== undefined && { policy }), ...(result ? beside(result) : { absent: absent! }),
    })),
  ];
}

const HEADERS = ['perplexity', 'bits/byte', 'live, mean', 'live, end', 'live, peak', 'resident', 'full', 'ms/token'];

const cells = (result: Evaluation): string[] => [
  result.perplexity.toFixed(3),
  result.bitsPerByte.toFixed(3),
  formatShare(result.meanLiveShare),
  formatShare(result.endLiveShare),
  formatShare(result.peakLiveShare),
  formatBytes(result.residentBytes),
  formatBytes(result.fullBytes),
  result.msPerToken.toFixed(2),
];

/** One row per policy. */
function policyTable(results: readonly Evaluation[]): string {
  return table(['policy', ...HEADERS], results.map((result) => [result.policy, ...cells(result)]));
}

/** One row per comparison: the learned types, then the other policies, and how the perplexity of the first compares. */
function matchTable(rows: readonly ComparedRow[], results: readonly Evaluation[]): string {
  const learned = results.find(isLearned)!;
  const signed = (x: number): string => `${x < 0 ? '-' : '+'}${Math.abs(x).toFixed(2)}%`;
  const lines = rows.filter(({ absent }) => absent === undefined).map(({ policy, by, percent, standardError }) => [
    policy!, by === null ? '' : SAME[by], signed(percent!), standardError === null ? '' : `${standardError!.toFixed(2)}%`,
    ...cells(results.find((result) => result.policy === policy)!),
  ]);
  const { length } = learned.contexts;
  const about = `${learned.policy} vs.: the perplexity of ${learned.policy} relative to the row's, negative where it is better; ` +
    `s.e.: its standard error, paired over ${length} context${length === 1 ? ', so unknown' : 's'}`;
  return `${table(['policy', 'same', `${learned.policy} vs.`, 's.e.', ...HEADERS], [
    [learned.policy, '', '', '', ...cells(learned)], ...lines,
  ], { align: ['left', 'left'] })}\n\n${about}\n`;
}
