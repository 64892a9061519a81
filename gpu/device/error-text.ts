/**
 * What drivers say, on one line.
 * @module
 */

/** An error's message; Dawn explains itself over several lines. */
export function oneLine(error: unknown): string {
  return messageOf(error).trim().replace(/\s*\n\s*/g, ' ');
}

/** The first line of an error's message: Node lists below it how it came to require a module. */
export function firstLine(error: unknown): string {
  return messageOf(error).split('\n')[0];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
