// Pointers on a film: the selected tool, the wheel, and two fingers.

import { length } from "./marks.js";
import { say } from "./elements.js";

const STEP = 1.15; // zoom per wheel notch
const DRAG = 240; // CSS pixels of a drag that doubles or halves

/** The effect of a drag: (viewport, dx and dy in screen pixels, screen point where the drag began). */
const DRAGS = {
  // Horizontal: width; down: darker. As in Cornerstone and OHIF.
  window: (viewport, dx, dy) => {
    const { centre, width } = viewport.window;
    const unit = DRAG * viewport.unit;
    viewport.setWindow({ centre: centre + (dy / unit) * Math.max(width, 64) * 0.5, width: width * 2 ** (dx / unit) });
  },
  zoom: (viewport, dx, dy, start) => viewport.zoom(2 ** (-dy / (DRAG * viewport.unit)), start),
  pan: (viewport, dx, dy) => viewport.pan(dx, dy),
};

export const TOOLS = ["window", "zoom", "pan", "ruler"];
const BUTTONS = { 1: "pan", 2: "zoom" }; // middle and right button, whatever the tool

/** The selected tool by keys: steps across and down. */
export function nudge(viewport, tool, across, down) {
  const far = 24 * viewport.unit;
  DRAGS[tool === "ruler" ? "pan" : tool](viewport, across * far, down * far, undefined);
}

/** Listens on a viewport; `current()` names the selected tool. */
export function listen(viewport, current) {
  const { element } = viewport;
  const pointers = new Map();
  let drag = null;

  element.addEventListener("wheel", (event) => {
    if (!viewport.record) return;
    event.preventDefault();
    const notches = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    viewport.zoom(STEP ** -Math.max(-3, Math.min(3, notches)), viewport.point(event));
  }, { passive: false });
  element.addEventListener("contextmenu", (event) => event.preventDefault());

  element.addEventListener("pointerdown", (event) => {
    if (!viewport.record || event.target.closest(".handle")) return;
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true });
    if (event.button === 1) event.preventDefault(); // no autoscroll
    const point = viewport.point(event);
    pointers.set(event.pointerId, point);
    if (pointers.size === 2) discard(viewport, drag);
    const tool = BUTTONS[event.button] ?? current();
    drag = pointers.size === 1 ? { tool, start: point, ruler: null } : null;
  });

  element.addEventListener("pointermove", (event) => {
    if (!viewport.record) return;
    const point = viewport.point(event);
    const before = pointers.get(event.pointerId);
    if (!before) return readout(viewport, point);
    if (pointers.size === 2) pinch(viewport, pointers, event.pointerId, point);
    else if (drag?.tool === "ruler") measure(viewport, drag, point);
    else if (drag) DRAGS[drag.tool](viewport, point.x - before.x, point.y - before.y, drag.start);
    pointers.set(event.pointerId, point);
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (drag?.ruler) say(`Ruler: ${length(drag.ruler, viewport.record.result.input.spacing_mm)}`);
    // The finger that remains after a pinch does nothing until it is lifted.
    drag = null;
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
  element.addEventListener("pointerleave", () => viewport.words.value.replaceChildren());
}

/** Two fingers zoom around their middle and move the film. */
function pinch(viewport, pointers, moving, point) {
  const [other] = [...pointers].filter(([id]) => id !== moving).map(([, place]) => place);
  const before = pointers.get(moving);
  const far = (a) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
  viewport.pan((point.x - before.x) / 2, (point.y - before.y) / 2);
  viewport.zoom(far(point) / far(before), { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 });
}

/** Draws a ruler from the start of the drag. */
function measure(viewport, drag, point) {
  const { rulers } = viewport.record.marks;
  if (!drag.ruler) {
    if (Math.hypot(point.x - drag.start.x, point.y - drag.start.y) < 4 * viewport.unit) return;
    const from = viewport.filmPoint(drag.start);
    drag.ruler = { from, to: from };
    rulers.push(drag.ruler);
  }
  drag.ruler.to = viewport.filmPoint(point);
  viewport.marked();
}

/** Removes a ruler that was begun, when a second finger starts a pinch. */
function discard(viewport, drag) {
  if (!drag?.ruler) return;
  const { rulers } = viewport.record.marks;
  rulers.splice(rulers.indexOf(drag.ruler), 1);
  viewport.marked();
}

/** Shows the film's value under the pointer. */
function readout(viewport, point) {
  const { film } = viewport.record;
  const at = viewport.filmPoint(point);
  const [column, row] = [Math.floor(at.x), Math.floor(at.y)];
  const inside = column >= 0 && row >= 0 && column < film.columns && row < film.rows;
  viewport.words.value.textContent = inside ? `${column}, ${row}: ${film.data[row * film.columns + column]}` : "";
}
