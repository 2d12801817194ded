// Where a film lies on the screen. A view holds the zoom (1: the film just fits) and the point of the film that is
// in the middle, as shares of width and height; so it means the same for films of different sizes.

const SMALLEST = 0.3;
const LARGEST = 40; // most screen pixels per film pixel
export const WHOLE_FILM = Object.freeze({ zoom: 1, x: 0.5, y: 0.5 });

/** Screen pixels per film pixel if the film just fits. */
export const fitting = (film, size) => Math.min(size.width / film.columns, size.height / film.rows);

/** How the film lies on the screen: x = left + step * column, y = top + down * row; |step| = |down| = scale. */
export function place(view, film, size) {
  const scale = fitting(film, size) * view.zoom;
  const step = view.flippedAcross ? -scale : scale;
  const down = view.flippedDown ? -scale : scale;
  // At whole scales film pixels are aligned with screen pixels; else each would be a mixture of two.
  const whole = Math.abs(scale - Math.round(scale)) < 1e-6 ? Math.round : (x) => x;
  return {
    scale,
    step,
    down,
    left: whole(size.width / 2 - step * view.x * film.columns),
    top: whole(size.height / 2 - down * view.y * film.rows),
  };
}

/** The film's column and row, not rounded, at a screen point. */
export function onFilm(view, film, size, { x, y }) {
  const at = place(view, film, size);
  return { x: (x - at.left) / at.step, y: (y - at.top) / at.down };
}

/** The screen point of a film's column and row. */
export function onScreen(view, film, size, { x, y }) {
  const at = place(view, film, size);
  return { x: at.left + at.step * x, y: at.top + at.down * y };
}

/** The view zoomed by `factor`; the part of the film under a screen point stays there. */
export function zoomed(view, film, size, factor, point) {
  const fit = fitting(film, size);
  const zoom = clamp(view.zoom * factor, SMALLEST, Math.max(LARGEST / fit, 2));
  const under = onFilm(view, film, size, point);
  const after = onFilm({ ...view, zoom }, film, size, point);
  return held({ ...view, zoom, x: view.x + (under.x - after.x) / film.columns, y: view.y + (under.y - after.y) / film.rows });
}

/** The view after the film was moved by (dx, dy) screen pixels. */
export function panned(view, film, size, dx, dy) {
  const { step, down } = place(view, film, size);
  return held({ ...view, x: view.x - dx / (step * film.columns), y: view.y - dy / (down * film.rows) });
}

/** The view with one screen pixel per film pixel. */
export const oneToOne = (view, film, size) => ({ ...view, zoom: 1 / fitting(film, size) });

const held = (view) => ({ ...view, x: clamp(view.x, 0, 1), y: clamp(view.y, 0, 1) });
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
