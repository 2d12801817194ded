// Modal questions.

import { setToken } from "./api.js";
import { byId } from "./elements.js";

/** Asks for the token until one is given, and stores it. */
export function askToken(refused) {
  const dialog = byId("token");
  if (refused) byId("token-why").textContent = "This token was refused. Check it and try again.";
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const field = byId("token-value");
      setToken(field.value.trim());
      field.value = "";
      resolve();
    }, { once: true });
    if (!dialog.open) dialog.showModal();
  });
}

/** Asks whether to delete the film with this name. */
export function askDelete(name) {
  const dialog = byId("delete");
  byId("delete-what").textContent = name;
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
