// The points of a film that can be moved, by pointer or arrow keys.

import { el, say } from "./elements.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR = 10; // pixels per arrow key with Shift

/** Shows points as handles in a layer; handles that stay keep their focus. */
export class Handles {
  #layer;
  #shown = new Map();
  #host;

  /** `host` has toScreen (film to CSS pixels), toFilm (of a pointer event), signs(), moved() and removed(). */
  constructor(layer, host) {
    this.#layer = layer;
    this.#host = host;
  }

  update(points) {
    const wanted = new Map(points.map((point) => [point.key, point]));
    for (const [key, handle] of this.#shown) {
      if (!wanted.has(key)) {
        handle.element.remove();
        this.#shown.delete(key);
      }
    }
    for (const [key, point] of wanted) {
      if (!this.#shown.has(key)) this.#shown.set(key, this.#made(key));
      this.#place(this.#shown.get(key), point);
    }
  }

  focus(key) {
    this.#shown.get(key)?.element.focus();
  }

  #made(key) {
    const element = el("div", { class: "handle", role: "slider", tabindex: 0, "aria-valuemin": 0 });
    const handle = { element, point: null };
    element.addEventListener("keydown", (event) => this.#key(event, handle));
    element.addEventListener("pointerdown", (event) => this.#grab(event, handle));
    element.dataset.key = key;
    this.#layer.append(element);
    return handle;
  }

  #place(handle, point) {
    const { element } = handle;
    handle.point = point;
    const { x, y } = this.#host.toScreen(point);
    element.style.transform = `translate(${x}px, ${y}px)`;
    element.dataset.kind = point.kind;
    element.setAttribute("aria-label", point.name);
    element.setAttribute("aria-valuemax", point.most);
    element.setAttribute("aria-valuenow", Math.round(point.x));
    element.setAttribute("aria-valuetext", point.text());
    element.title = point.remove ? "Drag, or arrow keys; Delete removes the ruler" : "Drag, or arrow keys";
  }

  #key(event, { point }) {
    const step = STEPS[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (step) {
      // Arrows move as they point on the screen, also on a flipped film.
      const signs = this.#host.signs();
      const far = event.shiftKey ? FAR : 1;
      point.move(point.x + far * step[0] * signs.x, point.y + far * step[1] * signs.y);
      this.#host.moved();
    } else if (point.remove && (event.key === "Delete" || event.key === "Backspace")) {
      point.remove();
      this.#host.removed();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #grab(event, handle) {
    if (event.button !== 0) return;
    const { element } = handle;
    event.stopPropagation();
    event.preventDefault();
    element.focus();
    element.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const { x, y } = this.#host.toFilm(moved);
      handle.point.move(x, y);
      this.#host.moved();
    };
    const end = () => {
      element.removeEventListener("pointermove", move);
      say(`${handle.point.name}: ${handle.point.text()}`);
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("lostpointercapture", end, { once: true });
  }
}
