// The list of past results: search, sort order, pages, and the open film.

import * as api from "./api.js";
import { byId, el, say } from "./elements.js";
import { capital, day, person } from "./words.js";

const PAGE = 25;
const TYPING = 250; // ms after the last key until a search is sent
const SORTS = [["received", "by time received"], ["patient", "by patient"], ["date", "by study date"], ["file", "by file"]];

export class Worklist {
  #query = { search: "", status: "", sort: "received", order: "desc", offset: 0, limit: PAGE };
  #rows = [];
  #offset = 0; // of the rows shown; that of the query may be of rows on their way
  #total = 0;
  #active = null;
  #open;
  #asked = null;

  /** `open(id)` shows a film. */
  constructor(open) {
    this.#open = open;
    let typing = 0;
    byId("find").addEventListener("submit", (event) => event.preventDefault());
    byId("search").addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#change({ search: event.target.value }), TYPING);
    });
    byId("sort").addEventListener("change", (event) => {
      const order = ["patient", "file"].includes(event.target.value) ? "asc" : "desc";
      this.#change({ sort: event.target.value, order });
    });
    byId("which").addEventListener("change", (event) => this.#change({ status: event.target.value }));
    byId("order").addEventListener("click", () => this.#change({ order: this.#query.order === "desc" ? "asc" : "desc" }));
    byId("page-back").addEventListener("click", () => this.#change({ offset: Math.max(0, this.#query.offset - PAGE) }));
    byId("page-on").addEventListener("click", () => this.#change({ offset: this.#query.offset + PAGE }));
    byId("rows").addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) open(row.dataset.id);
    });
    byId("rows").addEventListener("keydown", (event) => {
      const end = { Home: 0, End: this.#rows.length - 1 }[event.key];
      if (end === undefined || !this.#rows.length) return;
      event.preventDefault();
      open(this.#rows[end].id);
    });
  }

  /** Adds the labels to the sort keys. */
  setLabels(labels) {
    const sorts = [...SORTS, ...labels.map((label) => [label, `by ${label}`])];
    byId("sort").replaceChildren(...sorts.map(([value, text]) => el("option", { value }, text)));
  }

  /** Fetches the current page again; whether it is shown: it may fail, or a newer request replace it. */
  async refresh() {
    this.#asked?.abort();
    this.#asked = new AbortController();
    try {
      const { total, results } = await api.results(this.#query, { signal: this.#asked.signal });
      // The last film of the last page may have been deleted.
      if (!results.length && total) return await this.#change({ offset: Math.floor((total - 1) / PAGE) * PAGE });
      [this.#total, this.#rows, this.#offset] = [total, results, this.#query.offset];
      this.#show();
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      this.#query.offset = this.#offset;
      this.#say(error.message);
      return false;
    }
  }

  /** Marks the film that is open. */
  activate(id) {
    this.#active = id;
    for (const row of byId("rows").children) {
      const here = row.dataset.id === id;
      row.setAttribute("aria-selected", here);
      if (here) {
        byId("rows").setAttribute("aria-activedescendant", row.id);
        row.scrollIntoView({ block: "nearest" });
      }
    }
  }

  /** Opens the film `by` places further on, across page ends. */
  async step(by) {
    const here = this.#rows.findIndex((row) => row.id === this.#active);
    let next = here < 0 ? 0 : here + by;
    const offset = this.#offset + (next < 0 ? -PAGE : next >= this.#rows.length ? PAGE : 0);
    if (offset !== this.#offset) {
      if (offset < 0 || offset >= this.#total) return say(by > 0 ? "This is the last film." : "This is the first film.");
      if (!(await this.#change({ offset }))) return;
      next = by > 0 ? 0 : this.#rows.length - 1;
    }
    if (this.#rows[next]) this.#open(this.#rows[next].id);
  }

  #change(query) {
    Object.assign(this.#query, { offset: 0 }, query);
    return this.refresh();
  }

  #say(text) {
    byId("rows-none").textContent = text;
    byId("rows-none").hidden = !text;
  }

  #show() {
    const { offset, order, sort, search, status } = this.#query;
    byId("rows").replaceChildren(...this.#rows.map(row));
    byId("rows").hidden = !this.#rows.length;
    byId("rows").removeAttribute("aria-activedescendant");
    this.#say(this.#rows.length ? "" : search || status ? "Nothing found." : "No films yet.");
    byId("page-where").textContent = this.#total ? `${offset + 1} to ${offset + this.#rows.length} of ${this.#total}` : "";
    byId("page-back").disabled = offset === 0;
    byId("page-on").disabled = offset + PAGE >= this.#total;
    byId("order").textContent = order === "desc" ? "↓" : "↑";
    byId("order").setAttribute("aria-label", `Order: ${order === "desc" ? "descending" : "ascending"}`);
    byId("sort").value = sort;
    this.activate(this.#active);
  }
}

function row(result, i) {
  const { patient, study } = result;
  const name = (patient && (person(patient.name) || patient.id)) || result.file;
  const about = [name === result.file ? result.study?.description : result.file, result.view].filter(Boolean).join(" · ");
  const value = result.cardiothoracic_ratio;
  const ratio = value === null ? "" : el("span", { class: "ratio" }, `CTR ${value.toFixed(2)}`);
  return el(
    "div",
    { role: "option", id: `row-${i}`, "data-id": result.id, "aria-selected": false, class: `film ${result.status}` },
    el("div", { class: "first" }, el("span", { class: "name" }, name), el("time", {}, study?.date ? day(study.date) : day(result.received))),
    about && el("div", { class: "dim about" }, el("span", {}, about), ratio),
    el("div", { class: "outcome" }, ...outcome(result), about ? "" : ratio),
  );
}

function outcome(result) {
  if (result.status === "rejected") return [el("span", { class: "bad" }, `Rejected: ${result.reasons.join(", ")}`)];
  const settled = result.positive.filter((label) => !result.abstained.includes(label));
  const open = result.abstained.length ? `${settled.length ? "" : "open: "}${result.abstained.map((label) => `${label}?`).join(", ")}` : "";
  const said = [settled.length && el("span", { class: "positive" }, settled.join(", ")), open && el("span", { class: "open" }, capital(open))];
  return said.some(Boolean) ? said.filter(Boolean) : [el("span", { class: "dim" }, "no positive label")];
}
