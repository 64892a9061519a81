/**
 * What the commands need on a terminal: colours, numbers, tables, and a progress bar, which goes to stderr.
 * @module
 */
import pc from 'picocolors';

export { type Interrupt, interruptSignal } from './signals.ts';

const CONTROLS = /[^\P{Cc}\n\t]/gu; // control characters except newline and tab
const ESCAPES = /\u001b\[[0-9;]*m/g;

/** Where text goes: process.stdout, process.stderr, or a stand-in. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Whether `stream` is a terminal with colours, and NO_COLOR (no-color.org) is unset or empty. */
export function wantsColour(stream: Output): boolean {
  return Boolean(stream.isTTY) && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';
}

/** Functions that colour text for `stream`, or leave it alone. */
export function colours(stream: Output): ReturnType<typeof pc.createColors> {
  return pc.createColors(wantsColour(stream));
}

/** Makes a model's text safe for `stream`: for a terminal, control characters become dots. */
export function printable(text: string, stream: Output): string {
  return stream.isTTY ? text.replace(CONTROLS, '\u00b7') : text;
}

/** Such as 59 s, 4 min 05 s, 2 h 07 min. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Bytes in powers of 1024: 512 B, 1.5 KiB, 2.0 MiB. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let n = bytes;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${unit === 0 ? n : n.toFixed(1)} ${units[unit]}`;
}

/** Such as 12,345. */
export function formatCount(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

/** Such as 12.3% for 0.1234. */
export function formatShare(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

/** The shares of GLOBAL, LOCAL and WINDOW, such as G 12% L 3% W 85%. */
export function formatTypes(shares: readonly number[]): string {
  return shares.map((share, type) => `${'GLW'[type]} ${(100 * share).toFixed(0)}%`).join(' ');
}

/** How many columns `text` takes on the screen, where escape sequences take none. */
function widthOf(text: string): number {
  return [...text.replace(ESCAPES, '')].length;
}

/**
 * Lays out rows in columns, each as wide as its widest cell.
 *
 * @param options.align One of 'left' or 'right' per column; by default the first is left, the others right.
 * @returns Lines joined by newlines, without one at the end.
 */
export function table(
  headers: readonly string[], rows: readonly (readonly string[])[],
  options: { align?: readonly ('left' | 'right')[] } = {},
): string {
  const widths = headers.map((_, column) => Math.max(...[headers, ...rows].map((line) => widthOf(line[column] ?? ''))));
  const cell = (text: string, column: number) => {
    const gap = ' '.repeat(widths[column] - widthOf(text));
    const align = options.align?.[column] ?? (column === 0 ? 'left' : 'right');
    return align === 'left' ? text + gap : gap + text;
  };
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  const row = (line: readonly string[]) => {
    return headers.map((_, column) => cell(line[column] ?? '', column)).join('  ').trimEnd();
  };
  return [row(headers), rule, ...rows.map(row)].join('\n');
}

/** A progress bar, or where nothing can be redrawn, an occasional line. */
export interface Progress {
  /** Shows how much is done, with `extra` beside it. */
  update(done: number, extra?: string): void;
  /** Removes the bar, and leaves `message` if there is one. */
  finish(message?: string): void;
}

/**
 * Starts a progress bar on `stream`, or without `total` a count. The time left is estimated from the first update on.
 */
export function createProgress(
  { stream = process.stderr, label, total }: { stream?: Output; label: string; total?: number },
): Progress {
  const interval = stream.isTTY ? 100 : 10_000; // ms between two drawings
  const begin = performance.now();
  let first: { done: number; time: number } | undefined;
  let drawn = stream.isTTY ? -Infinity : begin;
  return {
    update(done, extra = '') {
      const now = performance.now();
      first ??= { done, time: now };
      if (now - drawn < interval && !(stream.isTTY && total !== undefined && done >= total)) return;
      drawn = now;
      const show = (line: string): void => void stream.write(
        stream.isTTY ? `\r${line.slice(0, (stream.columns ?? 80) - 1)}\u001b[K` : `${line}\n`,
      );
      if (total === undefined) return show([label, formatCount(done), extra].filter((part) => part !== '').join('  '));
      const left = ((now - first.time) / 1000) * ((total - done) / (done - first.done));
      const time = Number.isFinite(left) ? `${formatDuration(left)} left` : '';
      const text = [`${formatCount(done)}/${formatCount(total)}`, extra, time].filter((part) => part !== '').join('  ');
      const percent = `${Math.floor((100 * done) / Math.max(1, total))}%`;
      if (!stream.isTTY) return show(`${label} ${percent}  ${text}`);
      const filled = Math.round(20 * Math.min(1, done / Math.max(1, total)));
      show(`${label} [${'#'.repeat(filled)}${'.'.repeat(20 - filled)}] ${percent}  ${text}`);
    },
    finish(message) {
      if (stream.isTTY) stream.write('\r\u001b[K');
      if (message !== undefined) stream.write(`${message}\n`);
    },
  };
}
