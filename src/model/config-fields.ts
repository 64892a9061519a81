/**
 * The fields of a config.json, read one by one so that every refusal names field, value and remedy.
 * @module
 */
import { ConfigError } from '../errors.ts';

/** Text of a file for a message: quoted, on one line, and not too long. */
export function shown(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value); // JSON has no Infinity
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

/** Fields of a JSON object, each checked when it is read. */
export class Fields {
  readonly #where: string;
  readonly #json: Record<string, unknown>;

  constructor(where: string, json: unknown) {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new ConfigError(`${where} is not a JSON object`);
    this.#where = where;
    this.#json = json as Record<string, unknown>;
  }

  /** The field, undefined where it is absent. */
  #get(name: string): unknown {
    return Object.hasOwn(this.#json, name) ? this.#json[name] : undefined;
  }

  #fail(name: string, value: unknown, must: string): never {
    const what = value === undefined ? 'is missing' : `is ${shown(value)}`;
    const prefix = this.#where === 'config.json' ? '' : `${this.#where}.`;
    throw new ConfigError(`config.json: ${prefix}${name} ${what}: ${must}`);
  }

  /** Refuses the field if it is there and `wrong` says so. */
  refuse(name: string, wrong: (value: unknown) => boolean, must: string): void {
    const value = this.#get(name);
    if (value !== undefined && wrong(value)) this.#fail(name, value, must);
  }

  /** The first field that is none of `names`. */
  unknown(names: readonly string[]): string | undefined {
    return Object.keys(this.#json).find((name) => !names.includes(name));
  }

  /** Refuses fields that nobody knows, such as misspelt ones. */
  only(names: readonly string[]): void {
    const unknown = this.unknown(names);
    if (unknown === undefined) return;
    throw new ConfigError(`config.json: ${this.#where} has an unknown field ${shown(unknown)}: its fields are ${names.join(', ')}`);
  }

  has(name: string): boolean {
    return (this.#get(name) ?? null) !== null;
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

  /** One token id or a list of them; none where the field is null, or absent and `otherwise` null. */
  tokens(name: string, otherwise: number | null, vocabulary: number): number[] {
    const value = this.#get(name) === undefined ? otherwise : this.#get(name);
    const ids: unknown[] = value === null ? [] : Array.isArray(value) ? value : [value];
    const fits = (id: unknown) => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < vocabulary;
    const must = `it must be a token from 0 to ${vocabulary - 1}, or several`;
    return ids.every(fits) ? ids as number[] : this.#fail(name, value, must);
  }

  /** The object as text, its fields in order of their names. */
  json(): string {
    return JSON.stringify(Object.entries(this.#json).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  object(name: string): Fields | undefined {
    const value = this.#get(name);
    return value === undefined || value === null ? undefined : new Fields(name, value);
  }
}
