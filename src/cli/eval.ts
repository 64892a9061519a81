/**
 * `natsearch eval`: measures what each cache policy costs in quality and saves in memory.
 * @module
 */
import type { Command } from 'commander';
import type { GpuChoice } from '../engines.ts';
import { evaluate, type Evaluation } from '../evaluate/evaluate.ts';
import type { KeptOf } from '../evaluate/match.ts';
import { formatPolicy } from '../policies/index.ts';
import { openEngine, openModel } from './open.ts';
import { bosOption, gpuOption, whole } from './options.ts';
import { checkModelFolder } from './paths.ts';
import { addPolicyOptions, checkPolicyFlags, chosenPolicies, policyCount, type PolicyFlags, withMatched } from './policies.ts';
import { createProgress, formatBytes, formatCount, formatShare, interruptSignal, table } from './terminal.ts';
import { readTokens } from './text.ts';
import { TEXT_HELP } from './text-files.ts';

interface Flags extends PolicyFlags {
  model: string;
  adapter?: string;
  bos: boolean;
  text: string[];
  context?: number;
  maxTokens?: number;
  step: number;
  gpu?: GpuChoice;
  json: boolean;
}

/** Adds the command. */
export function registerEval(program: Command): void {
  const command = program.command('eval')
    .description('decode text through the evicting cache and compare policies')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .requiredOption('--text <path...>', TEXT_HELP)
    .option('--context <n>', 'tokens after which a new cache begins (default: as trained)', whole(1))
    .option('--max-tokens <n>', 'read only the first n tokens, and no more of the texts than they need', whole(1))
    .option('--step <n>', 'tokens fed at once; affects speed, never results', whole(1), 1)
    .addOption(bosOption())
    .addOption(gpuOption())
    .option('--json', 'print one JSON document instead', false)
    .action(run);
  addPolicyOptions(command);
}

async function run(flags: Flags): Promise<void> {
  checkPolicyFlags(flags);
  checkModelFolder(flags.model);
  const engine = await openEngine(flags.gpu);
  const model = await openModel(flags.model, engine, flags.adapter, flags.bos);
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
    let results: Evaluation[];
    try {
      results = await withMatched(chosen, flags.match, (policy, n) => evaluate(model, tokens, {
        policy, context, step: flags.step, signal: interrupt.signal,
        onProgress: (done) => progress.update(n * tokens.length + done, formatPolicy(policy)),
      }), keptOf);
    } finally {
      progress.finish();
    }
    const { parameters } = model;
    if (flags.json) {
      const about = { model: flags.model, parameters, tokens: tokens.length, context, step: flags.step };
      process.stdout.write(`${JSON.stringify({ ...about, results })}\n`);
      return;
    }
    const size = `${formatCount(parameters)} weights; ${formatCount(tokens.length)} tokens in contexts of ${context}`;
    process.stdout.write(`${flags.model}: ${size}\n\n${policyTable(results)}\n`);
  } finally {
    interrupt.dispose();
    model.dispose();
    engine.dispose();
  }
}

/** How much a policy kept, to find patterns that keep as much. */
function keptOf({ live, fullEntries, meanLiveShare }: Evaluation): KeptOf {
  const heads = live.flat();
  const endShare = heads.reduce((a, b) => a + b, 0) / (heads.length * fullEntries);
  return { length: fullEntries, meanLiveShare, endShare };
}

/** One row per policy. */
function policyTable(results: readonly Evaluation[]): string {
  const headers = ['policy', 'perplexity', 'bits/byte', 'live, mean', 'live, peak', 'resident', 'full', 'ms/token'];
  return table(headers, results.map((result) => [
    result.policy,
    result.perplexity.toFixed(3),
    result.bitsPerByte.toFixed(3),
    formatShare(result.meanLiveShare),
    formatShare(result.peakLiveShare),
    formatBytes(result.residentBytes),
    formatBytes(result.fullBytes),
    result.msPerToken.toFixed(2),
  ]));
}
