// Run in the page: what a careful eye would find fault with. Each returns sentences; none is good.

/** At the window's width: nothing to scroll sideways; each control whole, large enough (WCAG 2.2, 2.5.8: 24 px) and not covered; no text cut off, but for an ellipsis. */
export function layoutFaults() {
  const faults = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) faults.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${width}`);
  for (const control of document.querySelectorAll('button, input, select, a[href]')) {
    const name = control.getAttribute('aria-label') || control.textContent.trim() || control.id;
    if (!control.checkVisibility({visibilityProperty: true})) {
      faults.push(`"${name}" cannot be seen`);
      continue;
    }
    control.scrollIntoView({block: 'center'});
    const box = control.getBoundingClientRect();
    const least = control.type === 'range' ? 16 : 24; // its handle moves along a line
    if (box.left < 0 || box.right > width + 0.5) faults.push(`"${name}" reaches from ${box.left} to ${box.right} px`);
    if (box.width < least || box.height < least) faults.push(`"${name}" is ${box.width} × ${box.height} px`);
    const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
    if (!control.contains(top)) faults.push(`"${name}" lies under ${top?.outerHTML.slice(0, 60)}`);
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (texts.currentNode.data.trim() === '' || !element.checkVisibility({visibilityProperty: true}) || element.matches('option')) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const box = range.getBoundingClientRect();
    for (let around = element; around; around = around.parentElement) {
      const style = getComputedStyle(around);
      if (style.textOverflow === 'ellipsis') break;
      if (style.overflowX === 'visible') continue;
      const frame = around.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        faults.push(`"${texts.currentNode.data.trim()}" is cut off`);
    }
  }
  window.scrollTo(0, 0);
  return faults;
}

/** Text needs a contrast of 4.5 to what it stands on (WCAG 2.2, 1.4.3), signs and the edges of fields 3 (1.4.11). Over the video: whether it is white or black. */
export function contrastFaults() {
  const parse = (text) => {
    const n = text.match(/[\d.]+/g).map(Number);
    return {rgb: n.slice(0, 3), alpha: n[3] ?? 1};
  };
  const over = (top, below) => top.rgb.map((c, i) => c * top.alpha + below[i] * (1 - top.alpha));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
  /** The colours that an element's text may stand on. */
  const grounds = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      if (e.classList.contains('picture')) return [[0, 0, 0], [255, 255, 255]].map((video) => layers.reduceRight((below, top) => over(top, below), video));
      const layer = parse(getComputedStyle(e).backgroundColor);
      layers.push(layer);
      if (layer.alpha === 1) break;
    }
    return [layers.reduceRight((below, top) => over(top, below), [255, 255, 255])];
  };
  const faults = [];
  const judge = (what, color, ground, least) => {
    const found = ratio(over(parse(color), ground), ground);
    if (found < least) faults.push(`${what}: ${found.toFixed(2)}, with ${color} on rgb(${ground.map(Math.round)})`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.data.trim();
    if (text === '' || !element.checkVisibility({visibilityProperty: true}) || element.matches('script, noscript, option')) continue;
    for (const ground of grounds(element)) judge(`"${text}"`, getComputedStyle(element).color, ground, 4.5);
  }
  for (const field of document.querySelectorAll('input[type="text"], select')) {
    const own = parse(getComputedStyle(field).backgroundColor).rgb;
    judge(`the text of #${field.id}`, getComputedStyle(field).color, own, 4.5);
    if (field.placeholder) judge(`the hint in #${field.id}`, getComputedStyle(field, '::placeholder').color, own, 4.5);
    for (const ground of grounds(field.parentElement)) judge(`the edge of #${field.id}`, getComputedStyle(field).borderTopColor, ground, 3);
  }
  for (const icon of document.querySelectorAll('button .icon'))
    if (icon.checkVisibility({visibilityProperty: true}))
      for (const ground of grounds(icon.parentElement)) judge(`the sign on "${icon.parentElement.ariaLabel ?? icon.parentElement.textContent}"`, getComputedStyle(icon).color, ground, 3);
  return faults;
}
