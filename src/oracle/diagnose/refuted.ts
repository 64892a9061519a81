/**
 * Which names a case with few wrong numbers denies: what tells too little to find a name by may still contradict one.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypothesis } from './hypothesis.ts';
import type { Sample } from './sample.ts';

/** The names of which every hypothesis makes some number of a sample clearly another one than it is. */
export function refutedNames(sample: Sample, known: Iterable<Hypothesis>): ReadonlySet<DiagnosisName> {
  const [refuted, possible] = [new Set<DiagnosisName>(), new Set<DiagnosisName>()];
  for (const hypothesis of known) {
    const { name } = hypothesis;
    if (possible.has(name)) continue;
    if (sample.contradicts(hypothesis)) refuted.add(name);
    else possible.add(name);
  }
  return new Set([...refuted].filter((name) => !possible.has(name)));
}
