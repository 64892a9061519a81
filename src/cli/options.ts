/**
 * Parsers of option values. A refusal becomes one line with the flag, the value and what is allowed.
 * @module
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { CACHE_DTYPES } from '../core/cache.ts';
import { isNamedError } from '../core/errors.ts';
import { BUDGET_HELP } from '../policies/budget.ts';
import { formatPolicy, givesTypes, grammars, kindOf, parsePolicy, type Policy, policyKinds } from '../policies/index.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import { oneLine, UsageError } from './errors.ts';

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A whole number >= `least`. */
export function whole(least: number): (text: string) => number {
  return (text) => {
    const value = DECIMAL.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`);
    }
    return value;
  };
}

/** A finite number >= 0. */
export function notNegative(text: string): number {
  const value = DECIMAL.test(text) ? Number(text) : NaN;
  if (!(value >= 0) || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number, 0 or more.');
  return value;
}

/** A finite number > 0. */
export function positive(text: string): number {
  const value = notNegative(text);
  if (value === 0) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

/** A share above 0 and below 1. */
export function share(text: string): number {
  const value = DECIMAL.test(text) ? Number(text) : NaN;
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('It must be a share between 0 and 1, such as 0.25.');
  return value;
}

const BACKENDS = ['webgpu', 'webgl2', 'webasm', 'cpu'] as const;
const ENGINES = ['wgsl', 'gpujs', ...BACKENDS.map((name) => `gpujs:${name}` as const), ...BACKENDS] as const;

/** --gpu, alone or with the name of an engine or of a backend of gpu.js. */
export function gpuOption(): Option {
  const text = 'compute on the best GPU present, or by wgsl, or by gpujs or gpujs:webgpu, :webgl2, :webasm or :cpu';
  return new Option('--gpu [engine]', text).preset(true).argParser((value: string | boolean): GpuChoice => {
    if (value === true) return true;
    const engine = ENGINES.find((name) => name === value);
    if (!engine) throw new InvalidArgumentError(`It must be wgsl, gpujs, gpujs: with ${BACKENDS.join(', ')}, or left out.`);
    return engine;
  });
}

/** What --engine, --gpu and --compute say. */
export interface EngineFlags {
  readonly engine?: CpuChoice;
  readonly gpu?: GpuChoice;
  readonly compute?: 'f32' | 'f16';
  readonly threads?: number;
}

/** --engine with the name of an engine on the CPU. */
export function engineOption(): Option {
  return new Option('--engine <name>', 'compute on the CPU by WebAssembly with SIMD (default: wasm) or the readable reference')
    .choices(['reference', 'wasm']).conflicts('gpu');
}

/** --threads of the engine on the CPU. */
export function threadsOption(): Option {
  return new Option('--threads <n>', 'threads that compute on the CPU; affects speed, never results (default: all)')
    .argParser(whole(1)).conflicts('gpu');
}

/** --compute with what --gpu computes prompts in. */
export function computeOption(): Option {
  return new Option('--compute <dtype>', 'what --gpu multiplies many rows in, as in a prompt: f16 is faster, less exact (default: f32)')
    .choices(['f32', 'f16']);
}

/** --cache with a dtype. */
export function cacheOption(): Option {
  return new Option('--cache <dtype>', 'how the cache stores keys and values (default: as the engine chooses)')
    .choices(CACHE_DTYPES);
}

/** --no-bos, without which `bos` is true. */
export function bosOption(): Option {
  return new Option('--no-bos', 'put no token before a text, even if the tokenizer does');
}

/** --config-overrides with a JSON object. */
export function configOverridesOption(): Option {
  return new Option('--config-overrides <json>', 'read fields of config.json with other values, such as ' +
    '\'{"rope_parameters": {"rope_type": "yarn", "factor": 4}}\'').argParser(jsonObject);
}

function jsonObject(text: string): ConfigOverrides {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as ConfigOverrides;
  throw new InvalidArgumentError('It must be a JSON object with fields of config.json.');
}

/** A cache policy. */
export function policy(text: string): Policy {
  try {
    return parsePolicy(text);
  } catch (error) {
    if (isNamedError(error)) throw new InvalidArgumentError(oneLine(error.message));
    throw error;
  }
}

/** Parses the name of a cache policy with which models can be trained. */
export function policyName(text: string): string {
  const named = policy(text);
  if (givesTypes(kindOf(named))) return formatPolicy(named);
  throw new InvalidArgumentError(`It must give tokens types: ${grammars(givesTypes)}.`);
}

/** Adds one policy to those that commander has parsed before. */
export function policies(text: string, previous: readonly Policy[] = []): readonly Policy[] {
  return [...previous, policy(text)];
}

/** The list of policies for the end of --help. */
export function policyHelp(pass: Parameters<typeof grammars>[0] = () => true): string {
  const kinds = policyKinds().filter(pass);
  const width = Math.max(...kinds.map(({ grammar }) => grammar.length));
  const lines = kinds.map(({ grammar, help }) => `  ${grammar.padEnd(width)}  ${help}`);
  return `\nPolicies:\n${lines.join('\n')}${kinds.every(givesTypes) ? '' : `\n  ${BUDGET_HELP}`}`;
}

/** Refuses an empty string for a file or folder among the options of `command`, as in `--out "$UNSET"`. */
export function refuseEmptyPaths(command: Command): void {
  for (const option of command.options.filter(({ flags }) => /[<[](dir|file|path)/.test(flags))) {
    const values = [command.getOptionValue(option.attributeName())].flat();
    if (values.includes('')) throw new UsageError(`option '${option.flags}' is empty: name a file or folder`);
  }
}
