// What the browser keeps for the page. Where it is told to keep nothing, the page works all the same.

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

/** Of this browser: the theme, and whether keys are on; never anything of a film. */
export const settings = store("localStorage");
/** Of this tab alone, and gone with it: the token. */
export const tab = store("sessionStorage");
