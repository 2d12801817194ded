// What can be moved on a film: the ends of the ratio's two lines and of rulers. Positions are film columns and rows,
// not rounded; left and right are those of the picture.

import { STRUCTURES, widestRow } from "./outline.js";

const THORAX = "rgb(232 234 237)";
const LEAST = 2; // fewest pixels between the ends of a line

/** The initial marks of a film. `mask` may be null. */
export function untouched(result, mask) {
  return { lines: lines(result.measurements, mask), changed: false, rulers: [] };
}

/** The lines as measured, each on the row where its structure is widest; null without a ratio. */
function lines(measured, mask) {
  if (!measured?.heart_span || !measured.thorax_span || measured.cardiothoracic_ratio === null || !mask) return null;
  const line = (key, name, colour, span, values) => ({ key, name, colour, from: span[0], to: span[1], row: widestRow(mask, values) });
  return [
    line("heart", "Heart", STRUCTURES[2].colour, measured.heart_span, [3]),
    line("thorax", "Chest", THORAX, measured.thorax_span, [1, 2]),
  ];
}

/** The cardiothoracic ratio of the current lines; null without lines. */
export const ratio = (marks) =>
  marks.lines && (marks.lines[0].to - marks.lines[0].from) / (marks.lines[1].to - marks.lines[1].from);

/** A line's width as text. */
export function width(line, spacing) {
  return length({ from: { x: line.from, y: 0 }, to: { x: line.to, y: 0 } }, spacing);
}

/** A ruler's length as text, in mm if the spacing (rows, columns) is known, else in pixels. */
export function length({ from, to }, spacing) {
  const [row, column] = spacing ?? [1, 1];
  const value = Math.hypot((to.x - from.x) * column, (to.y - from.y) * row);
  return spacing ? `${value.toFixed(1)} mm` : `${value.toFixed(0)} pixels`;
}

/** A new horizontal ruler around a point, `reach` pixels to each side. */
export function placed(centre, reach) {
  return { from: { x: centre.x - reach, y: centre.y }, to: { x: centre.x + reach, y: centre.y } };
}

/**
 * All points that can be moved: {key, name, kind, x, y, most, text(), move(x, y), remove()}. `most` is the largest
 * column; `text` describes the point's position; only rulers have `remove`.
 */
export function points(record, showLines) {
  const { marks, film, result } = record;
  const found = [];
  for (const line of showLines && marks.lines ? marks.lines : []) {
    for (const [end, side] of [["from", "left"], ["to", "right"]]) {
      found.push({
        key: `${line.key}-${end}`,
        name: `${line.name} line, end at the picture’s ${side}`,
        kind: line.key,
        get x() {
          return line[end];
        },
        get y() {
          return line.row;
        },
        most: film.columns,
        text: () => `column ${Math.round(line[end])}, ratio ${ratio(marks).toFixed(2)}`,
        move: (x, y) => {
          line[end] = end === "from" ? clamp(x, 0, line.to - LEAST) : clamp(x, line.from + LEAST, film.columns);
          line.row = clamp(y, 0, film.rows);
          marks.changed = true;
        },
      });
    }
  }
  marks.rulers.forEach((ruler, i) => {
    for (const [end, name] of [["from", "first"], ["to", "second"]]) {
      found.push({
        key: `ruler-${i}-${end}`,
        name: `Ruler ${i + 1}, ${name} end`,
        kind: "ruler",
        get x() {
          return ruler[end].x;
        },
        get y() {
          return ruler[end].y;
        },
        most: film.columns,
        text: () => length(ruler, result.input.spacing_mm),
        move: (x, y) => (ruler[end] = { x: clamp(x, 0, film.columns), y: clamp(y, 0, film.rows) }),
        remove: () => marks.rulers.splice(i, 1),
      });
    }
  });
  return found;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
