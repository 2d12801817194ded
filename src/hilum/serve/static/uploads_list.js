// The list of uploads with the state of each file.

import { byId, el, say } from "./elements.js";
import { Uploads } from "./uploads.js";

const WORDS = { ok: "analysed" };

/** A queue with its list on the page; `open(id)` shows a result, `done(file)` is called for each. */
export function uploadsList({ open, done }) {
  let frame = 0;
  const uploads = new Uploads({
    changed: () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => show(uploads, open));
    },
    done,
  });
  byId("uploads-clear").addEventListener("click", () => uploads.clear());
  byId("uploads-cancel").addEventListener("click", () => uploads.cancel());
  return uploads;
}

function show(uploads, open) {
  const { files, waiting } = uploads;
  byId("uploads").hidden = files.length === 0;
  byId("uploads-cancel").hidden = waiting === 0;
  byId("uploads-clear").hidden = waiting > 0;
  byId("uploads-progress").hidden = waiting === 0;
  byId("uploads-progress").value = files.reduce((sum, file) => sum + file.share, 0) / Math.max(1, files.length);
  const ended = files.length - waiting;
  const failed = files.filter((file) => file.state === "error").length;
  const analysed = `${files.filter((file) => file.id).length} of ${files.length}`; // not those that failed or were cancelled
  byId("uploads-title").textContent = waiting ? `${ended} of ${files.length} done` : `${analysed} analysed`;
  byId("uploads-list").replaceChildren(...[...files].reverse().slice(0, 200).map((file) => row(file, open)));
  if (waiting) say(`${ended} of ${files.length} films done`);
  else if (files.length) say(`${analysed} films analysed${failed ? `, ${failed} failed` : ""}`);
}

function row(file, open) {
  const name = file.id
    ? el("button", { type: "button", class: "link", onclick: () => open(file.id) }, file.name)
    : el("span", { class: "name" }, file.name);
  const why = [file.reason, file.remedy].filter(Boolean).join("; ");
  return el("li", { class: `upload ${file.state}` }, name, el("span", { class: "state" }, WORDS[file.state] ?? file.state), why && el("span", { class: "why" }, why));
}
