// From 16-bit grey values to screen colours.

const LEVELS = 65536;
/** The window that shows all possible values. */
export const WHOLE = { centre: LEVELS / 2, width: LEVELS };
const SHARES = [0.02, 0.98]; // quantiles of a structure's values that its window spans

/** The screen colour, little-endian RGBA, of each 16-bit value. */
export function table({ centre, width }, inverted) {
  const colours = new Uint32Array(LEVELS);
  // DICOM's linear window (PS3.3 C.11.2.1.2.1): its width counts values, not steps.
  const low = centre - 0.5 - (width - 1) / 2;
  const scale = 255 / Math.max(width - 1, 1e-6);
  for (let value = 0; value < LEVELS; value++) {
    const level = Math.min(255, Math.max(0, Math.round((value - low) * scale)));
    const grey = inverted ? 255 - level : level;
    colours[value] = (0xff000000 | (grey << 16) | (grey << 8) | grey) >>> 0;
  }
  return colours;
}

/** The window, limited to a width of at least 2 values and a centre within the range of values. */
export function held({ centre, width }) {
  return {
    centre: Math.min(LEVELS - 1, Math.max(0, centre)),
    width: Math.min(2 * LEVELS, Math.max(2, width)),
  };
}

/** The five window presets of a film: [{name, window}]. `mask` may be null. */
export function presets(film, mask) {
  const stored = { centre: film.centre, width: film.width };
  return [
    { name: "As stored", window: stored },
    { name: "Lungs", window: spanned(film, mask, [1, 2]) ?? held({ centre: film.centre - 0.15 * film.width, width: 0.6 * film.width }) },
    { name: "Heart and mediastinum", window: spanned(film, mask, [3]) ?? held({ centre: film.centre + 0.15 * film.width, width: 0.6 * film.width }) },
    { name: "High contrast", window: held({ centre: film.centre, width: film.width / 2 }) },
    { name: "Whole range", window: WHOLE },
  ];
}

/** The window that spans the middle 96 % of the values in some structures; null if they are not segmented. */
function spanned(film, mask, parts) {
  if (!mask || mask.data.length !== film.data.length) return null;
  const counts = new Uint32Array(LEVELS);
  let total = 0;
  for (let i = 0; i < mask.data.length; i++) {
    if (parts.includes(mask.data[i])) {
      counts[film.data[i]]++;
      total++;
    }
  }
  if (!total) return null;
  const [low, high] = SHARES.map((share) => quantile(counts, share * total));
  return held({ centre: (low + high + 1) / 2, width: high - low + 1 });
}

function quantile(counts, target) {
  let seen = 0;
  for (let value = 0; value < LEVELS; value++) {
    seen += counts[value];
    if (seen >= target && seen) return value;
  }
  return LEVELS - 1;
}
