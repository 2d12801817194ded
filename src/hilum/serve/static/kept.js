// What the browser stores for the page. If storage is blocked, memory replaces it.

function store(area) {
  const memory = new Map();
  const trying = (way, otherwise) => {
    try {
      return way(window[area]);
    } catch {
      return otherwise();
    }
  };
  return {
    get: (key) => trying((kept) => kept.getItem(key), () => memory.get(key) ?? null),
    set: (key, value) => trying((kept) => kept.setItem(key, value), () => memory.set(key, value)),
  };
}

/** For this browser: the theme, and whether single-character keys are on; never anything about a film. */
export const settings = store("localStorage");
/** For this tab only, until it is closed: the token. */
export const tab = store("sessionStorage");
