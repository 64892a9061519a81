/**
 * Runs in a page: the texts whose contrast with what is behind them is below what WCAG 2 asks for (level AA: 4.5, or 3
 * for large text). Text on pictures, and what is disabled, is left out.
 */
export function faint() {
  const parse = (colour) => /^rgba?\(([^)]*)\)$/.exec(colour)?.[1].split(/[\s,/]+/).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255)
    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, n) => sum + x * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor, backgroundImage } = getComputedStyle(at);
      const [r, g, b, a = 1] = parse(backgroundColor) ?? [0, 0, 0, 0];
      if (backgroundImage !== 'none' || (a > 0 && a < 1)) return undefined;
      if (a === 1) return [r, g, b];
    }
    return undefined;
  };
  const found = new Set();
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter(({ nodeType }) => nodeType === 3).map(({ data }) => data.trim()).join('');
    if (text === '' || element.closest('svg, script, style, .katex-mathml, :disabled') || !element.checkVisibility()) continue;
    const { color, fontSize, fontWeight, opacity } = getComputedStyle(element);
    const [ink, page] = [parse(color), behind(element)];
    if (!ink || !page || ink[3] < 1 || opacity < 1) continue;
    const [a, b] = [light(ink), light(page)].sort((x, y) => y - x);
    const large = parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && fontWeight >= 700);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < (large ? 3 : 4.5)) found.add(`${element.tagName.toLowerCase()}.${element.className} ${contrast.toFixed(1)} "${text.slice(0, 20)}"`);
  }
  return [...found].slice(0, 5);
}
