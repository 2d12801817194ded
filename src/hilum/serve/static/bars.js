// The labels' probabilities as bars on the scale of their odds, so that rare findings can be seen.

import { el, svg } from "./elements.js";
import { call, doubt, kind, number, percent } from "./words.js";

const END = 0.001; // probability at the left end of a bar; 1 - END at its right end
const MARKS = [0.01, 0.1, 0.5, 0.9];
const HEIGHT = 14;

const logit = (probability) => Math.log(probability / (1 - probability));

/** The position of a probability on a bar of length 100. */
export function placeOf(probability) {
  const inside = Math.min(Math.max(probability, END), 1 - END);
  return 50 - (50 * logit(inside)) / logit(END);
}

/** The list of labels, the chosen one marked; labels are buttons if `choose` (called with a label) is given. */
export function bars(result, chosen, choose) {
  const bands = result.thresholds?.labels ?? {};
  const rows = Object.entries(result.prediction).map(([label, score]) => {
    const name = choose
      ? el("button", { type: "button", class: "label", "aria-pressed": label === chosen, title: "Show its evidence map", "data-label": label, onclick: () => choose(label) }, label)
      : el("span", { class: "label" }, label);
    const said = doubt(score);
    return el("li", { class: kind(score), "data-label": label },
      name,
      el("span", { class: "probability" }, percent(score.probability)),
      el("span", { class: "call" }, call(score)),
      bar(label, score, bands[label]),
      said && el("span", { class: "doubt dim" }, said));
  });
  return el("ul", { class: "bars" }, rows, el("li", { class: "scale", "aria-hidden": "true" }, scale()));
}

/** One bar: its track and open band, marks, the threshold's tick, and the calibrated probability. */
function bar(label, score, band) {
  const { probability, threshold } = score;
  const said = [`${label}: probability ${number(probability, 3)}`, threshold !== null && `threshold ${number(threshold, 3)}`].filter(Boolean);
  const parts = [svg("rect", { class: "track", y: 3, width: 100, height: 8 })];
  if (band?.low !== undefined && band.low !== null && band.high !== null) {
    parts.push(svg("rect", { class: "band", x: placeOf(band.low), width: placeOf(band.high) - placeOf(band.low), y: 3, height: 8 }));
  }
  parts.push(...MARKS.map((mark) => upright("mark", mark, 3, 11)));
  if (probability !== null) {
    parts.push(svg("rect", { class: "value", y: 5, width: placeOf(probability), height: 4 }));
    parts.push(upright("calibrated", probability, 2, 12));
  }
  if (threshold !== null) parts.push(upright("tick", threshold, 0, HEIGHT));
  return svg("svg", { class: "bar-of", viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": said.join(", ") }, parts);
}

function upright(kindOf, probability, top, bottom) {
  const x = placeOf(probability);
  return svg("line", { class: kindOf, x1: x, x2: x, y1: top, y2: bottom, "vector-effect": "non-scaling-stroke" });
}

function scale() {
  return MARKS.map((mark, i) => {
    const said = el("span", {}, `${Math.round(100 * mark)}${i === MARKS.length - 1 ? " %" : ""}`);
    said.style.left = `${placeOf(mark)}%`;
    return said;
  });
}

/** The legend of the bars. */
export function key() {
  const sign = (name, text) => el("span", {}, el("i", { class: `sign ${name}` }), text);
  return el("p", { class: "key dim" }, sign("calibrated", "calibrated probability"), sign("tick", "threshold"), sign("band", "left open"));
}
