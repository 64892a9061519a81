/**
 * JSON that keeps what JSON.parse hides: objects become Maps, and a key that occurs twice is an error.
 * @module
 */

/** Deeper nesting than any header has; keeps a hostile file from exhausting the stack. */
const MAX_DEPTH = 32;

/**
 * Parses JSON text into Maps, arrays and scalars.
 *
 * @throws {SyntaxError} If the text is not JSON, a key occurs twice, or it is nested deeper than 32.
 */
export function parseJsonStrict(text: string): unknown {
  JSON.parse(text); // the grammar is its business; the walk below only has to find the keys
  let at = 0;
  const skip = () => {
    while (' \t\n\r'.includes(text[at]!) && at < text.length) at++;
  };
  const scalar = (): unknown => {
    const start = at;
    if (text[at] === '"') {
      for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++;
      at++;
    } else while (at < text.length && !',]} \t\n\r'.includes(text[at]!)) at++;
    return JSON.parse(text.slice(start, at));
  };
  const value = (depth: number): unknown => {
    if (depth > MAX_DEPTH) throw new SyntaxError(`nested deeper than ${MAX_DEPTH}`);
    skip();
    const open = text[at];
    if (open !== '{' && open !== '[') return scalar();
    at++;
    const map = new Map<string, unknown>();
    const list: unknown[] = [];
    for (skip(); text[at] !== '}' && text[at] !== ']'; skip()) {
      if (text[at] === ',') at++;
      skip();
      if (open === '[') {
        list.push(value(depth + 1));
        continue;
      }
      const key = scalar() as string;
      if (map.has(key)) throw new SyntaxError(`the key ${JSON.stringify(key)} occurs twice`);
      skip();
      at++; // the colon
      map.set(key, value(depth + 1));
    }
    at++;
    return open === '{' ? map : list;
  };
  return value(0);
}
