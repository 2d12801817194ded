// The page: opening films, the actions of keys and buttons, and the panel beside the film.

import * as api from "./api.js";
import { askDelete, askToken } from "./dialogs.js";
import { byId, el, say } from "./elements.js";
import { intake } from "./intake.js";
import * as keys from "./keys.js";
import { measuresNow, sections } from "./panel.js";
import { paper } from "./paper.js";
import { forget, record, restored } from "./records.js";
import { Stage } from "./stage.js";
import { toggleTheme } from "./theme.js";
import { toolbar } from "./toolbar.js";
import { TOOLS, nudge } from "./tools.js";
import { uploadsList } from "./uploads_list.js";
import { capital, summary } from "./words.js";
import { Worklist } from "./worklist.js";

const IDENTITY = /^[0-9a-f]{32}$/;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const NARROW = matchMedia("(max-width: 60rem)");

const stage = new Stage();
const worklist = new Worklist((id) => open(id));
const uploads = uploadsList({ open: (id) => open(id), done: arrived });
const panel = byId("panel");
let opening = new AbortController();
let choosing = new AbortController(); // of an earlier film
let wanted = null; // id of the film that is open or being opened
let current = null; // its record, once loaded
let priors = [];

/** Opens a film; cancels the opening of another. */
async function open(id) {
  opening.abort();
  opening = new AbortController();
  const { signal } = opening;
  wanted = id;
  worklist.activate(id);
  say("Loading the film");
  try {
    const opened = await record(id, signal);
    const earlier = await api.priors(id, { signal });
    if (!signal.aborted) shown(opened, earlier);
  } catch (error) {
    if (signal.aborted) return;
    nothing(); // the list marks this film: no other film may stay on the screen
    history.replaceState(null, "", `#${id}`); // a reload tries again
    trouble(error);
  }
}

function shown(opened, earlier) {
  byId("trouble").hidden = true;
  byId("welcome").hidden = true;
  byId("films").hidden = !opened.film;
  current = opened;
  priors = earlier;
  choosing.abort();
  stage.compare(null);
  stage.main.show(opened.film ? opened : null);
  if (opened.gone) trouble(opened.gone);
  history.replaceState(null, "", `#${opened.id}`);
  if (NARROW.matches) showList(false);
  refreshPanel();
  panel.scrollTop = 0;
  say(`${opened.result.file}: ${opened.result.status === "rejected" ? "rejected. " : ""}${summary(opened.result)}`);
}

function trouble(error) {
  byId("trouble-what").textContent = `${capital([error.message.replace(/\.$/, ""), error.remedy].filter(Boolean).join("; "))}.`;
  byId("trouble").hidden = false;
  say("");
}

function nothing() {
  wanted = current = null;
  choosing.abort();
  stage.compare(null);
  stage.main.show(null);
  byId("films").hidden = true;
  byId("welcome").hidden = false;
  panel.hidden = true;
  history.replaceState(null, "", location.pathname);
}

function arrived(file) {
  worklist.refresh();
  if (!wanted || uploads.files.length === 1) open(file.id);
}

/** Rebuilds the panel; the focused control keeps its focus. */
function refreshPanel() {
  const held = panel.contains(document.activeElement) ? document.activeElement : null;
  const again = held && (held.id ? `#${held.id}` : held.dataset.id ? `[data-id="${held.dataset.id}"]` : held.dataset.label ? `[data-label="${CSS.escape(held.dataset.label)}"]` : null);
  panel.hidden = !current;
  if (!current) return;
  panel.replaceChildren(...sections(current, stage.main.shown, priors, act));
  measuresNow(panel, current, act);
  if (again) panel.querySelector(again)?.focus();
}

