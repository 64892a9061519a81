/**
 * --validation of `train` and `finetune`: the held-out text, and when the model is measured on it.
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
    new Option('--validation <path...>', `${TEXT_HELP}: held out from training; the loss on them is printed and logged`),
    new Option('--validate-every <steps>', 'steps between validations, besides the one after the last step (default: --save-every)')
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

/** Refuses contradictory flags before anything is read. */
export function checkValidation({ text, validation, validateEvery }: ValidationFlags): void {
  if (validation === undefined && validateEvery !== undefined) {
    throw new UsageError(`--validate-every ${validateEvery} has nothing to validate on: add --validation PATH`);
  }
  if (text.includes(STDIN) && validation?.includes(STDIN)) {
    throw new UsageError('stdin (-) is named by both --text and --validation: it can be read only once');
  }
}

/** Reads the held-out text, if there is one. */
export async function planValidation(
  flags: ValidationFlags, tokenizer: Tokenizer, context: number,
): Promise<ValidationPlan | undefined> {
  if (flags.validation === undefined) return undefined;
  const most = flags.validationTokens;
  const tokens = await readTokens(tokenizer, flags.validation, { maxTokens: most + 1 });
  validationWindows(tokens, context); // refuses a text that is too short
  return { tokens, every: flags.validateEvery ?? flags.saveEvery };
}

/** Validates a run on its held-out text when that is due. */
export class Trial {
  readonly #plan: ValidationPlan | undefined;
  readonly #steps: number;
  readonly #validate: (tokens: TokenSource) => Promise<Validation>;
  readonly #say: (line: string) => void;
  #validated = -1;

  /**
   * @param plan Undefined if there is nothing to validate on.
   * @param steps The number of steps of the run.
   * @param say Called with each result, as a line for the user.
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

  /** The fields to add to the log's line of `step`; none if no validation is due. */
  async after(step: number): Promise<Record<string, number>> {
    if (!this.#plan || (step % this.#plan.every !== 0 && step !== this.#steps)) return {};
    const found = await this.#validate(this.#plan.tokens);
    this.#validated = step;
    this.#say(sayValidation(step, found));
    const { loss, relativeLoss, kept } = found;
    const relative = relativeLoss !== undefined && { validationRelativeLoss: relativeLoss };
    return { validationLoss: loss, ...relative, validationKept: kept };
  }

  /** The same at the end of the run, if a resumed run had no steps left to do. */
  async end(): Promise<Record<string, number>> {
    return this.#validated === this.#steps ? {} : this.after(this.#steps);
  }
}

function sayValidation(step: number, { loss, relativeLoss, tokens, kept }: Validation): string {
  const what = relativeLoss === undefined ? `${loss.toFixed(3)} nats per token` : `${(100 * relativeLoss).toFixed(2)}%`;
  return `step ${formatCount(step)}: validation loss ${what} over ${formatCount(tokens)} tokens, kept ${formatShare(kept)}`;
}
