/**
 * `natsearch chat`: a conversation in the terminal, in one session that reads only what is new at each turn.
 * @module
 */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { ConfigError } from '../core/errors.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import { Conversation, type Turn } from './conversation.ts';
import { UsageError } from './errors.ts';
import { ChatInput } from './chat-input.ts';
import { openEngine, openModel } from './open.ts';
import { bosOption, computeOption, configOverridesOption, engineOption, gpuOption, threadsOption } from './options.ts';
import { checkModelFolder, find } from './paths.ts';
import { addSamplingOptions, type SamplingFlags, samplingOptions } from './sampling.ts';
import { colours, formatBytes, formatCount, formatDuration, formatShare, printable } from './terminal.ts';

interface Flags extends SamplingFlags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  system?: string;
  chatTemplate?: string;
  bos: boolean;
  engine?: CpuChoice;
  threads?: number;
  gpu?: GpuChoice;
  compute?: 'f32' | 'f16';
  json: boolean;
}

const HELP = `/help   this list
/reset  forget the conversation and start a new one
/quit   leave, as Ctrl-D does
Ctrl-C stops an answer. Between answers, or pressed a second time, it leaves.
To send a message that begins with /, begin it with //.
`;

/** Adds the command. */
export function registerChat(program: Command): void {
  const command = program.command('chat')
    .description('talk with a model that has a chat template; from a pipe, each line is a message')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .option('--system <text>', 'instructions for the model, before the conversation')
    .option('--chat-template <file>', 'a Jinja template instead of the model\'s own');
  addSamplingOptions(command)
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(gpuOption())
    .addOption(computeOption())
    .option('--json', 'print every answer as one line of JSON', false)
    .addHelpText('after', `\nIn the conversation:\n${HELP}`)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  checkModelFolder(flags.model);
  if (flags.system === '') throw new UsageError('--system is empty: give it at least one character, or leave it out');
  const template = flags.chatTemplate === undefined ? undefined : await readTemplate(flags.chatTemplate);
  const engine = await openEngine(flags);
  const model = await openModel(flags, engine, ({ chatTemplate }) => {
    if (chatTemplate || template !== undefined) return;
    throw new ConfigError(`${flags.model} has no chat template, in tokenizer_config.json or chat_template.jinja: take a model that was made for conversations, give --chat-template, or continue text with natsearch generate`);
  });
  const options = { ...samplingOptions(flags, model), ...(template !== undefined && { template }) };
  const conversation = new Conversation(model, options, flags.system);
  const input = new ChatInput();
  try {
    for await (const line of input.lines()) await take(line, conversation, input, flags.json);
  } finally {
    input.dispose();
    conversation.dispose();
    model.dispose();
    engine.dispose();
  }
}

async function readTemplate(path: string): Promise<string> {
  if (find(path, 'file', 'pass a file with a Jinja template').isDirectory()) {
    throw new UsageError(`--chat-template ${path} is a folder: name a file`);
  }
  return readFile(path, 'utf8');
}

/** Handles a line of the user: a command, or a message to answer. */
async function take(line: string, conversation: Conversation, input: ChatInput, json: boolean): Promise<void> {
  const text = line.trim();
  if (text === '') return;
  if (text === '/quit' || text === '/exit') return input.leave();
  if (text === '/reset') {
    conversation.reset();
    process.stderr.write('natsearch: the conversation is forgotten\n');
    return;
  }
  if (text.startsWith('/') && !text.startsWith('//')) {
    process.stderr.write(text === '/help' ? HELP : `natsearch: there is no command ${text.split(/\s/)[0].slice(0, 40)}; /help lists them\n`);
    return;
  }
  let written = '';
  const turn = await input.answering((signal) => conversation.answer(text.replace(/^\/\//, '/'), signal, (piece) => {
    written += piece;
    if (!json) process.stdout.write(printable(piece, process.stdout));
  }));
  if (json) process.stdout.write(`${JSON.stringify(turn)}\n`);
  else process.stdout.write(written.endsWith('\n') ? '' : '\n');
  if (!json) process.stderr.write(`${colours(process.stderr).dim(described(turn))}\n`);
}

/** A line such as "12 tokens in 1.2 s ...". */
function described({ newTokens, seconds, read, readBefore, again, finish, policy, cache }: Turn): string {
  const stopped = finish === 'stopped' ? ', stopped' : '';
  const rest = again ? ' (all of it: the template rewrites what was said before)' : ` new of ${formatCount(read + readBefore)}`;
  return `${formatCount(newTokens)} tokens in ${formatDuration(seconds)}${stopped}; ` +
    `read ${formatCount(read)}${rest}; cache (${policy}): ${formatCount(cache.live)} of ${formatCount(cache.full)} ` +
    `entries live (${formatShare(cache.full === 0 ? 1 : cache.live / cache.full)}), ${formatBytes(cache.bytes)}`;
}
