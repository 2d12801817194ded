// The service's HTTP interface, and nothing else that leaves this page.

import { tab } from "./kept.js";
import { parseNpy } from "./npy.js";

const KEY = "hilum-token";
let prompting = null;
let ask = null;

/** An answer that is not what was asked for: status, code, reason, remedy, and seconds to wait if it says so. */
export class ServiceError extends Error {
  constructor(status, { code = "error", reason = "", remedy = "" } = {}, retryAfter = 0) {
    super(reason || `The service answered ${status}.`);
    Object.assign(this, { status, code, remedy, retryAfter });
  }
}

/** Sets who is asked for the token: a function (whether one was refused) -> promise, resolved when it is set. */
export function onTokenNeeded(prompt) {
  ask = prompt;
}

export const setToken = (token) => tab.set(KEY, token);
export const hasToken = () => tab.get(KEY) !== null;

/** Asks for the token, once for all requests that wait for it. */
export function promptForToken() {
  const refused = hasToken();
  prompting ??= ask(refused).finally(() => (prompting = null));
  return prompting;
}

function headers() {
  const token = tab.get(KEY);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

function failure(status, text, retryAfter) {
  let said = {};
  try {
    said = JSON.parse(text).error ?? {};
  } catch {
    // A proxy's page; the status alone must do.
  }
  return new ServiceError(status, said, Number(retryAfter) || 0);
}

async function request(path, options = {}) {
  for (;;) {
    const sent = headers();
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...sent, ...options.headers } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError(0, { code: "offline", reason: "The service does not answer.", remedy: "Is it running?" });
    }
    if (response.ok) return response;
    if (response.status !== 401 || !ask) {
      throw failure(response.status, await response.text(), response.headers.get("Retry-After"));
    }
    // Another request may have brought the token while this one was under way.
    if (sent.Authorization === headers().Authorization) await promptForToken();
  }
}

const one = (id) => `/v1/results/${encodeURIComponent(id)}`;
const json = async (path, options) => (await request(path, options)).json();

async function array(path, options) {
  const response = await request(path, options);
  return { ...parseNpy(await response.arrayBuffer()), headers: response.headers };
}

export const service = () => json("/v1/service");
export const results = (query, options) => json(`/v1/results?${new URLSearchParams(query)}`, options);
export const result = (id, options) => json(one(id), options);
export const remove = (id) => request(one(id), { method: "DELETE" });
export const priors = async (id, options) => (await json(`${one(id)}/prior`, options)).results;
export const mask = (id, options) => array(`${one(id)}/mask.npy`, options);
export const job = (id) => json(`/v1/jobs/${encodeURIComponent(id)}`);
export const cancelJob = (id) => request(`/v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
export const part = async (id, name) => (await request(`${one(id)}/${name}`)).blob();

/** The film's 16-bit values with the window it is first shown in: {data, rows, columns, centre, width}. */
export async function film(id, options) {
  const { headers: said, ...values } = await array(`${one(id)}/film.npy`, options);
  const [centre, width] = said.get("X-Hilum-Window").split(",").map(Number);
  return { ...values, centre, width };
}

/** One label's map in logits above its baseline, and the value that is drawn strongest. */
export async function evidence(id, label, options) {
  const { headers: said, ...values } = await array(`${one(id)}/evidence/${encodeURIComponent(label)}.npy`, options);
  return { ...values, strongest: Number(said.get("X-Hilum-Strongest")) || 1 };
}

/** Sends files to be analysed at once; `progress` hears the share that has been sent, 0..1. */
export const predict = (files, progress) => send("/v1/predict", files, progress);
/** Sends files to be analysed one after another; the answer tells the job to ask about. */
export const submitJob = (files, progress) => send("/v1/jobs", files, progress);

async function send(path, files, progress) {
  for (;;) {
    const sent = headers();
    try {
      return JSON.parse(await upload(path, files, progress, sent));
    } catch (error) {
      if (error.status !== 401 || !ask) throw error;
      if (sent.Authorization === headers().Authorization) await promptForToken();
    }
  }
}

// fetch tells nothing of how much was sent; XMLHttpRequest does.
function upload(path, files, progress, sent) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", path);
    for (const [name, value] of Object.entries({ Accept: "application/json", ...sent })) {
      sending.setRequestHeader(name, value);
    }
    sending.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    sending.onerror = () => reject(new ServiceError(0, { code: "offline", reason: "The service does not answer." }));
    sending.onload = () => {
      if (sending.status < 400) resolve(sending.responseText);
      else reject(failure(sending.status, sending.responseText, sending.getResponseHeader("Retry-After")));
    };
    sending.send(form);
  });
}
