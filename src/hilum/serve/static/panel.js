// The panel: the results of the open film.

import { bars, key } from "./bars.js";
import { el } from "./elements.js";
import { length, ratio, width } from "./marks.js";
import { STRUCTURES } from "./outline.js";
import { capital, day, number, person, summary } from "./words.js";

export const DOWNLOADS = [
  ["report.html", "HTML"], ["report.json", "JSON"], ["seg.dcm", "SEG"], ["sr.dcm", "SR"], ["sc.dcm", "SC"], ["gsps.dcm", "GSPS"],
];

const OUTLINES = ["seg.dcm", "gsps.dcm"]; // objects that hold outlines only

/** The panel's sections for a film; `shown` are its visible overlays, `act` the actions of its controls by name. */
export function sections(record, shown, priors, act) {
  const { result, film } = record;
  return [
    outcome(result),
    result.prediction && section("Labels", bars(result, shown.label, film && act.evidence), key()),
    measures(record, act),
    film && overlays(record, shown, act),
    earlier(priors, act),
    downloads(result, act),
    about(result),
    notes(result),
    provenance(result),
    el("p", { class: "row" }, el("button", { type: "button", class: "bad", onclick: act.remove }, "Delete this film")),
  ].filter(Boolean);
}

function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}

function outcome(result) {
  const rejected = result.status === "rejected";
  return el("section", { class: `outcome ${result.status}` },
    el("h2", {}, rejected ? "Rejected" : "Summary"),
    rejected
      ? el("ul", { class: "reasons" }, result.reasons.map((reason) => el("li", {}, `${capital(reason.sentence)}.`)))
      : el("p", { class: "summary" }, summary(result)),
    result.flags.length ? el("ul", { class: "flags", "aria-label": "Caution" }, result.flags.map((flag) => el("li", {}, `${capital(flag.sentence)}.`))) : "");
}

