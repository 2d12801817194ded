// Elements of the page. Text stays text: nothing from a film or the service is ever parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (keys that begin with "on") and children (strings become text). */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== "" && child !== false));
  return element;
}

/** Announces a text to screen readers and shows it in the status bar. */
export function say(text) {
  byId("status").textContent = text;
}
