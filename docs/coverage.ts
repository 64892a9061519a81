/**
 * The table of docs/vectors.md: how many cases have each two interesting values of two parameters.
 * @module
 */
import { coverageTable } from '../src/oracle/cases/coverage.ts';
import { SUITES } from '../src/oracle/cases/suites.ts';

const MARKED = /(<!-- coverage: [^>]*-->\n)[\s\S]*?(<!-- \/coverage -->)/;

/** The page, with the table between its marks. */
export function vectorsPage(page: string): string {
  return page.replace(MARKED, (_, begin: string, end: string) => `${begin}\n${coverageTable(SUITES.small)}\n\n${end}`);
}
