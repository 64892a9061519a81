/**
 * `natsearch trace`: records what the caches keep of a text under several policies, as one page that opens anywhere.
 * @module
 */
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { UnsupportedError } from '../../core/errors.ts';
import { encodeTrace, expectTraceSize, rawBytes } from '../../evaluate/trace/codec.ts';
import { equalPolicies } from '../../evaluate/trace/equal.ts';
import { markOf } from '../../evaluate/trace/marks.ts';
import { joined, MOST_TOKENS, recordTrace } from '../../evaluate/trace/record.ts';
import type { Trace } from '../../evaluate/trace/trace.ts';
import type { Model } from '../../model/model.ts';
import { withStarts } from '../../model/tokenizer/tokenizer.ts';
import { formatPolicy, kindOf, type Policy } from '../../policies/index.ts';
import type { ConfigOverrides } from '../../model/config/config-overrides.ts';
import { oneLine, UsageError } from '../errors.ts';
import { openEngine, openModel } from '../open.ts';
import {
  bosOption, configOverridesOption, engineOption, type EngineFlags, gpuOption, policies, policyHelp, positive, whole,
} from '../options.ts';
import { forceOption, STDOUT, writeOut } from '../out.ts';
import { checkModelFolder } from '../paths.ts';
import { createProgress, interruptSignal } from '../terminal.ts';
import { readTokens } from '../text.ts';
import { TEXT_HELP } from '../text-files.ts';
import { PAGE_MARK, tracePage } from './page.ts';
import { traceReport, traceText } from './report.ts';

interface Flags extends EngineFlags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  text: string[];
  policy?: readonly Policy[];
  tokens?: number;
  layers?: readonly number[];
  watch: string[];
  maxSize: number;
  bos: boolean;
  out?: string;
  force: boolean;
  json: boolean;
}

/** Numbers of layers, separated by commas. */
function layerList(text: string): readonly number[] {
  const all = text.split(',').map((each) => each.trim());
  if (all.every((each) => /^\d{1,6}$/.test(each))) return [...new Set(all.map(Number))].sort((a, b) => a - b);
  throw new InvalidArgumentError('It must be numbers of layers, such as 0,3.');
}

/** Adds the command. */
export function registerTrace(program: Command): void {
  program.command('trace')
    .description('record what caches keep of a text, token by token, as one page to play back')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .requiredOption('--text <path...>', TEXT_HELP)
    .option('--out <file>', 'the page to write, or - for stdout; needed without --json')
    .option('--policy <p...>', 'what the caches keep, of those below (default: nats, and full, window and h2o at equal bytes)', policies)
    .option('--tokens <n>', 'read only the first n tokens (default: as many as the model was trained for)', whole(1))
    .option('--layers <numbers>', 'record only these layers, such as 0,3', layerList)
    .option('--watch <text...>', 'passages of the text, such as a pass key: when is the last of each forgotten?', [])
    .option('--max-size <MB>', 'the largest page to write', positive, 32)
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(gpuOption())
    .addOption(forceOption())
    .option('--json', 'print one JSON document instead of a summary', false)
    .addHelpText('after', policyHelp())
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  if (flags.out === undefined && !flags.json) throw new UsageError('there is nothing to write: pass --out FILE, or --json');
  if (flags.out === STDOUT && flags.json) throw new UsageError('--out - and --json would both write to stdout: name a file');
  checkModelFolder(flags.model);
  const engine = await openEngine(flags);
  const model = await openModel(flags, engine);
  const interrupt = interruptSignal();
  try {
    const most = Math.min(flags.tokens ?? model.config.maxPositions, MOST_TOKENS);
    const { signal } = interrupt;
    const source = await readTokens(model.tokenizer, flags.text, { bare: true, maxTokens: most, signal });
    const tokens = withStarts(model.tokenizer, source.slice(0, source.length)).slice(0, most);
    const trace = await record(model, tokens, flags, interrupt.signal);
    if (flags.out !== undefined) await write(trace, flags.out, flags);
    if (flags.json) process.stdout.write(`${JSON.stringify(traceReport(trace))}\n`);
    else if (flags.out !== STDOUT) process.stdout.write(traceText(trace, flags.out!));
  } finally {
    interrupt.dispose();
    model.dispose();
    engine.dispose();
  }
}

/** Records the policies of --policy, or learned types and what holds as many bytes. */
async function record(model: Model, tokens: Int32Array, flags: Flags, signal: AbortSignal): Promise<Trace> {
  const { config, engine, policy: own } = model;
  const learned = kindOf(own).learned === true;
  const first = flags.policy ?? [own];
  const planned = flags.policy ? first.length : learned ? 4 : 2;
  const layers = flags.layers ?? Array.from({ length: config.layers }, (_, layer) => layer);
  const limit = flags.maxSize * 1e6;
  // Traces deflate to about half, to which base64 adds a third. The page is checked again before it is written.
  const raw = rawBytes(tokens.length, layers.length * config.kvHeads, planned);
  if (flags.out !== undefined) expectTraceSize(raw / 2, limit);
  const marks = flags.watch.map((passage) => markOf(model.tokenizer, tokens, passage));
  const progress = createProgress({ label: 'trace', total: planned * tokens.length });
  try {
    const recordAll = (each: readonly Policy[], before: number): Promise<Trace> => recordTrace(model, tokens, {
      policies: each, layers, marks, signal, name: [flags.model, flags.adapter].filter(Boolean).map((path) => basename(path!)).join(' + '),
      onProgress: (done) => progress.update(before * tokens.length + done),
    });
    const trace = await recordAll(first, 0);
    if (flags.policy) return trace;
    const full: Policy = { kind: 'full' };
    const others = learned ? [full, ...await equal(trace, model)] : [{ kind: 'window', window: Math.ceil(tokens.length / 8) } as const];
    const rest = await recordAll(others.filter((policy) => formatPolicy(policy) !== formatPolicy(own)), 1);
    return learned ? joined(rest, trace) : joined(trace, rest);
  } finally {
    progress.finish();
  }

  async function equal({ policies: [traced] }: Trace, { config: sizes }: Model): Promise<Policy[]> {
    try {
      return await equalPolicies(traced, ['window', 'h2o'], engine, sizes);
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      process.stderr.write(`natsearch: note: ${oneLine(error.message)}; h2o is left out\n`);
      return equalPolicies(traced, ['window'], engine, sizes);
    }
  }
}

async function write(trace: Trace, out: string, { maxSize, force }: Flags): Promise<void> {
  const page = tracePage(await encodeTrace(trace), trace.model);
  const bytes = new TextEncoder().encode(page);
  expectTraceSize(bytes.length, maxSize * 1e6);
  await writeOut(out, bytes, { force, what: 'earlier trace', isOurs: isTrace });
}

/** Whether a file is a page of an earlier trace. */
async function isTrace(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(400), 0, 400, 0);
    return buffer.toString('utf8', 0, bytesRead).includes(PAGE_MARK);
  } finally {
    await file.close();
  }
}
