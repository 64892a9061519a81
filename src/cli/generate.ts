/**
 * `natsearch generate`: streams the continuation of a prompt to stdout.
 * @module
 */
import type { Command } from 'commander';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { formatPolicy } from '../policies/index.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import type { GeneratedToken, GenerateOptions } from '../model/generate/generate-options.ts';
import type { Model } from '../model/model.ts';
import type { FinishReason } from '../model/generate/sequence.ts';
import { UsageError } from './errors.ts';
import { noteIfRepeated } from './notes.ts';
import { cacheUse, type CacheUse, openEngine, openModel } from './open.ts';
import {
  bosOption, computeOption, configOverridesOption, engineOption, gpuOption, threadsOption, whole,
} from './options.ts';
import { checkModelFolder } from './paths.ts';
import { patientProgress, type PromptTokens, readPrompt, tokensOf } from './prompt.ts';
import { addSamplingOptions, type SamplingFlags, samplingOptions } from './sampling.ts';
import { formatBytes, formatCount, formatDuration, formatShare, interruptSignal, printable } from './terminal.ts';

interface Flags extends SamplingFlags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  bos: boolean;
  prompt?: string;
  promptFile?: string;
  logprobs?: number;
  engine?: CpuChoice;
  threads?: number;
  gpu?: GpuChoice;
  compute?: 'f32' | 'f16';
  json: boolean;
}

/** Adds the command. */
export function registerGenerate(program: Command): void {
  const command = program.command('generate')
    .description('continue a prompt; text goes to stdout as it is generated, a summary to stderr')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .option('--prompt <text>', 'the text to continue, or - to read it from stdin')
    .option('--prompt-file <path>', 'the file to continue, without the newline at its end');
  addSamplingOptions(command)
    .option('--logprobs <n>', 'with --json: log-probabilities of every token and of the n most likely ones', whole(0))
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(gpuOption())
    .addOption(computeOption())
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const { json, logprobs } = flags;
  if (logprobs !== undefined && !json) throw new UsageError('--logprobs needs --json, which prints them');
  if (logprobs !== undefined && logprobs > 100) throw new UsageError(`--logprobs is ${logprobs}: it must be at most 100`);
  checkModelFolder(flags.model);
  const prompt = await readPrompt(flags);
  const engine = await openEngine(flags);
  const model = await openModel(flags, engine);
  const interrupt = interruptSignal();
  try {
    const options = { ...samplingOptions(flags, model), ...(logprobs !== undefined && { logprobs }) };
    const tokens = tokensOf(model, prompt);
    noteIfRepeated(model.tokenizer, prompt, 'the prompt');
    noteBeyondTraining(model, tokens.fed.length, options.maxNewTokens);
    const report = await continueText(model, tokens, { ...options, signal: interrupt.signal }, (text) => {
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

/** A continuation, and what it cost. */
export interface Continuation {
  readonly policy: string;
  readonly text: string;
  /** Whether it ended at a token that ends texts, at a stop text, or at the largest number of tokens. */
  readonly finish: FinishReason;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** The time that the prompt took. */
  readonly prefillSeconds: number;
  /** The time that the tokens after it took. */
  readonly decodeSeconds: number;
  readonly tokensPerSecond: number;
  /** What the caches hold at the end. */
  readonly cache: CacheUse;
  /** Natural log-probabilities by the model's own distribution, if they were requested. */
  readonly logprobs?: readonly object[];
}

/** Continues `prompt`, passes on the pieces, ends the text with a newline, and measures it all. */
export async function continueText(
  model: Model, prompt: PromptTokens, options: GenerateOptions, onText: (text: string) => void,
): Promise<Continuation> {
  const { fed, own: promptTokens } = prompt;
  const begin = performance.now();
  let [text, newTokens, prefilled, end] = ['', 0, begin, begin];
  let cache: CacheUse = { live: 0, full: 0, bytes: 0, fullBytes: 0 };
  let finish: FinishReason = 'length';
  const withLogprobs: GeneratedToken[] = [];
  const progress = patientProgress('read the prompt (tokens)');
  const { policy, cache: dtype, ...others } = options;
  const session = model.session({ ...(policy && { policy }), ...(dtype && { cache: dtype }) });
  try {
    // No callback looks at the session after each step, so that steps can be in flight.
    const pieces = model.generateBatch([fed], {
      ...others, session,
      onPrompt: (done, total) => {
        if (done < total) return progress.update(done, total);
        prefilled = performance.now();
        progress.finish();
      },
      onToken: (token) => {
        newTokens++;
        end = performance.now();
        if (options.logprobs !== undefined) withLogprobs.push(token);
      },
    });
    for await (const piece of pieces) {
      text += piece.text;
      finish = piece.finish ?? finish;
      if (piece.text !== '') onText(piece.text);
    }
    cache = await cacheUse(model, session);
  } finally {
    session.dispose();
    progress.finish();
    if (text !== '' && !text.endsWith('\n')) onText('\n');
  }
  const [prefillSeconds, decodeSeconds] = [(prefilled - begin) / 1000, (end - prefilled) / 1000];
  return {
    policy: formatPolicy(options.policy ?? model.policy),
    text, finish, promptTokens, newTokens, prefillSeconds, decodeSeconds,
    tokensPerSecond: decodeSeconds > 0 ? (newTokens - 1) / decodeSeconds : 0,
    cache,
    ...(options.logprobs !== undefined && { logprobs: withLogprobs.map((token) => withTexts(model, token)) }),
  };
}

/** A token with its text, and the texts of the most likely ones. */
function withTexts({ tokenizer }: Model, { token, logprob, top = [] }: GeneratedToken): object {
  const textOf = (each: number) => {
    const decoder = tokenizer.decoder({ specials: true });
    return decoder.push(each) + decoder.end();
  };
  return { token, text: textOf(token), logprob, top: top.map((each) => ({ ...each, text: textOf(each.token) })) };
}

/** A line such as "128 tokens in 2.5 s ...". */
export function summary(continuation: Continuation): string {
  const { newTokens, prefillSeconds, decodeSeconds, tokensPerSecond, policy, cache } = continuation;
  const time = formatDuration(prefillSeconds + decodeSeconds);
  return `${formatCount(newTokens)} tokens in ${time}, ${tokensPerSecond.toFixed(1)} tokens/s after the prompt; ` +
    `cache (${policy}): ${formatCount(cache.live)} of ${formatCount(cache.full)} entries live ` +
    `(${formatShare(cache.live / cache.full)}), ${formatBytes(cache.bytes)} resident`;
}

/** Notes that the text may go beyond the trained context, which works, but with positions the model has never seen. */
function noteBeyondTraining(model: Model, fed: number, maxNewTokens: number | undefined): void {
  const { maxPositions } = model.config;
  const most = fed + (maxNewTokens ?? model.generationDefaults?.maxNewTokens ?? 0);
  if (most <= maxPositions) return;
  const note = `the text may reach ${most} tokens, but the model was trained on ${maxPositions}: expect it to get worse beyond`;
  process.stderr.write(`natsearch: note: ${note}\n`);
}
