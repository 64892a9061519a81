import { shuffledNames, type Task } from './task.ts';
import { ask, endsWithTemplate, tell, TEMPLATES, valueFor } from './templates.ts';

/** One fact, told in one of several wordings and asked for in other words. */
export const needle: Task = {
  help: 'one fact, a number or a word, in one of several wordings and asked for in other words',
  facts: () => 1,
  most: {},
  make(random, { templates }) {
    const template = TEMPLATES[templates[random.below(templates.length)]];
    const [name] = shuffledNames(random);
    const { said, answer } = valueFor(template, random);
    return { facts: [tell(template, name, said)], needed: [0], question: ask(template, name), answer };
  },
  isLine: endsWithTemplate,
};
