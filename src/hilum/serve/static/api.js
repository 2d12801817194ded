// The service's HTTP interface: the only requests that this page sends.

import { tab } from "./kept.js";
import { parseNpy } from "./npy.js";

const KEY = "hilum-token";
let prompting = null;
let ask = null;

/** An error answer: status (0: no answer), code, reason, remedy, and the seconds to wait, if given. */
export class ServiceError extends Error {
  constructor(status, { code = "error", reason = "", remedy = "" } = {}, retryAfter = 0) {
    super(reason || `The service answered ${status}.`);
    Object.assign(this, { status, code, remedy, retryAfter });
  }
}

/** Sets the token prompt: a function (whether a token was refused) -> promise, resolved when a token is set. */
export function onTokenNeeded(prompt) {
  ask = prompt;
}

/** Stores a token. Characters that no token has (most fit in no header) are replaced, so that it is refused. */
export const setToken = (token) => tab.set(KEY, token.replace(/[^\x20-\x7e]/g, "?"));
export const hasToken = () => tab.get(KEY) !== null;

/** Asks for the token, once for all waiting requests. */
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
    // The page of a proxy: only the status is known.
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
      throw new ServiceError(0, { code: "offline", reason: "The service does not answer.", remedy: "check whether it is running" });
    }
    if (response.ok) return response;
    if (response.status !== 401 || !ask) {
      throw failure(response.status, await response.text(), response.headers.get("Retry-After"));
    }
    // Another request may have obtained the token meanwhile.
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

/** The film's 16-bit values and its initial window: {data, rows, columns, centre, width}. */
export async function film(id, options) {
  const { headers: said, ...values } = await array(`${one(id)}/film.npy`, options);
  const [centre, width] = said.get("X-Hilum-Window").split(",").map(Number);
  return { ...values, centre, width };
}

/** One label's map in logits above its baseline, and the value that is drawn at full strength. */
export async function evidence(id, label, options) {
  const { headers: said, ...values } = await array(`${one(id)}/evidence/${encodeURIComponent(label)}.npy`, options);
  return { ...values, strongest: Number(said.get("X-Hilum-Strongest")) || 1 };
}

/** Sends files for immediate analysis; `progress` is called with the share sent, 0..1. */
export const predict = (files, progress) => send("/v1/predict", files, progress);
/** Sends files as a job; the answer is the job's document. */
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

// fetch does not report upload progress; XMLHttpRequest does.
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
