/**
 * Reads a config.json with some of its fields changed, so that one folder of weights serves several settings.
 * @module
 */
import { type Expected, record } from '../../core/arguments.ts';
import { fail } from '../../core/described.ts';
import { ConfigError } from '../../core/errors.ts';
import { type ModelConfig, parseConfig } from './config.ts';
import { hasEffect } from './known-fields.ts';

/**
 * Fields of config.json, by their names there, that are read with these values instead of the file's: a JSON Merge
 * Patch (RFC 7396). So the fields of an object such as `rope_parameters` are replaced one by one, and null removes a
 * field.
 */
export type ConfigOverrides = Readonly<Record<string, unknown>>;

/** An object that a JSON file can hold. */
export const expectJson: Expected = (name, value) => {
  record()(name, value);
  try {
    JSON.stringify(value);
  } catch {
    fail(name, value, 'what JSON can hold');
  }
};

const isObject = (value: unknown): value is ConfigOverrides =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Applies a JSON Merge Patch (RFC 7396, section 2). */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const fields = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) fields.delete(name);
    else fields.set(name, mergePatch(fields.get(name), value));
  }
  return Object.fromEntries(fields);
}

/** The overrides that there are, in the order in which they are applied. */
export const listed = (...each: readonly (ConfigOverrides | undefined)[]): readonly ConfigOverrides[] =>
  each.filter((one) => one !== undefined);

/**
 * Does what parseConfig() does, with some fields changed.
 *
 * @param overrides Applied one after another.
 * @throws {ConfigError} If an override has no effect here, or the config that results is refused; the message names the
 *   overrides.
 */
export function parseOverridden(json: unknown, overrides: readonly ConfigOverrides[]): ModelConfig {
  const names = [...new Set(overrides.flatMap((each) => Object.keys(each)))];
  if (names.length === 0 || !isObject(json)) return parseConfig(json);
  const idle = names.find((name) => !hasEffect(name));
  if (idle !== undefined) {
    throw new ConfigError(`config.json: the override of ${JSON.stringify(idle)} has no effect: no field that is read here has this name`);
  }
  try {
    const plain = JSON.parse(JSON.stringify(overrides)) as readonly ConfigOverrides[]; // as a file would hold them
    return parseConfig(plain.reduce(mergePatch, json as unknown));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${error.message} (with the overrides of ${names.join(', ')})`);
  }
}
