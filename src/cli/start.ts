/**
 * `natsearch start`: shows what the shipped model keeps of a book, and what forgetting the rest costs.
 * @module
 */
import type { Command } from 'commander';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { ValueError } from '../core/errors.ts';
import { evaluate, type Evaluation } from '../evaluate/evaluate.ts';
import { TOKEN_TYPE_NAMES } from '../core/lifetime.ts';
import type { Policy } from '../policies/index.ts';
import type { Model } from '../model/model.ts';
import { lifetimeOptions } from '../model/policy.ts';
import { continueText, summary } from './generate.ts';
import { openEngine, openModel } from './open.ts';
import { engineOption, gpuOption, threadsOption, whole } from './options.ts';
import { formatLegend, formatPassage, TypeRecord, typedCharacters, typeShares } from './passage.ts';
import { checkModelFolder, shipped } from './paths.ts';
import {
  colours, createProgress, formatBytes, formatCount, formatShare, interruptSignal, printable, type Progress, table,
} from './terminal.ts';
import { tokensOf } from './prompt.ts';
import { askForKeys, memoryTable } from './start-memory.ts';
import { readDocuments } from './text.ts';
import { TEXT_HELP } from './text-files.ts';

/** How many characters of the passage to show, and how many to continue from. */
const [SHOWN, PROMPT] = [1200, 200];
/** A dense model of which the package has no copy, the types that it learned, and a text to hide names in. */
const MEMORY = [shipped('models/base'), shipped('models/adapters/far-0.1-w32'), shipped('examples/address.txt')];
const [BASE, ADAPTER, FILLER] = MEMORY;
/** Tokens fed at once. Affects speed, never results. */
const STEP = 32;

interface Flags {
  model: string;
  dense: string;
  text: string[];
  context?: number;
  maxNewTokens: number;
  seed: number;
  engine?: CpuChoice;
  threads?: number;
  gpu?: GpuChoice;
  json: boolean;
}

/** One row of the comparison. */
interface Row {
  readonly name: string;
  readonly result: Evaluation;
}

/** Adds the command. */
export function registerStart(program: Command): void {
  const command = program.command('start');
  command
    .description('read a passage through the evicting cache, show what it keeps, and continue the text')
    .option('--model <dir>', 'model folder', shipped('models/nats'))
    .option('--dense <dir>', 'its dense twin, for comparison', shipped('models/full'))
    .option('--text <path...>', TEXT_HELP, [shipped('examples/moby-dick.txt')])
    .option('--context <n>', 'tokens after which a new cache begins (default: as trained)', whole(1))
    .option('--max-new-tokens <n>', 'length of the continuation', whole(1), 300)
    .option('--seed <n>', 'names the random stream', whole(0), 0)
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(gpuOption())
    .option('--json', 'print one JSON document instead', false)
    .action((flags: Flags) => {
      const [dense, model, text] = ['dense', 'model', 'text'].map((name) => command.getOptionValueSource(name) === 'default');
      return run(flags, dense, model && text);
    });
}

async function run(flags: Flags, denseIsOptional: boolean, hasBase: boolean): Promise<void> {
  checkModelFolder(flags.model);
  const engine = await openEngine(flags);
  const model = await openModel(flags, engine);
  const noDense = denseIsOptional && !existsSync(flags.dense);
  let dense = noDense ? undefined : await openModel({ model: flags.dense }, engine);
  const interrupt = interruptSignal();
  try {
    const text = (await readDocuments(flags.text, interrupt.signal)).join('\n');
    const say = (lines: string) => void (flags.json || process.stdout.write(`${lines}\n`));
    const { config } = model;
    const tokens = model.tokenizer.encode(text);
    if (dense && !sameTokens(dense.tokenizer.encode(text), tokens)) {
      if (!denseIsOptional) {
        throw new ValueError(`${flags.dense} makes other tokens of the text than ${flags.model}: pass its twin to --dense`);
      }
      dense.dispose(); // the twin of the shipped model, which --model replaces
      dense = undefined;
    }
    const context = flags.context ?? config.maxPositions;
    const size = `${formatCount(model.parameters)} weights, ${config.layers} layers, ${config.kvHeads} KV heads each`;
    say(`${flags.model}: ${size}, on the engine ${engine.name}`);
    say(`${flags.text.join(', ')}: ${formatCount(tokens.length)} tokens, in contexts of ${formatCount(context)}`);
    const reading = await read(model, dense, tokens, context, flags, interrupt.signal);
    for (const part of describe(model, text, reading)) say(part);
    const prompt = promptOf(text);
    say(`\n${heading('The model continues')}\n${colours(process.stdout).dim(printable(prompt, process.stdout))}`);
    const continuation = await continueText(
      model, tokensOf(model, prompt),
      { maxNewTokens: flags.maxNewTokens, seed: flags.seed, temperature: 0.7, topK: 40, signal: interrupt.signal },
      (piece) => void (flags.json || process.stdout.write(printable(piece, process.stdout))),
    );
    say(`\n${summary(continuation)}`);
    const memory = hasBase && MEMORY.every((path) => existsSync(path))
      ? await askForKeys(BASE, ADAPTER, engine, (await readDocuments([FILLER])).join('\n'), flags.seed, interrupt.signal)
      : undefined;
    if (memory) {
      say(`\n${heading('Names told once, and asked for much later')} (${BASE}, ${ADAPTER}; they are hidden in ${FILLER})`);
      say(`These are ${memory.rule}. Wrong answers are in brackets.`);
      say(memoryTable(memory));
    }
    if (!flags.json) return;
    const { rows, types, shown: { layer, head } } = reading;
    const ofHead = types.head(layer, head);
    const names = Array.from(ofHead, (type) => TOKEN_TYPE_NAMES[type] ?? null); // null: never fed
    process.stdout.write(`${JSON.stringify({
      model: flags.model, engine: engine.name, parameters: model.parameters, text: flags.text, context,
      results: rows.map(({ name, result }) => ({ name, ...result })),
      types: { layer, head, shares: typeShares(ofHead), tokens: names },
      continuation: { prompt, seed: flags.seed, ...continuation },
      ...(memory && { memory }),
    })}\n`);
  } finally {
    interrupt.dispose();
    model.dispose();
    dense?.dispose();
    engine.dispose();
  }
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, n) => id === b[n]);
}