const act = {
  /** Shows a label's evidence map, or hides it if it is shown already and was not `picked` from a list. */
  evidence: async (label, picked = false) => {
    const before = current;
    try {
      await stage.main.showEvidence(label === stage.main.shown.label && !picked ? null : label);
      if (current === before) say(stage.main.shown.label ? `Evidence for ${stage.main.shown.label}` : "No evidence map shown");
    } catch (error) {
      if (current === before) trouble(error); // else it is about a film that is no longer shown
    }
  },
  shown: (shown) => stage.setShown(shown),
  addRuler: () => stage.main.addRuler(),
  removeRuler: (i) => {
    stage.main.record.marks.rulers.splice(i, 1);
    stage.main.marked();
    panel.focus();
  },
  restore: () => {
    restored(stage.main.record);
    stage.main.marked();
    panel.focus();
    say("The lines are back at their measured positions");
  },
  compare: async (id) => {
    choosing.abort();
    choosing = new AbortController();
    const { signal } = choosing;
    try {
      const other = stage.comparing === id ? null : await record(id, signal);
      if (signal.aborted) return; // another was chosen meanwhile, or a film opened, maybe of another patient
      if (other?.gone) throw other.gone;
      stage.compare(other);
      say(stage.comparing ? "The earlier film is on the left" : "One film is shown");
      refreshPanel();
    } catch (error) {
      if (!signal.aborted) trouble(error);
    }
  },
  compared: () => stage.comparing,
  linked: () => stage.linked,
  link: (linked) => {
    stage.linked = linked;
    if (linked) stage.main.setView({});
  },
  download: async (name) => {
    const { id, result } = current;
    try {
      const link = el("a", { href: URL.createObjectURL(await api.part(id, name)), download: `${result.file}.${name.replace("report.", "")}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      say(`${link.download} was saved`);
    } catch (error) {
      trouble(error);
    }
  },
  print: () => {
    paper(current, stage.main);
    window.print();
  },
  remove: async () => {
    const { id, result } = current;
    if (!(await askDelete(result.file))) return;
    try {
      await api.remove(id);
      forget(id);
      if (current?.id === id) nothing();
      worklist.refresh();
      byId("rows").focus();
      say(`${result.file} was deleted`);
    } catch (error) {
      trouble(error);
    }
  },
};

/** Shows the next label's map; none after the last. */
function nextEvidence() {
  const maps = Object.keys(stage.main.record?.result.prediction ?? {});
  if (!maps.length) return say("This film has no evidence maps");
  return act.evidence(maps[maps.indexOf(stage.main.shown.label) + 1] ?? null, true);
}

function take(tool) {
  stage.tool = tool;
  bar.show();
  say(tool === "ruler" ? "Ruler: drag on the film, or press Enter on it" : `${capital(tool)} tool`);
}

function aside(viewport, by) {
  if (stage.comparing) viewport.element.focus();
  else worklist.step(by);
}

function showList(visible) {
  document.body.classList.toggle("no-list", !visible);
  byId("toggle-list").setAttribute("aria-expanded", visible);
}

const active = () => stage.active;
const flip = (name) => active().setView({ [name]: !active().view[name] }, true);
const actions = {
  ...Object.fromEntries(TOOLS.map((tool) => [tool, () => take(tool)])),
  ...Object.fromEntries([0, 1, 2, 3, 4].map((i) => [`preset${i + 1}`, () => preset(i)])),
  next: () => worklist.step(1),
  previous: () => worklist.step(-1),
  left: () => aside(stage.prior, -1),
  right: () => aside(stage.main, 1),
  nearer: () => active().zoom(1.25),
  farther: () => active().zoom(0.8),
  fit: () => active().fit(),
  actual: () => active().actual(),
  invert: () => active().record && active().setInverted(!active().inverted),
  flipAcross: () => flip("flippedAcross"),
  flipDown: () => flip("flippedDown"),
  reset: () => active().reset(),
  outlines: () => stage.setShown({ outlines: !stage.main.shown.outlines }),
  lines: () => stage.setShown({ lines: !stage.main.shown.lines }),
  evidence: nextEvidence,
  search: () => {
    showList(true);
    byId("search").focus();
  },
  choose: () => byId("files").click(),
  chooseFolder: () => byId("folder").click(),
  help: () => byId("help").showModal(),
  theme: () => say(`${capital(toggleTheme())} theme`),
};
const bar = toolbar(stage, actions, preset);

function preset(i) {
  if (!active().record) return;
  active().setWindow(active().record.presets[i].window);
  say(`Window: ${active().record.presets[i].name}`);
}

function follow({ viewport, what }) {
  bar.show();
  if (viewport !== stage.main || !stage.main.record) return;
  if (what === "marks") measuresNow(panel, current, act);
  if (what !== "shown") return;
  for (const label of panel.querySelectorAll("button.label")) label.setAttribute("aria-pressed", label.dataset.label === stage.main.shown.label);
  const chosen = panel.querySelector("#evidence");
  if (chosen) chosen.value = stage.main.shown.label ?? "";
}

async function start() {
  api.onTokenNeeded(askToken);
  stage.addEventListener("change", (event) => follow(event.detail));
  keys.help();
  keys.listen(actions, (arrow) => active().record && nudge(active(), stage.tool, ...ARROWS[arrow]));
  intake((films) => uploads.add(films));
  byId("toggle-list").addEventListener("click", () => showList(document.body.classList.contains("no-list")));
  addEventListener("beforeprint", () => paper(current, stage.main));
  byId("trouble-close").addEventListener("click", () => (byId("trouble").hidden = true));
  addEventListener("hashchange", openNamed);
  byId("films").hidden = true;
  bar.show();
  openNamed();
  try {
    const service = await api.service();
    uploads.limits = service.limits;
    worklist.setLabels(service.labels);
    if (service.token_required && !api.hasToken()) await api.promptForToken();
    await worklist.refresh();
  } catch (error) {
    trouble(error);
  }
}

/** Opens the film in the page's address. */
function openNamed() {
  const id = location.hash.slice(1);
  if (IDENTITY.test(id) && id !== wanted) open(id);
}

start();
