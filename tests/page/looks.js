// What is wrong with how the page is laid out and coloured: a list of complaints.
const wrong = [];
const name = element => `<${element.localName} class="${element.className}"> ${element.textContent.trim().slice(0, 40)}`;
const isShown = element => element.checkVisibility()
  && ![...ancestors(element)].some(one => getComputedStyle(one).clipPath !== "none");
function* ancestors(element) {
  for (let one = element; one; one = one.parentElement) yield one;
}

if (document.documentElement.scrollWidth > innerWidth)
  wrong.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`);
for (const element of document.querySelectorAll("main *")) {
  if (!isShown(element)) continue;
  const box = element.getBoundingClientRect();
  if (box.right > innerWidth + 1 || box.left < -1) wrong.push(`beyond the window: ${name(element)}`);
  const cuts = getComputedStyle(element).overflowX !== "visible";
  if (cuts && element.scrollWidth > element.clientWidth + 1) wrong.push(`cut off: ${name(element)}`);
}

// No caption is narrower than its words.
const pen = document.createElement("canvas").getContext("2d");
const longest = (text, style) => {
  pen.font = style.font;
  return Math.max(...text.trim().split(/\s+/).map(word => pen.measureText(word).width));
};
const inner = element => {
  const style = getComputedStyle(element);
  return element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
};
const captions = [...document.querySelectorAll("thead th, dt, caption, h2, label")].filter(isShown);
for (const caption of captions) {
  const room = getComputedStyle(caption).display === "inline" ? Infinity : inner(caption);
  if (longest(caption.textContent, getComputedStyle(caption)) > room + 2) wrong.push(`too narrow: ${name(caption)}`);
}
for (const cell of [...document.querySelectorAll("td[data-label]")].filter(isShown)) {
  const before = getComputedStyle(cell, "::before");
  const isCaptioned = before.content !== "none" && before.content !== "normal";
  if (isCaptioned && longest(cell.dataset.label, before) > inner(cell) + 2) wrong.push(`too narrow: ${cell.dataset.label}`);
}

// Text stands out from what is behind it, as WCAG 2.1 has it (1.4.3).
const channels = colour => colour.match(/[\d.]+/g).map(Number);
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ground = element => {
  for (const one of ancestors(element)) {
    const colour = channels(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || element.matches("script, style") || !isShown(element)) continue;
  const [a, b] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) wrong.push(`contrast of ${contrast.toFixed(1)}: ${name(element)}`);
}
return [...new Set(wrong)];
