import { NAME_COUNT, shuffledNames, type Task } from './task.ts';
import { ask, endsWithTemplate, tell, TEMPLATES, valueFor } from './templates.ts';

/** Several facts of one wording about different names, one of which is asked for: the others distract. */
export const multikey: Task = {
  help: 'several facts of the same wording about different names, one of which is asked for',
  facts: ({ pairs }) => pairs,
  most: { pairs: NAME_COUNT },
  make(random, { pairs, templates }) {
    const template = TEMPLATES[templates[random.below(templates.length)]];
    const all = shuffledNames(random).slice(0, pairs).map((name) => ({ name, ...valueFor(template, random) }));
    const asked = random.below(all.length);
    return {
      facts: all.map(({ name, said }) => tell(template, name, said)), needed: [asked],
      question: ask(template, all[asked].name), answer: all[asked].answer,
    };
  },
  isLine: endsWithTemplate,
};
