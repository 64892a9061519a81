/** Small helpers for elements. */

/** An element with properties and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K, properties: Partial<HTMLElementTagNameMap[K]> = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** The element with this id, which the page has. */
export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** An element of SVG with attributes. */
export function svg(
  tag: string, attributes: Readonly<Record<string, string | number>>, ...children: (Node | string)[]
): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A token's text on one line: white space can be seen. */
export function shown(text: string | undefined): string {
  return (text ?? '').replaceAll('\n', '⏎').replaceAll(' ', '␣').replaceAll('\t', '⇥') || '·';
}

/** A share in per cent. */
export const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

/** The value of a CSS variable of the page. */
export const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();
