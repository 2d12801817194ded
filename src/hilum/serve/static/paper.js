// The printed or PDF report: the film as displayed, and its results.

import { bars, key } from "./bars.js";
import { byId, el } from "./elements.js";
import { length, ratio, width } from "./marks.js";
import { capital, day, moment, number, person, summary } from "./words.js";

/** Fills the page that is only visible in print. */
export function paper(record, viewport) {
  const page = byId("paper");
  if (!record) return page.replaceChildren();
  const { film, result } = record;
  const { patient, study } = result;
  page.replaceChildren(
    el("header", {},
      el("h2", {}, "Hilum report"),
      el("p", {}, [person(patient?.name), patient?.id, day(patient?.birth_date), patient?.sex].filter(Boolean).join(" · ")),
      el("p", {}, [day(study?.date), study?.description, study?.accession, result.file].filter(Boolean).join(" · "))),
    el("p", { class: `summary ${result.status}` }, result.status === "rejected" ? el("b", {}, "Rejected. ") : "", summary(result)),
    el("div", { class: "pair" }, film ? el("figure", {}, picture(viewport), caption(viewport)) : el("p", { class: "dim" }, record.gone.message),
      el("div", {}, result.prediction ? [el("h3", {}, "Labels"), bars(result), key()] : "", measurements(record))),
    list("Caution", result.flags.map((flag) => `${capital(flag.sentence)}.`)),
    list("Notes", result.notes),
    el("p", { class: "dim" }, [...Object.values(result.models).map((model) => `${model.name} ${model.version} (${model.sha256.slice(0, 12)})`), `Hilum ${result.hilum}`, `analysed ${moment(result.created)}`, `input ${result.input.sha256.slice(0, 12)}`].join(" · ")),
    el("p", { class: "disclaimer" }, result.disclaimer));
}

/** The visible part of the film with its overlays, as a picture with side markers. */
function picture(viewport) {
  viewport.settle();
  const { x, y, width: wide, height: high } = viewport.covered;
  const image = el("canvas", { width: wide, height: high, role: "img", "aria-label": "The film as displayed" });
  const context = image.getContext("2d");
  for (const layer of [viewport.grey, viewport.over]) context.drawImage(layer, -x, -y);
  const size = Math.round(high / 24);
  Object.assign(context, { font: `600 ${size}px sans-serif`, fillStyle: "#fff", strokeStyle: "#000", lineWidth: size / 6, lineJoin: "round" });
  viewport.sides.forEach((side, i) => {
    context.textAlign = i ? "right" : "left";
    const at = [i ? wide - size / 2 : size / 2, high / 2];
    context.strokeText(side, ...at);
    context.fillText(side, ...at);
  });
  return image;
}

function caption(viewport) {
  const { window, view, inverted, shown } = viewport;
  const told = [
    `Window centre ${Math.round(window.centre)}, width ${Math.round(window.width)} of 65536`,
    (view.flippedAcross || view.flippedDown) && "flipped",
    inverted && "inverted",
    shown.label && `evidence for ${shown.label}`,
  ];
  return el("figcaption", {}, `${told.filter(Boolean).join("; ")}.`);
}

function measurements({ marks, result }) {
  if (!result.measurements) return "";
  const spacing = result.input.spacing_mm;
  const value = ratio(marks) ?? result.measurements.cardiothoracic_ratio;
  const rows = [
    ["Cardiothoracic ratio", value === null ? "not available" : `${value.toFixed(2)}${marks.changed ? `, changed by you (measured ${number(result.measurements.cardiothoracic_ratio, 2)})` : ""}`],
    ...(marks.lines ?? []).map((line) => [`${line.name} width`, width(line, spacing)]),
    ...marks.rulers.map((ruler, i) => [`Ruler ${i + 1}`, length(ruler, spacing)]),
  ];
  return [el("h3", {}, "Measurements"), el("dl", {}, rows.map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]))];
}

function list(title, lines) {
  return lines.length ? el("section", {}, el("h3", {}, title), el("ul", {}, lines.map((line) => el("li", {}, line)))) : "";
}
