// The upload queue: files are sent in portions that the service accepts, each with its own state.

import * as api from "./api.js";

const SINGLY = 3; // up to this number, files are sent one by one, which gives the fastest answers
const POLL = 700; // ms between two queries of a job
const WAIT = 5; // seconds until the next attempt, if the service gives none
const AWAY = [0, 429, 502, 503, 504]; // no answer, a busy service, or a proxy in front of one that restarts

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A queue of files; calls `changed()` after every change, and `done(file)` for each file with a result. */
export class Uploads {
  files = []; // {name, file, state, share, reason, remedy, id}
  #limits = {};
  #running = false;
  #jobs = new Set();
  #heard;

  constructor(heard) {
    this.#heard = heard;
  }

  set limits(limits) {
    this.#limits = limits ?? {};
  }

  get waiting() {
    return this.files.filter((file) => !file.ended).length;
  }

  /** Queues files and sends them in order. */
  add(files) {
    const most = this.#limits.bytes ?? Infinity;
    for (const file of files) {
      const one = { name: file.name, file, state: "waiting", share: 0, ended: false };
      this.files.push(one);
      if (file.size > most) this.#fail(one, { message: `larger than the limit of ${Math.floor(most / 1e6)} MB`, remedy: "" });
    }
    this.#heard.changed();
    this.#run();
  }

  clear() {
    this.files = this.files.filter((file) => !file.ended);
    this.#heard.changed();
  }

  cancel() {
    for (const one of this.files.filter((file) => !file.ended)) this.#end(one, { state: "cancelled" });
    for (const id of this.#jobs) api.cancelJob(id).catch(() => {}); // it may have ended just now
    this.#heard.changed();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    for (let next = this.#portion(); next.length; next = this.#portion()) await this.#patiently(next);
    this.#running = false;
  }

  /** The next files to send together: one, or of many files as many as one request may hold. */
  #portion() {
    const waiting = this.files.filter((file) => file.state === "waiting");
    if (waiting.length <= SINGLY) return waiting.slice(0, 1);
    const { films = 20, bytes = 1e8 } = this.#limits;
    let room = bytes;
    const fitting = waiting.findIndex((one) => (room -= one.file.size) < 0);
    return waiting.slice(0, Math.min(films, fitting < 0 ? films : Math.max(1, fitting)));
  }

  async #patiently(portion) {
    for (let left = portion; left.length; left = left.filter((one) => !one.ended)) {
      try {
        return await (left.length === 1 ? this.#one(left[0]) : this.#many(left));
      } catch (error) {
        if (error.status !== 503 && error.status !== 429) {
          for (const one of left.filter((file) => !file.ended)) this.#fail(one, error);
          return;
        }
        const seconds = error.retryAfter || WAIT;
        this.#set(left, { state: `service busy, retrying in ${seconds} s` });
        await pause(1000 * seconds);
      }
    }
  }

  async #one(one) {
    this.#set([one], { state: "sending" });
    const result = await api.predict([one.file], (share) => this.#sent([one], share));
    if (one.ended) api.remove(result.id).catch(() => {}); // cancelled meanwhile: nothing of it is kept
    else this.#finish(one, result);
  }

  async #many(portion) {
    this.#set(portion, { state: "sending" });
    let job = await api.submitJob(portion.map((one) => one.file), (share) => this.#sent(portion, share));
    this.#jobs.add(job.id);
    if (portion.every((one) => one.ended)) api.cancelJob(job.id).catch(() => {}); // cancelled while it was sent
    try {
      for (; ; await pause(POLL), job = await this.#look(job)) {
        for (const result of job.results) this.#told(portion, result, job.results);
        if (job.status === "done" || job.status === "cancelled" || portion.every((one) => one.ended)) break;
      }
    } finally {
      this.#jobs.delete(job.id);
    }
    const how = job.status === "done" ? "done; see the list" : "cancelled"; // for names that the service has changed
    for (const one of portion.filter((file) => !file.ended)) this.#end(one, { state: how });
  }

  /** The job's current state; the last known one while the service does not answer, for the job goes on. */
  async #look(job) {
    try {
      return await api.job(job.id);
    } catch (error) {
      if (!AWAY.includes(error.status)) throw error;
      await pause(1000 * (error.retryAfter || WAIT));
      return job;
    }
  }

  /** Assigns a job's result to its file. Every query returns all results so far, in any order. */
  #told(portion, result, results) {
    const same = portion.filter((one) => one.name === result.file);
    const known = result.error
      ? same.filter((one) => one.state === "error").length >= results.filter((other) => other.error && other.file === result.file).length
      : same.some((one) => one.id === result.id);
    const one = known ? null : same.find((file) => !file.ended);
    if (!one) return;
    if (result.error) this.#fail(one, { message: result.error.reason, remedy: result.error.remedy });
    else this.#finish(one, result);
  }

  #sent(files, share) {
    this.#set(files, share < 1 ? { state: "sending", share: share / 2 } : { state: "being analysed", share: 0.5 });
  }

  #set(files, change) {
    for (const one of files) if (!one.ended) Object.assign(one, change);
    this.#heard.changed();
  }

  #end(one, change) {
    // The bytes are released; name and outcome stay.
    Object.assign(one, { ended: true, share: 1, file: null }, change);
    this.#heard.changed();
  }

  #fail(one, error) {
    this.#end(one, { state: "error", reason: error.message, remedy: error.remedy });
  }

  #finish(one, result) {
    this.#end(one, { state: result.status, id: result.id });
    this.#heard.done(one);
  }
}
