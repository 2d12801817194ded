// Questions that must be answered before anything else goes on.

import { setToken } from "./api.js";
import { byId } from "./elements.js";

/** Asks for the token until one is given, and keeps it. */
export function askToken(refused) {
  const dialog = byId("token");
  if (refused) byId("token-why").textContent = "That token was refused; look at how the service was started and try again.";
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

/** Whether the film with this name is to be deleted. */
export function askDelete(name) {
  const dialog = byId("delete");
  byId("delete-what").textContent = name;
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
