// A result in words, the same as in the reports.

const NO_FINDING = "No Finding";

/** A DICOM person name for display: its first component group, family name first. */
export function person(name) {
  const [family, ...given] = String(name ?? "").split("=")[0].split("^").map((part) => part.trim());
  const rest = given.filter(Boolean).join(" ");
  return [family, rest].filter(Boolean).join(", ");
}

/** The day of a DICOM date or ISO 8601 time; other text is returned unchanged. */
export function day(text) {
  const found = /^(\d{4})-?(\d{2})-?(\d{2})/.exec(text ?? "");
  return found ? found.slice(1).join("-") : String(text ?? "");
}

/** Date, hours and minutes in the reader's time zone. */
export function moment(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return String(iso ?? "");
  const two = (number) => String(number).padStart(2, "0");
  const date = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** A probability in per cent, with one decimal below 1 % and from 99.5 %. */
export function percent(probability) {
  if (probability === null || probability === undefined) return "–";
  return `${(100 * probability).toFixed(probability >= 0.01 && probability < 0.995 ? 0 : 1)}\u00a0%`;
}

export const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const call = (score) => (score.abstained ? "left open" : score.positive ? "positive" : "negative");
export const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
/** The kind of call, for its colour. */
export const kind = (score) => (score.abstained ? "open" : score.positive ? "positive" : "negative");

/** How certain a call is, by its prediction set; "" for an open call or without a prediction set. */
export function doubt(score) {
  if (score.abstained || !score.plausible) return "";
  if (score.plausible === (score.positive ? "present" : "absent")) {
    return score.positive ? "absence excluded" : "presence excluded";
  }
  return { either: "either possible", neither: "unlike films it knows" }[score.plausible] ?? "in doubt";
}

/** The result in one to three sentences. */
export function summary(result) {
  if (result.reasons.length) return result.reasons.map((reason) => `${capital(reason.sentence)}.`).join(" ");
  const said = result.prediction ? calls(Object.entries(result.prediction)) : [];
  if (result.measurements) {
    const ratio = result.measurements.cardiothoracic_ratio;
    said.push(ratio === null ? "No cardiothoracic ratio." : `The heart is ${ratio.toFixed(2)} as wide as the chest.`);
  }
  return said.join(" ");
}

function calls(scores) {
  const settled = scores.filter(([, score]) => score.positive && !score.abstained);
  const findings = settled.filter(([label]) => label !== NO_FINDING);
  const sized = ([label, score]) => `${label} (${percent(score.probability)})`;
  const said = [];
  if (settled.length && settled[0][1].threshold === null) said.push(`Called: ${listed(settled.map(sized))}.`);
  else if (findings.length) {
    const above = findings.length === 1 ? "Above its threshold" : "Each above its threshold";
    said.push(`${above}: ${listed(findings.map(sized))}.`);
  } else if (settled.length) said.push(`No finding is called; the film is called ${sized(settled[0])}.`);
  else said.push("No label is called.");
  const open = scores.filter(([, score]) => score.abstained).map(([label]) => label);
  if (open.length) said.push(`Left open: ${listed(open)}.`);
  return said;
}

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
