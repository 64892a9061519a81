#!/usr/bin/env node
/**
 * The command `natsearch`.
 * @module
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, type Option } from 'commander';
import { oneLine, report } from './errors.ts';
import { registerArena } from './arena/command.ts';
import { registerChat } from './chat.ts';
import { registerEval } from './eval.ts';
import { registerExport } from './export.ts';
import { registerFinetune } from './finetune.ts';
import { registerGenerate } from './generate.ts';
import { registerInspect } from './inspect.ts';
import { registerLearn } from './learn/command.ts';
import { registerPlan } from './plan.ts';
import { refuseEmptyPaths } from './options.ts';
import { packageRoot } from './paths.ts';
import { registerRecall } from './recall.ts';
import { endOnSignals } from './signals.ts';
import { registerStart } from './start.ts';
import { guardStreams } from './streams.ts';
import { registerTrace } from './trace/command.ts';
import { registerTrain } from './train.ts';
import { registerVectors } from './vectors.ts';
import { registerVerify } from './verify.ts';

interface Internals {
  unknownOption(flag: string): never;
  missingMandatoryOptionValue(option: Option): never;
}

/** Reports that --modle is unknown before reporting that --model is missing, unlike plain commander. */
class CommandLine extends Command {
  override createCommand(name?: string): CommandLine {
    return new CommandLine(name);
  }

  missingMandatoryOptionValue(option: Option): void {
    const unknown = this.args.find((argument) => argument.startsWith('-'));
    if (unknown !== undefined) (this as unknown as Internals).unknownOption(unknown);
    (Command.prototype as unknown as Internals).missingMandatoryOptionValue.call(this, option);
  }
}

const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };

const program = new CommandLine('natsearch')
  .description('Neural Attention Search: token types that a model learns, and a cache that forgets by them')
  .version(version)
  .showSuggestionAfterError()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`natsearch: ${oneLine(text.replace(/^error: /, ''))}\n`) });

guardStreams();
endOnSignals();
program.hook('preAction', (_, command) => refuseEmptyPaths(command));
const commands = [
  registerStart, registerTrain, registerFinetune, registerExport, registerEval, registerGenerate, registerChat,
  registerRecall, registerArena, registerTrace, registerLearn, registerInspect, registerPlan, registerVectors,
  registerVerify,
];
for (const register of commands) register(program);
program.addHelpText('after', `
Examples:
  natsearch start
  natsearch train --text books/ --out my-model
  natsearch finetune --model llama --text books/ --keep 0.25 --out my-adapter
  natsearch eval --model my-model --text book.txt
  natsearch arena --model llama --adapter my-adapter --text book.txt --out arena
  natsearch trace --model my-model --text page.txt --out trace.html
  natsearch generate --model my-model --prompt "Call me" --temperature 0.7
  natsearch chat --model qwen2.5-0.5b-instruct --system "Answer in one sentence."
  natsearch vectors --out vectors
  natsearch verify vectors/outputs --dtype f16

Results go to stdout, progress to stderr. NO_COLOR turns colour off.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage,
129, 130, 143 stopped by a closed terminal, Ctrl-C or SIGTERM (after saving what can be saved).`);

/** Commander answers `help` with an unknown command by the whole help; the command itself is reported as unknown. */
function commandLine(argv: readonly string[]): readonly string[] {
  const [word, name] = argv.slice(2);
  const known = name === undefined || name === 'help' || program.commands.some((command) => command.name() === name);
  return word === 'help' && !known ? [...argv.slice(0, 2), name] : argv;
}

try {
  await program.parseAsync(commandLine(process.argv));
} catch (error) {
  process.exitCode = report(error, (text) => process.stderr.write(text));
}
