/**
 * Reads the fields of a config.json one by one, so that every refusal names field, value and remedy.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import { misspelt } from '../../core/spelling.ts';

/** A value from a file as it appears in messages: quoted, on one line, and not too long. */
export function shown(value: unknown): string {
  let text: string | undefined = value === undefined ? 'missing' : undefined;
  if (text === undefined && typeof value !== 'number' && typeof value !== 'bigint') { // JSON has no Infinity
    try {
      text = JSON.stringify(value) as string | undefined;
    } catch {
      // The object cannot be written as JSON.
    }
  }
  text ??= String(value);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

/** The fields of a JSON object, each of which is checked when it is read. */
export class Fields {
  readonly #where: string;
  readonly #json: Record<string, unknown>;

  constructor(where: string, json: unknown) {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      const what = where === 'config.json' ? where : `config.json: ${where}`;
      throw new ConfigError(`${what} is ${shown(json)}: it must be a JSON object`);
    }
    this.#where = where;
    this.#json = json as Record<string, unknown>;
  }

  /** The field; undefined if it is absent. */
  #get(name: string): unknown {
    return Object.hasOwn(this.#json, name) ? this.#json[name] : undefined;
  }

  #fail(name: string, value: unknown, must: string): never {
    const what = value === undefined ? 'is missing' : `is ${shown(value)}`;
    const prefix = this.#where === 'config.json' ? '' : `${this.#where}.`;
    throw new ConfigError(`config.json: ${prefix}${name} ${what}: ${must}`);
  }

  /** Refuses the field if it exists and `wrong` says so. */
  refuse(name: string, wrong: (value: unknown) => boolean, must: string): void {
    const value = this.#get(name);
    if (value !== undefined && wrong(value)) this.#fail(name, value, must);
  }

  /** The names of all fields. */
  names(): string[] {
    return Object.keys(this.#json);
  }

  /** Refuses a field that has a value and whose name resembles one of `names` that is missing. */
  refuseMisspelt(names: readonly string[], others: readonly string[] = []): void {
    for (const name of this.names()) {
      const value = this.#get(name);
      const known = names.includes(name) || others.includes(name);
      const meant = known || value === null || value === false ? undefined : misspelt(name, names);
      if (meant !== undefined && !this.has(meant)) this.#fail(name, value, `it has no effect, did you mean ${meant}?`);
    }
  }

  /** Refuses fields with other names, such as misspelt ones. */
  only(names: readonly string[]): void {
    const unknown = this.names().find((name) => !names.includes(name));
    if (unknown === undefined) return;
    throw new ConfigError(`config.json: ${this.#where} has an unknown field ${shown(unknown)}: its fields are ${names.join(', ')}`);
  }

  /** Whether the field exists and is not null. */
  has(name: string): boolean {
    return (this.#get(name) ?? null) !== null;
  }

  /** Whether the field does not exist, not even as null. */
  lacks(name: string): boolean {
    return this.#get(name) === undefined;
  }

  isNull(name: string): boolean {
    return this.#get(name) === null;
  }

  isEmpty(): boolean {
    return this.names().length === 0;
  }

  whole(name: string, least: number, otherwise?: number, most: number = 2 ** 31 - 1): number {
    const value = this.#get(name) ?? otherwise;
    const fits = typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most;
    return fits ? value : this.#fail(name, value, `it must be a whole number from ${least} to ${most}`);
  }

  number(name: string, least: number, otherwise?: number): number {
    const value = this.#get(name) ?? otherwise;
    const fits = typeof value === 'number' && Number.isFinite(value) && value >= least;
    return fits ? value : this.#fail(name, value, `it must be a finite number, ${least} or more`);
  }

  positive(name: string, otherwise?: number): number {
    const value = this.#get(name) ?? otherwise;
    const fits = typeof value === 'number' && Number.isFinite(value) && value > 0;
    return fits ? value : this.#fail(name, value, 'it must be a finite number above 0');
  }

  boolean(name: string, otherwise: boolean): boolean {
    const value = this.#get(name) ?? otherwise;
    return typeof value === 'boolean' ? value : this.#fail(name, value, 'it must be true or false');
  }

  text(name: string, otherwise: string): string {
    const value = this.#get(name) ?? otherwise;
    return typeof value === 'string' ? value : this.#fail(name, value, 'it must be a string');
  }

  /** A list of strings; undefined if there is none. */
  strings(name: string): string[] | undefined {
    const value = this.#get(name) ?? undefined;
    const fits = value === undefined || (Array.isArray(value) && value.every((each) => typeof each === 'string'));
    return fits ? value as string[] | undefined : this.#fail(name, value, 'it must be a list of strings');
  }

  /**
   * One token id or a list of them. The result is empty if the field is null, or if it is absent and `otherwise` is
   * null. Ids outside the vocabulary, such as -1, which published files do have, are left out.
   */
  tokens(name: string, otherwise: number | null, vocabulary: number): number[] {
    const value = this.#get(name) === undefined ? otherwise : this.#get(name);
    const ids: unknown[] = value === null ? [] : Array.isArray(value) ? value : [value];
    const whole = (id: unknown): id is number => typeof id === 'number' && Number.isSafeInteger(id);
    if (!ids.every(whole)) return this.#fail(name, value, `it must be a token from 0 to ${vocabulary - 1}, or several`);
    return ids.filter((id) => id >= 0 && id < vocabulary);
  }

  /** The unchecked value of the field; undefined if it is absent. */
  value(name: string): unknown {
    return this.#get(name);
  }

  object(name: string): Fields | undefined {
    const value = this.#get(name);
    return value === undefined || value === null ? undefined : new Fields(name, value);
  }
}