function facts(pairs) {
  return el("dl", {}, pairs.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function about(result) {
  const { patient, study } = result;
  return section("Film", facts([
    ["File", result.file],
    ["Patient", patient && [person(patient.name), patient.id].filter(Boolean).join(" · ")],
    ["Born", patient && [day(patient.birth_date), patient.sex].filter(Boolean).join(" · ")],
    ["Study", study && [day(study.date), study.description].filter(Boolean).join(" · ")],
    ["Accession number", study?.accession],
    ["View", result.input.view],
  ]));
}

/** The measurements; `measuresNow` fills in those that follow the lines and rulers. */
function measures({ film, result }, act) {
  const measured = result.measurements;
  if (!measured) return null;
  const area = (side) => {
    const cm2 = measured[`${side}_lung_cm2`];
    return `${(100 * measured[`${side}_lung_fraction`]).toFixed(1)} % of the image${cm2 === null ? "" : `, ${cm2.toFixed(0)} cm²`}`;
  };
  return section("Measurements",
    el("div", { id: "ratio" }),
    el("div", { id: "rulers" }),
    facts([["Right lung", area("right")], ["Left lung", area("left")], ["Smaller lung over larger", measured.lung_symmetry !== null && number(measured.lung_symmetry, 2)]]),
    film && el("p", { class: "row" }, el("button", { type: "button", onclick: act.addRuler }, "Add a ruler")));
}

/** Fills in the current ratio and ruler lengths. */
export function measuresNow(panel, { marks, result }, act) {
  const box = panel.querySelector("#ratio");
  if (!box) return;
  const value = ratio(marks) ?? result.measurements.cardiothoracic_ratio;
  const spacing = result.input.spacing_mm;
  const restore = marks.changed && el("button", { type: "button", id: "restore", onclick: act.restore }, "As measured");
  box.replaceChildren(facts([["Cardiothoracic ratio", value === null ? "not available" : el("span", {}, el("b", {}, value.toFixed(2)), marks.changed && el("span", { class: "changed" }, " changed by you"))],
    ...(marks.lines ?? []).map((line) => [`${line.name} width`, width(line, spacing)])]), ...(restore ? [el("p", { class: "row" }, el("span", { class: "dim" }, `measured ${number(result.measurements.cardiothoracic_ratio, 2)}`), restore)] : []));
  panel.querySelector("#rulers").replaceChildren(...marks.rulers.map((ruler, i) =>
    el("p", { class: "row ruler" }, el("span", {}, `Ruler ${i + 1}`), el("b", {}, length(ruler, spacing)),
      el("button", { type: "button", "aria-label": `Remove ruler ${i + 1}`, onclick: () => act.removeRuler(i) }, "✕"))));
}

function overlays({ result }, shown, act) {
  const { quality, unreliable, prediction } = result;
  const labels = Object.keys(prediction ?? {});
  const slider = (name, text, value, heard) =>
    el("label", { class: "slider" }, el("span", {}, text), el("input", { type: "range", id: name, min: 0, max: 100, value: Math.round(100 * value), oninput: (event) => heard(event.target.value / 100) }));
  const outlined = STRUCTURES.filter(({ key: structure }) => quality?.[structure] !== undefined).map(({ key: structure, name, value }) =>
    el("li", {}, el("i", { class: `swatch s${value}` }), name, el("span", { class: "dim" }, `quality ${number(quality[structure], 2)}${unreliable.includes(structure) ? ", unreliable" : ""}`)));
  if (!outlined.length && !labels.length) return null;
  return section("Overlays",
    outlined.length ? el("ul", { class: "structures" }, outlined) : "",
    outlined.length ? slider("fill", "Fill", shown.fill, (fill) => act.shown({ fill })) : "",
    labels.length
      ? el("label", { class: "slider" }, el("span", {}, "Evidence map"),
        el("select", { id: "evidence", onchange: (event) => act.evidence(event.target.value || null, true) },
          el("option", { value: "" }, "none"), labels.map((label) => el("option", { value: label, selected: label === shown.label }, label))))
      : "",
    labels.length ? slider("strength", "Map opacity", shown.strength, (strength) => act.shown({ strength })) : "",
    labels.length ? el("p", { class: "dim" }, "A map shows what the network used, not where disease is.") : "");
}

function earlier(priors, act) {
  if (!priors.length) return null;
  return section("Earlier films of this patient",
    el("ul", { class: "priors" }, priors.map((prior) => el("li", {},
      el("button", { type: "button", "aria-pressed": act.compared() === prior.id, "data-id": prior.id, onclick: () => act.compare(prior.id) }, day(prior.study?.date) || prior.file),
      el("span", { class: "dim" }, [prior.view, prior.positive.join(", ") || prior.status].filter(Boolean).join(" · "))))),
    act.compared() ? el("label", { class: "check" }, el("input", { type: "checkbox", id: "linked", checked: act.linked(), onchange: (event) => act.link(event.target.checked) }), " Zoom and pan together") : "");
}

function downloads(result, act) {
  const dicom = result.input.format === "DICOM";
  return section("Report", el("div", { class: "row downloads" },
    el("button", { type: "button", onclick: act.print, title: "Print, or save as PDF" }, "PDF"),
    DOWNLOADS.filter(([name]) => (dicom || !name.endsWith(".dcm")) && (result.status === "ok" || !OUTLINES.includes(name))).map(([name, text]) =>
      el("button", { type: "button", "data-part": name, onclick: () => act.download(name) }, text))));
}

function notes(result) {
  return result.notes.length ? el("details", {}, el("summary", {}, `Notes (${result.notes.length})`), el("ul", {}, result.notes.map((note) => el("li", {}, note)))) : null;
}

function provenance(result) {
  const { input, models } = result;
  const spacing = input.spacing_mm ? `, ${input.spacing_mm.map((mm) => mm.toFixed(3)).join(" × ")} mm` : "";
  return el("details", {}, el("summary", {}, "Provenance"), facts([
    ["Input", `${input.format}, ${input.rows} × ${input.columns}${spacing}`],
    ["SHA-256", el("code", {}, input.sha256)],
    ...Object.entries(models).map(([task, model]) => [capital(task), el("span", {}, `${model.name} ${model.version} `, el("code", {}, model.sha256))]),
    ["Hilum", `${result.hilum}, ${result.created}`],
  ]));
}
