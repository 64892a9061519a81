/**
 * The command lines of the programs in this folder: --help prints the comment at their head, and a mistake is one line.
 * @module
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Ends with one line that says what is wrong. */
export function fail(message) {
  process.stderr.write(`error: ${message}; --help says more\n`);
  process.exit(2);
}

/** The flags of the program whose import.meta.url is `program`, by parseArgs(), and what else there is if it may be. */
export function flagsOf(program, options, { allowPositionals = false } = {}) {
  let [values, positionals] = [];
  try {
    const all = { ...options, help: { type: 'boolean', short: 'h' } };
    ({ values, positionals } = parseArgs({ allowPositionals, options: all }));
  } catch (error) {
    fail(error.message.split('. ')[0].replace(/\.$/, ''));
  }
  if (values.help) {
    const [, comment] = /^\/\*\*\n(.*?)^ \*\/$/ms.exec(readFileSync(fileURLToPath(program), 'utf8'));
    const defaults = Object.entries(options).map(([name, { type, default: given }]) => {
      const value = type === 'string' ? ` <${given ?? 'value'}>` : '';
      return `  --${name}${value}\n`;
    });
    process.stdout.write(`${comment.replace(/^ \* ?/gm, '')}\nFlags, with their defaults:\n${defaults.join('')}`);
    process.exit(0);
  }
  return { ...values, positionals };
}

/** The whole number of a flag, from 1 to `most`. */
export function whole(flags, name, most = Number.MAX_SAFE_INTEGER) {
  const value = Number(flags[name]);
  if (!Number.isInteger(value) || value < 1 || value > most) {
    fail(`--${name} is ${flags[name]}: it must be a whole number from 1${most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ''}`);
  }
  return value;
}
