// The film and, beside it, an earlier one of the same patient.

import { byId } from "./elements.js";
import { listen } from "./tools.js";
import { Viewport } from "./viewport.js";

export class Stage extends EventTarget {
  linked = true;
  tool = "window";

  constructor() {
    super();
    this.main = new Viewport("Film");
    this.prior = new Viewport("Earlier film");
    this.active = this.main;
    for (const [viewport, other] of [[this.main, this.prior], [this.prior, this.main]]) {
      listen(viewport, () => this.tool);
      viewport.element.addEventListener("focusin", () => this.activate(viewport));
      viewport.element.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.target !== viewport.element || this.tool !== "ruler") return;
        event.preventDefault();
        viewport.addRuler();
      });
      viewport.addEventListener("change", ({ detail }) => {
        if (detail === "view" && this.linked && other.record) {
          const { zoom, x, y } = viewport.view;
          other.setView({ zoom, x, y }, true);
        }
        this.dispatchEvent(new CustomEvent("change", { detail: { viewport, what: detail } }));
      });
    }
    this.prior.element.hidden = true;
    byId("films").append(this.prior.element, this.main.element);
  }

  get comparing() {
    return this.prior.record?.id ?? null;
  }

  activate(viewport) {
    this.active = viewport;
    for (const one of [this.main, this.prior]) one.element.classList.toggle("active", one === viewport);
    this.dispatchEvent(new CustomEvent("change", { detail: { viewport, what: "active" } }));
  }

  /** Shows an earlier film on the left, or none. */
  compare(record) {
    this.prior.element.hidden = !record;
    this.main.element.parentElement.classList.toggle("two", Boolean(record));
    this.prior.show(record);
    if (record) {
      const { outlines, fill, lines, strength } = this.main.shown;
      this.prior.setShown({ outlines, fill, lines, strength });
      if (this.linked) this.main.setView({});
    } else this.activate(this.main);
  }

  /** Sets the overlays, which are the same for both films. */
  setShown(shown) {
    for (const viewport of [this.main, this.prior]) viewport.setShown(shown);
  }
}
