/**
 * Compares names, to recognise misspelt ones.
 * @module
 */

/** How many insertions, deletions, replacements and swaps of neighbours turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const edits = [row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)];
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      next.push(Math.min(...edits, swapped ? before[j - 2] + 1 : Infinity));
    }
    [before, row] = [row, next];
  }
  return row[b.length];
}

/** The one of `names` that differs from `name` only in case, dashes and a letter or two. */
export function misspelt(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '');
  const own = plain(name);
  return names.find((each) => {
    const other = plain(each);
    const most = other.length < 12 ? 1 : 2;
    return Math.abs(own.length - other.length) <= most && editDistance(own, other) <= most;
  });
}
