// Where films come in: the two pickers, and anything dropped anywhere on the page.

import { byId, say } from "./elements.js";
import { dropped, sifted } from "./gather.js";

/** Listens; `send` gets the files of each choice or drop. */
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
  if (passedOver) say(`${passedOver} files that hold no film were passed over`);
  else if (!films.length) say("There is no file in it");
}
