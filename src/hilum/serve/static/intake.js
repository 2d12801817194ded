// The ways to add films: the two file pickers, and drops anywhere on the page.

import { byId, say } from "./elements.js";
import { dropped, sifted } from "./gather.js";

/** Listens; `send` is called with the files of each choice or drop. */
export function intake(send) {
  for (const picker of [byId("files"), byId("folder")]) {
    picker.addEventListener("change", () => {
      take(sifted(picker.files), send);
      picker.value = "";
    });
  }
  const over = byId("dropping");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over.hidden = !event.dataTransfer.types.includes("Files");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) over.hidden = true; // the pointer has left the page
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    over.hidden = true;
    take(await dropped(event.dataTransfer), send);
  });
}

function take({ films, passedOver }, send) {
  if (films.length) send(films);
  if (passedOver) say(`${passedOver} ${passedOver === 1 ? "file" : "files"} skipped: not a film`);
  else if (!films.length) say("No files found");
}
