/**
 * The mask as a picture, a row for every query, and the row of the query of the moment. They are drawn on a dark board
 * in both themes, since the colours of the types stand out from it, and not all of them from white.
 */
import type { HeadTrace } from '../../src/evaluate/trace/trace.ts';
import { NO_TYPE, TOP_KEYS } from '../../src/evaluate/trace/trace.ts';
import { colour } from './dom.ts';

/** The variables of the colours, by type. */
export const TYPE_COLOURS = ['--tm-global', '--tm-local', '--tm-window', '--tm-entry'] as const;
/** The letter of each type. */
export const LETTERS = ['G', 'L', 'W', 'E'] as const;
/** The index of a type in the lists above. */
export const kindAt = (types: Uint8Array, j: number): number => (types[j] === NO_TYPE ? 3 : types[j]);

/** Pixels of the mask; a longer text has several queries and keys in one. */
const MOST = 480;

function rgb(variable: string): [number, number, number] {
  const hex = colour(variable);
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
}

/** Draws the whole mask of a head into a picture of its own: row i has what query i sees. */
export function maskPicture({ types, last }: HeadTrace): HTMLCanvasElement {
  const N = types.length;
  const cell = Math.max(1, Math.ceil(N / MOST));
  const size = Math.ceil(N / cell);
  const canvas = Object.assign(document.createElement('canvas'), { width: size, height: size });
  const context = canvas.getContext('2d')!;
  const image = context.createImageData(size, size);
  const colours = TYPE_COLOURS.map(rgb);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x <= y; x++) {
      // Of the keys in a cell, the one that lives longest is shown, so that a lone GLOBAL stays visible.
      let best = x * cell;
      for (let j = best; j < Math.min(N, (x + 1) * cell); j++) if (last[j] > last[best]) best = j;
      if (last[best] < y * cell) continue;
      const [red, green, blue] = colours[kindAt(types, best)];
      image.data.set([red, green, blue, 255], 4 * (y * size + x));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Shows the mask, with the rows of later queries faint, and the row of the moment framed. */
export function drawMask(
  canvas: HTMLCanvasElement, picture: HTMLCanvasElement, time: number, N: number, entry: number,
): void {
  const size = 2 * MOST;
  if (canvas.width !== size) Object.assign(canvas, { width: size, height: size });
  const context = canvas.getContext('2d')!;
  const row = size / N;
  const split = (time + 1) * row;
  context.imageSmoothingEnabled = false;
  context.clearRect(0, 0, size, size);
  context.drawImage(picture, 0, 0, size, size);
  context.fillStyle = colour('--tm-board');
  context.globalAlpha = 0.7;
  context.fillRect(0, split, size, size - split);
  context.globalAlpha = 1;
  context.strokeStyle = colour('--tm-chalk');
  context.lineWidth = 3;
  context.strokeRect(1.5, Math.max(1.5, split - Math.max(row, 6)), size - 3, Math.max(row, 6));
  context.setLineDash([10, 8]);
  context.beginPath();
  context.moveTo((entry + 0.5) * row, entry * row);
  context.lineTo((entry + 0.5) * row, size);
  context.stroke();
  context.setLineDash([]);
}

/** The row of the moment: a mark for every entry that the query sees, and bars for those that it used most. */
export function drawRow(canvas: HTMLCanvasElement, { types, last, used, usedWeights }: HeadTrace, time: number): void {
  const N = types.length;
  const [width, height, base] = [2 * MOST, 120, 36];
  if (canvas.width !== width) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d')!;
  context.clearRect(0, 0, width, height);
  const cell = width / N;
  const colours = TYPE_COLOURS.map(colour);
  for (let j = 0; j <= time; j++) {
    if (last[j] < time) continue;
    context.fillStyle = colours[kindAt(types, j)];
    context.fillRect(j * cell, height - base, Math.max(cell, 2), base);
  }
  context.fillStyle = colour('--tm-chalk');
  for (let n = time * TOP_KEYS; n < (time + 1) * TOP_KEYS; n++) {
    if (used[n] < 0) continue;
    const tall = usedWeights[n] * (height - base);
    context.fillRect(used[n] * cell, height - base - tall, Math.max(cell, 4), tall);
  }
}
