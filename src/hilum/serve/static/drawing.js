// The overlays: evidence map, fill, outlines, the ratio's lines, and rulers.

import { HALO } from "./outline.js";
import { length, ratio, width } from "./marks.js";

const RULER = "rgb(120 220 160)";
const INK = "rgb(232 234 237)";

/**
 * Draws the overlays of a film. `at` is as of `place`, `unit` is screen pixels per CSS pixel. `shown` holds outlines,
 * fill (0..1), lines, wash (a canvas or null) and its strength (0..1).
 */
export function drawn(context, record, at, unit, shown) {
  const { film, outlines, marks, result } = record;
  const onFilm = () => context.setTransform(at.step, 0, 0, at.down, at.left, at.top);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  onFilm();
  if (shown.wash) {
    context.globalAlpha = shown.strength;
    context.drawImage(shown.wash, 0, 0, film.columns, film.rows);
    context.globalAlpha = 1;
  }
  if (shown.outlines) structures(context, outlines, unit / at.scale, shown.fill);
  context.setTransform(1, 0, 0, 1, 0, 0);
  const point = ({ x, y }) => ({ x: at.left + at.step * x, y: at.top + at.down * y });
  if (shown.lines && marks.lines) {
    const told = ` · ratio ${ratio(marks).toFixed(2)}${marks.changed ? ", changed by you" : ""}`;
    for (const line of marks.lines) {
      const ends = [line.from, line.to].map((x) => point({ x, y: line.row }));
      stopped(context, ends, unit, line.colour, `${line.name} ${width(line, result.input.spacing_mm)}${line.key === "thorax" ? told : ""}`);
    }
  }
  for (const ruler of marks.rulers) {
    stopped(context, [ruler.from, ruler.to].map(point), unit, RULER, length(ruler, result.input.spacing_mm));
  }
}

function structures(context, outlines, pixel, fill) {
  context.lineJoin = "round";
  for (const { path, colour } of outlines) {
    context.globalAlpha = fill;
    context.fillStyle = colour;
    context.fill(path, "evenodd");
  }
  context.globalAlpha = 1;
  for (const [halo, wide] of [[true, 3.5], [false, 1.75]]) {
    for (const { path, colour } of outlines) {
      context.strokeStyle = halo ? HALO : colour;
      context.lineWidth = wide * pixel;
      context.stroke(path);
    }
  }
}

/** A line with end marks, and its text at the middle. */
function stopped(context, [from, to], unit, colour, text) {
  const far = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const across = { x: (-(to.y - from.y) / far) * 6 * unit, y: ((to.x - from.x) / far) * 6 * unit };
  for (const [tint, wide] of [[HALO, 3.5], [colour, 1.5]]) {
    context.strokeStyle = tint;
    context.lineWidth = wide * unit;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    for (const end of [from, to]) {
      context.moveTo(end.x - across.x, end.y - across.y);
      context.lineTo(end.x + across.x, end.y + across.y);
    }
    context.stroke();
  }
  context.font = `600 ${12 * unit}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.lineJoin = "round";
  context.lineWidth = 3 * unit;
  context.strokeStyle = HALO;
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 - 5 * unit };
  context.strokeText(text, middle.x, middle.y);
  context.fillStyle = colour === RULER ? RULER : INK;
  context.fillText(text, middle.x, middle.y);
}

