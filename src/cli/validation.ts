/**
 * --validation of `train` and `finetune`: text held out, and when the model is tried on it.
 * @module
 */
import { Option } from 'commander';
import type { Tokenizer } from '../model/tokenizer/tokenizer.ts';
import type { TokenSource } from '../train/token-store.ts';
import { VALIDATION_TOKENS, type Validation, validationWindows } from '../train/validation.ts';
import { UsageError } from './errors.ts';
import { whole } from './options.ts';
import { formatCount, formatShare } from './terminal.ts';
import { readTokens } from './text.ts';
import { STDIN, TEXT_HELP } from './text-files.ts';

/** Flags of validationOptions(). */
export interface ValidationFlags {
  text: string[];
  validation?: string[];
  validateEvery?: number;
  validationTokens: number;
  saveEvery: number;
}

/** --validation, --validate-every and --validation-tokens. */
export function validationOptions(): Option[] {
  return [
    new Option('--validation <path...>', `${TEXT_HELP}: held out, and the loss on them printed and logged; it changes nothing else`),
    new Option('--validate-every <steps>', 'steps between validations; there is one after the last too (default: --save-every)')
      .argParser(whole(1)),
    new Option('--validation-tokens <n>', 'read and score only the first n tokens of --validation')
      .argParser(whole(1)).default(VALIDATION_TOKENS),
  ];
}

/** When to validate, and on what. */
export interface ValidationPlan {
  readonly tokens: TokenSource;
  readonly every: number;
}

/** Refuses contradictions before anything is read. */
export function checkValidation({ text, validation, validateEvery }: ValidationFlags): void {
  if (validation === undefined && validateEvery !== undefined) {
    throw new UsageError(`--validate-every ${validateEvery} has nothing to validate on: add --validation PATH`);
  }
  if (text.includes(STDIN) && validation?.includes(STDIN)) {
    throw new UsageError('stdin (-) is named by --text and --validation: it can be read once');
  }
}

/** Reads the text held out, if there is one. */
export async function planValidation(
  flags: ValidationFlags, tokenizer: Tokenizer, context: number,
): Promise<ValidationPlan | undefined> {
  if (flags.validation === undefined) return undefined;
  const most = flags.validationTokens;
  const tokens = await readTokens(tokenizer, flags.validation, { maxTokens: most + 1 });
  validationWindows(tokens, context); // refuses a text that is too short
  return { tokens, every: flags.validateEvery ?? flags.saveEvery };
}

/** Tries a run on its text held out, when that is due. */
export class Trial {
  readonly #plan: ValidationPlan | undefined;
  readonly #steps: number;
  readonly #validate: (tokens: TokenSource) => Promise<Validation>;
  readonly #say: (line: string) => void;
  #validated = -1;

  /**
   * @param plan Without one, nothing is ever due.
   * @param steps Of the run.
   * @param say Is told each result, in a line for people.
   */
  constructor(
    plan: ValidationPlan | undefined, steps: number, validate: (tokens: TokenSource) => Promise<Validation>,
    say: (line: string) => void,
  ) {
    this.#plan = plan;
    this.#steps = steps;
    this.#validate = validate;
    this.#say = say;
  }

  /** What the log's line of `step` gets: nothing, if it is not due. */
  async after(step: number): Promise<Record<string, number>> {
    if (!this.#plan || (step % this.#plan.every !== 0 && step !== this.#steps)) return {};
    const found = await this.#validate(this.#plan.tokens);
    this.#validated = step;
    this.#say(sayValidation(step, found));
    const { loss, relativeLoss, kept } = found;
    const relative = relativeLoss !== undefined && { validationRelativeLoss: relativeLoss };
    return { validationLoss: loss, ...relative, validationKept: kept };
  }

  /** The same after the last step, for a run that goes on from there and has no more steps to make. */
  async end(): Promise<Record<string, number>> {
    return this.#validated === this.#steps ? {} : this.after(this.#steps);
  }
}

function sayValidation(step: number, { loss, relativeLoss, tokens, kept }: Validation): string {
  const what = relativeLoss === undefined ? `${loss.toFixed(3)} nats per token` : `${(100 * relativeLoss).toFixed(2)}%`;
  return `step ${formatCount(step)}: validation loss ${what} over ${formatCount(tokens)} tokens, kept ${formatShare(kept)}`;
}