/** The results of reading the passage. */
interface Reading {
  /** The model with its own policy, with a full cache, and its dense twin. */
  readonly rows: readonly Row[];
  readonly types: TypeRecord;
  /** The head whose types are shown. */
  readonly shown: { readonly layer: number; readonly head: number };
}

async function read(
  model: Model, dense: Model | undefined, tokens: Int32Array, context: number, flags: Flags, signal: AbortSignal,
): Promise<Reading> {
  const { policy, config: { layers, kvHeads } } = model;
  const { chunk } = lifetimeOptions(policy, model.config);
  const starts = model.tokenizer.starts.length;
  const types = new TypeRecord({ length: tokens.length, context, chunk, layers, kvHeads, starts });
  const runs: { name: string; model: Model; policy: Policy }[] = [
    { name: `${basename(flags.model)}, NAtS cache`, model, policy },
    { name: `${basename(flags.model)}, full cache`, model, policy: { kind: 'full' } },
  ];
  if (dense) {
    runs.push({ name: `${basename(flags.dense)} (dense twin), full cache`, model: dense, policy: { kind: 'full' } });
  }
  const progress: Progress = createProgress({ label: 'reading', total: runs.length * tokens.length });
  const rows: Row[] = [];
  try {
    for (const [n, { name, model: reader, policy: kept }] of runs.entries()) {
      const result = await evaluate(reader, tokens, {
        policy: kept, context, step: STEP, signal,
        onProgress: (done) => progress.update(n * tokens.length + done),
        ...(n === 0 && { onTypes: types.add.bind(types) }),
      });
      rows.push({ name, result });
    }
  } finally {
    progress.finish();
  }
  return { rows, types, shown: types.mostVaried(Math.min(SHOWN, tokens.length)) };
}

/** About the last PROMPT characters, from the beginning of a word. */
function promptOf(text: string): string {
  const characters = Array.from(text.trimEnd());
  const end = characters.slice(-PROMPT).join('');
  const space = end.search(/\s/);
  return characters.length <= PROMPT || space < 0 ? end : end.slice(space + 1);
}

/** The report, part by part. */
function* describe(model: Model, text: string, { rows, types, shown }: Reading): Generator<string> {
  const own = rows[0].result;
  yield `\n${heading('Quality and memory')}`;
  yield table(['', 'perplexity', 'bits/byte', 'live, mean', 'live, peak', 'resident'], rows.map(({ name, result }) => [
    name, result.perplexity.toFixed(3), result.bitsPerByte.toFixed(3),
    formatShare(result.meanLiveShare), formatShare(result.peakLiveShare), formatBytes(result.residentBytes),
  ]));
  yield `\n${heading(`The cache after ${formatCount(own.fullEntries)} tokens`)}`;
  yield cacheTable(own);
  const { layer, head } = shown;
  const ofHead = types.head(layer, head);
  yield `\n${heading(`Token types in layer ${layer}, KV head ${head}`)} (of all heads, its types are the most mixed)`;
  yield formatLegend(typeShares(ofHead), lifetimeOptions(model.policy, model.config), process.stdout);
  yield '';
  yield formatPassage(typedCharacters(model.tokenizer, text, ofHead, SHOWN), process.stdout);
}

/** The live entries and resident bytes of each head, compared with a full cache. */
function cacheTable(own: Evaluation): string {
  const row = (name: string, entries: number, bytes: number, heads: number) => [
    name, formatCount(entries), formatCount(heads * own.fullEntries), formatShare(entries / (heads * own.fullEntries)),
    formatBytes(bytes), formatBytes(heads * own.fullBytesPerHead),
  ];
  const heads = own.live.flatMap((layer, l) => layer.map((entries, g) => {
    return row(`layer ${l}, KV head ${g}`, entries, own.bytes[l][g], 1);
  }));
  const all = own.live.flat();
  return table(['', 'live', 'of', 'share', 'resident', 'of'], [
    ...heads, row('all', all.reduce((a, b) => a + b, 0), own.residentBytes, all.length),
  ]);
}

function heading(text: string): string {
  return colours(process.stdout).bold(text);
}
