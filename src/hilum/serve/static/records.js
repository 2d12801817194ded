// A film with everything that is shown of it, fetched once; the last few are kept.

import * as api from "./api.js";
import { wash } from "./evidence.js";
import { presets } from "./grey.js";
import { untouched } from "./marks.js";
import { outlines } from "./outline.js";
import { pyramid } from "./resample.js";

const KEPT = 4; // films, about 25 MB each
const GONE = [404, 409, 410]; // no film, made by other models, no longer kept
const MARKS = new Map(); // id -> marks: a few numbers, kept as long as the page
const records = new Map();

/**
 * The film with this id: {id, result, film, levels, outlines, presets, marks, washes}. Throws ServiceError.
 *
 * Results outlive their films. If the film is gone or other models made the result, `film` is null, there are no
 * overlays, and `gone` is the error with the reason.
 */
export async function record(id, signal) {
  const known = records.get(id);
  if (known) {
    records.delete(id);
    records.set(id, known); // now the newest
    return known;
  }
  const options = { signal };
  const result = await api.result(id, options);
  const { film, mask, gone } = await pictures(id, result, options);
  const made = {
    id,
    result,
    film,
    gone,
    levels: film && pyramid(film),
    outlines: mask ? outlines(mask) : [],
    presets: film ? presets(film, mask) : [],
    marks: MARKS.get(id) ?? untouched(result, mask),
    untouched: () => untouched(result, mask),
    washes: new Map(),
  };
  MARKS.set(id, made.marks);
  records.set(id, made);
  if (records.size > KEPT) records.delete(records.keys().next().value);
  return made;
}

async function pictures(id, result, options) {
  try {
    const [film, mask] = await Promise.all([api.film(id, options), result.quality ? api.mask(id, options) : null]);
    return { film, mask };
  } catch (gone) {
    if (!GONE.includes(gone.status)) throw gone;
    return { film: null, mask: null, gone };
  }
}

/** Resets the ratio's lines to their measured positions. */
export function restored(record) {
  Object.assign(record.marks, { lines: record.untouched().lines, changed: false });
}

export function forget(id) {
  records.delete(id);
  MARKS.delete(id);
}

/** One label's evidence map as a colour wash, and its peak in logits: {canvas, strongest}. */
export async function washed(record, label) {
  if (!record.washes.has(label)) {
    const map = await api.evidence(record.id, label);
    record.washes.set(label, { canvas: wash(map), strongest: map.strongest });
  }
  return record.washes.get(label);
}
