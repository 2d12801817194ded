// One film on the screen: its canvas, its overlays, and the text in its corners.

import { drawn } from "./drawing.js";
import { el } from "./elements.js";
import { legend } from "./evidence.js";
import { held as heldWindow, table } from "./grey.js";
import { Handles } from "./handles.js";
import { placed, points } from "./marks.js";
import { washed } from "./records.js";
import { resampled } from "./resample.js";
import { WHOLE_FILM, onFilm, onScreen, oneToOne, panned, place, zoomed } from "./view.js";
import { day, person } from "./words.js";

const SETTLED = 120; // ms after the last movement until the film is interpolated again
const UNMOVED = { ...WHOLE_FILM, flippedAcross: false, flippedDown: false };

export class Viewport extends EventTarget {
  record = null;
  view = UNMOVED;
  window = { centre: 0, width: 1 };
  inverted = false;
  shown = { outlines: true, fill: 0, lines: true, label: null, wash: null, strength: 1 };

  #frame = 0;
  #settling = 0;
  #quick = false;
  #sampled = null;
  #colours = null;
  #doubt = "";

  /** `name` describes the film to screen readers. */
  constructor(name) {
    super();
    this.name = name;
    this.grey = el("canvas", { class: "grey" });
    this.over = el("canvas", { class: "over" });
    this.layer = el("div", { class: "handles" });
    this.words = Object.fromEntries(
      ["who", "when", "seen", "value", "turned", "side-left", "side-right"].map((key) => [key, el("div", { class: `words ${key}` })]),
    );
    this.scale = el("canvas", { width: 160, height: 8 });
    this.scaleWords = ["name", "none", "most"].map((key) => el("span", { class: key }));
    this.legend = el("div", { class: "legend", hidden: true }, this.scaleWords[0], this.scaleWords[1], this.scale, this.scaleWords[2]);
    legend(this.scale);
    this.element = el(
      "div",
      { class: "viewport", tabindex: 0, role: "application", "aria-roledescription": "film", "aria-label": name },
      this.grey, this.over, Object.values(this.words), this.legend, this.layer,
    );
    this.handles = new Handles(this.layer, {
      toScreen: (point) => this.#css(onScreen(this.view, this.record.film, this.size, point)),
      toFilm: (event) => this.filmPoint(this.point(event)),
      signs: () => ({ x: this.view.flippedAcross ? -1 : 1, y: this.view.flippedDown ? -1 : 1 }),
      moved: () => this.marked(),
      removed: () => {
        this.marked();
        this.element.focus();
      },
    });
    new ResizeObserver(() => this.#resize()).observe(this.element);
  }

  /** Shows a film in its initial view; null clears the screen. */
  show(record) {
    this.record = record;
    this.view = UNMOVED;
    this.inverted = false;
    this.shown = { ...this.shown, label: null, wash: null };
    this.#sampled = null;
    this.element.classList.toggle("empty", !record);
    if (record) {
      this.window = record.presets[0].window;
      this.#describe();
    }
    this.#redraw();
    this.#tell("film");
  }

  get size() {
    return { width: this.grey.width, height: this.grey.height };
  }

  /** The part of the screen that the film covers. */
  get covered() {
    const { x, y, width, height } = this.#sampled;
    return { x, y, width, height };
  }

  /** The patient's sides at the left and right of the picture. */
  get sides() {
    const sides = [`R${this.#doubt}`, `L${this.#doubt}`];
    return this.view.flippedAcross ? sides.reverse() : sides;
  }

  get unit() {
    return devicePixelRatio || 1;
  }

  /** The screen pixel under the pointer. */
  point(event) {
    const box = this.element.getBoundingClientRect();
    return { x: (event.clientX - box.left) * this.unit, y: (event.clientY - box.top) * this.unit };
  }

  filmPoint(point) {
    return onFilm(this.view, this.record.film, this.size, point);
  }

  setView(view, quiet = false) {
    if (!this.record) return;
    this.view = { ...this.view, ...view };
    this.#move();
    if (!quiet) this.#tell("view");
  }

  zoom(factor, point = { x: this.size.width / 2, y: this.size.height / 2 }) {
    if (this.record) this.setView(zoomed(this.view, this.record.film, this.size, factor, point));
  }

  pan(dx, dy) {
    if (this.record) this.setView(panned(this.view, this.record.film, this.size, dx, dy));
  }

  fit() {
    this.setView(WHOLE_FILM);
  }

  actual() {
    if (this.record) this.setView(oneToOne(this.view, this.record.film, this.size));
  }

  setWindow(window) {
    if (!this.record) return;
    this.window = heldWindow(window);
    this.#colours = null;
    this.#redraw();
    this.#tell("window");
  }

  setInverted(inverted) {
    this.inverted = inverted;
    this.#colours = null;
    this.#redraw();
    this.#tell("window");
  }

  setShown(shown) {
    this.shown = { ...this.shown, ...shown };
    this.#redraw();
    this.#tell("shown");
  }

  /** Shows the evidence map of a label, or none. */
  async showEvidence(label) {
    const { record } = this;
    const current = () => this.record === record && this.shown.label === label;
    this.legend.hidden = true;
    this.setShown({ label, wash: null }); // no other label's map while this one loads, or if it fails
    if (!label) return;
    try {
      const { canvas, strongest } = await washed(record, label);
      if (!current()) return; // another film or label was chosen meanwhile
      this.scaleWords[0].textContent = `Evidence for ${label}`;
      this.scaleWords[1].textContent = "none";
      this.scaleWords[2].textContent = `${strongest.toFixed(1)} logits`;
      this.legend.hidden = false;
      this.setShown({ wash: canvas });
    } catch (error) {
      if (current()) this.setShown({ label: null });
      throw error;
    }
  }

  /** Resets view, window and inversion; overlays stay. */
  reset() {
    if (!this.record) return;
    this.inverted = false;
    this.setWindow(this.record.presets[0].window);
    this.setView(UNMOVED);
  }

  /** Places a ruler across the middle of the screen and focuses its first end. */
  addRuler() {
    if (!this.record) return;
    const { marks, film } = this.record;
    const centre = this.filmPoint({ x: this.size.width / 2, y: this.size.height / 2 });
    marks.rulers.push(placed(centre, film.columns / (8 * this.view.zoom)));
    this.marked();
    this.settle();
    this.handles.focus(`ruler-${marks.rulers.length - 1}-from`);
  }

  /** Call this after a line or ruler has changed. */
  marked() {
    this.#redraw();
    this.#tell("marks");
  }

  /** Draws at once instead of in the next frame. */
  settle() {
    clearTimeout(this.#settling);
    cancelAnimationFrame(this.#frame);
    if (this.#quick) this.#sampled = null;
    this.#quick = false;
    this.#draw();
  }

  #tell(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  #css({ x, y }) {
    return { x: x / this.unit, y: y / this.unit };
  }

  #resize() {
    const width = Math.max(1, Math.round(this.element.clientWidth * this.unit));
    const height = Math.max(1, Math.round(this.element.clientHeight * this.unit));
    if (width === this.grey.width && height === this.grey.height) return;
    for (const canvas of [this.grey, this.over]) Object.assign(canvas, { width, height });
    this.#sampled = null;
    this.settle();
  }

  #move() {
    this.#sampled = null;
    this.#quick = true;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#quick = false;
      this.#sampled = null;
      this.#redraw();
    }, SETTLED);
    this.#redraw();
  }

  #redraw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const context = this.grey.getContext("2d");
    context.clearRect(0, 0, this.grey.width, this.grey.height);
    if (!this.record) {
      this.over.getContext("2d").clearRect(0, 0, this.over.width, this.over.height);
      this.handles.update([]);
      this.legend.hidden = true;
      for (const words of Object.values(this.words)) words.replaceChildren();
      return;
    }
    const at = place(this.view, this.record.film, this.size);
    this.#sampled ??= resampled(this.record.levels, at, this.size, this.#quick);
    this.#colours ??= table(this.window, this.inverted);
    const { data, x, y, width, height } = this.#sampled;
    if (width && height) {
      const image = context.createImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      for (let i = 0; i < data.length; i++) pixels[i] = this.#colours[data[i]];
      context.putImageData(image, x, y);
    }
    drawn(this.over.getContext("2d"), this.record, at, this.unit, this.shown);
    this.handles.update(points(this.record, this.shown.lines));
    this.#tellState(at);
  }

  #describe() {
    const { result } = this.record;
    const { patient, study } = result;
    const lines = (...texts) => texts.filter(Boolean).map((text) => el("div", {}, text));
    const about = patient ? [person(patient.name) || "No name", [patient.id, patient.birth_date && `born ${day(patient.birth_date)}`, patient.sex].filter(Boolean).join(" · ")] : [result.file];
    this.words.who.replaceChildren(...lines(...about));
    this.words.when.replaceChildren(...lines(study && day(study.date), study?.description, result.input.view && `view ${result.input.view}`));
    // By convention the patient's right is on the picture's left; a film that may be mirrored gets a question mark.
    this.#doubt = result.flags.some((flag) => flag.code === "mirrored") ? "?" : "";
    this.#colours = null;
    this.legend.hidden = true;
    this.element.setAttribute("aria-label", `${this.name}: ${about[0]}, ${result.status}`);
  }

  #tellState({ scale }) {
    const { view, window } = this;
    const flips = [view.flippedAcross && "left to right", view.flippedDown && "top to bottom"].filter(Boolean);
    const told = [this.record.result.status === "rejected" && "Rejected", flips.length && `Flipped ${flips.join(" and ")}`, this.inverted && "Inverted"];
    this.words.turned.replaceChildren(...told.filter(Boolean).map((text) => el("span", {}, text)));
    [this.words["side-left"].textContent, this.words["side-right"].textContent] = this.sides;
    this.words.seen.textContent = `C ${Math.round(window.centre)}  W ${Math.round(window.width)}  ·  ${Math.round(100 * scale)} %`;
  }
}

