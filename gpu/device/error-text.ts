/**
 * What drivers say, on one line.
 * @module
 */

/** An error's message on one line: Dawn's messages have several. */
export function oneLine(error: unknown): string {
  return messageOf(error).trim().replace(/\s*\n\s*/g, ' ');
}

/** The first line of an error's message: below it, Node lists what required a module. */
export function firstLine(error: unknown): string {
  return messageOf(error).split('\n')[0];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
