// Elements of the page. All text becomes text: nothing that a film or the service says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (a key that begins with "on") and children (strings become text). */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
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

/** Says something to those who do not see the screen, and shows it in the bar below. */
export function say(text) {
  byId("status").textContent = text;
}
