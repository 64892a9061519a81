/**
 * `natsearch generate`: streams a continuation to stdout.
 * @module
 */
import type { Command } from 'commander';
import type { GpuChoice } from '../engines.ts';
import { formatPolicy, type Policy } from '../model/config.ts';
import type { GenerateOptions } from '../model/generate-options.ts';
import type { Model } from '../model/model.ts';
import { withStarts } from '../model/tokenizer.ts';
import { UsageError } from './errors.ts';
import { noteIfRepeated } from './notes.ts';
import { cacheUse, type CacheUse, openEngine, openModel } from './open.ts';
import { bosOption, gpuOption, notNegative, policy as policyOption, whole } from './options.ts';
import { checkModelFolder } from './paths.ts';
import { formatBytes, formatCount, formatDuration, formatShare, interruptSignal, printable } from './terminal.ts';

interface Flags {
  model: string;
  adapter?: string;
  bos: boolean;
  prompt: string;
  maxNewTokens: number;
  temperature: number;
  topK?: number;
  seed: number;
  policy?: Policy;
  gpu?: GpuChoice;
  json: boolean;
}

/** Adds the command. */
export function registerGenerate(program: Command): void {
  program.command('generate')
    .description('continue a prompt; text goes to stdout as it comes, the summary to stderr')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .requiredOption('--prompt <text>', 'what to continue')
    .option('--max-new-tokens <n>', 'most tokens to make', whole(1), 256)
    .option('--temperature <t>', '0 picks the likeliest token', notNegative, 0.8)
    .option('--top-k <k>', 'sample among the k likeliest tokens', whole(1))
    .option('--seed <n>', 'names the random stream', whole(0), 0)
    .option('--policy <p>', 'nats, full, window:W or streaming:S+W (default: as trained)', policyOption)
    .addOption(bosOption())
    .addOption(gpuOption())
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const { prompt, json } = flags;
  if (prompt === '') throw new UsageError('the prompt is empty: give --prompt at least one character');
  checkModelFolder(flags.model);
  const engine = await openEngine(flags.gpu);
  const model = await openModel(flags.model, engine, flags.adapter, flags.bos);
  const interrupt = interruptSignal();
  try {
    noteIfRepeated(model.tokenizer, prompt, 'the prompt');
    warnBeyondTraining(model, prompt, flags.maxNewTokens);
    const { maxNewTokens, temperature, topK, seed, policy } = flags;
    const chosen = { maxNewTokens, temperature, seed, ...(topK && { topK }), ...(policy && { policy }) };
    const report = await continueText(model, prompt, { ...chosen, signal: interrupt.signal }, (text) => {
      if (!json) process.stdout.write(printable(text, process.stdout));
    });
    if (json) process.stdout.write(`${JSON.stringify({ model: flags.model, prompt, seed: flags.seed, ...report })}\n`);
    else process.stderr.write(`${summary(report)}\n`);
  } finally {
    interrupt.dispose();
    model.dispose();
    engine.dispose();
  }
}

/** What a continuation was, and what it cost. */
export interface Continuation {
  readonly policy: string;
  readonly text: string;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Time of the prompt and of the tokens after it. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  readonly tokensPerSecond: number;
  /** Of the caches at the end. */
  readonly cache: CacheUse;
}

/** Continues `prompt`, hands out the pieces, ends the text with a newline, and measures. */
export async function continueText(
  model: Model, prompt: string, options: GenerateOptions, onText: (text: string) => void,
): Promise<Continuation> {
  const tokens = model.tokenizer.encode(prompt);
  const promptTokens = tokens.length;
  const fed = withStarts(model.tokenizer, tokens).length;
  const begin = performance.now();
  let [text, newTokens, prefilled, end] = ['', 0, begin, begin];
  let cache: CacheUse = { live: 0, full: 0, bytes: 0, fullBytes: 0 };
  try {
    const pieces = model.generate(prompt, {
      ...options,
      onStep: async (session) => {
        end = performance.now();
        newTokens = session.lengths[0]! - fed + 1; // the newest token is not seen yet
        if (newTokens === 1) prefilled = end;
        if (newTokens > 0) cache = cacheUse(await session.stats());
      },
    });
    for await (const piece of pieces) {
      text += piece;
      onText(piece);
    }
  } finally {
    if (text !== '' && !text.endsWith('\n')) onText('\n');
  }
  const [prefillSeconds, decodeSeconds] = [(prefilled - begin) / 1000, (end - prefilled) / 1000];
  return {
    policy: formatPolicy(options.policy ?? model.policy),
    text, promptTokens, newTokens, prefillSeconds, decodeSeconds,
    tokensPerSecond: decodeSeconds > 0 ? (newTokens - 1) / decodeSeconds : 0,
    cache,
  };
}

/** 128 tokens in 2.5 s ... */
export function summary(continuation: Continuation): string {
  const { newTokens, prefillSeconds, decodeSeconds, tokensPerSecond, policy, cache } = continuation;
  const time = formatDuration(prefillSeconds + decodeSeconds);
  return `${formatCount(newTokens)} tokens in ${time}, ${tokensPerSecond.toFixed(1)} tokens/s after the prompt; ` +
    `cache (${policy}): ${formatCount(cache.live)} of ${formatCount(cache.full)} entries live ` +
    `(${formatShare(cache.live / cache.full)}), ${formatBytes(cache.bytes)} resident`;
}

/** Positions beyond the trained context still work, but the model has never seen them. */
function warnBeyondTraining(model: Model, prompt: string, maxNewTokens: number): void {
  const most = withStarts(model.tokenizer, model.tokenizer.encode(prompt)).length + maxNewTokens;
  const { maxPositions } = model.config;
  if (most > maxPositions) {
    const note = `up to ${most} tokens, but the model was trained on ${maxPositions}: expect worse text beyond`;
    process.stderr.write(`natsearch: note: ${note}\n`);
  }
}
