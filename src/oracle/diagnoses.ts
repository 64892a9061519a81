/**
 * What the oracle can recognise, by the names that its reports and the mutation suite share.
 * @module
 */
/** Name: in words, after "Looks like: ". */
export const DIAGNOSES = {
  'unknown': 'nothing that the oracle knows',
} as const;
