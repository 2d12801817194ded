// A film's 16-bit values at the screen's pixels. Values are interpolated before the window is applied, so that no
// step on the way to the screen is coarser than the film.

/** A function from a level to {data, rows, columns}: 0 is the film, each further level half the size. */
export function pyramid(film) {
  const levels = [film];
  return (level) => {
    while (levels.length <= level) levels.push(halved(levels.at(-1)));
    return levels[level];
  };
}

function halved({ data, rows, columns }) {
  const half = { rows: (rows + 1) >> 1, columns: (columns + 1) >> 1 };
  half.data = new Uint16Array(half.rows * half.columns);
  for (let row = 0, i = 0; row < half.rows; row++) {
    const upper = 2 * row * columns;
    const lower = Math.min(2 * row + 1, rows - 1) * columns;
    for (let column = 0; column < half.columns; column++, i++) {
      const left = 2 * column;
      const right = Math.min(left + 1, columns - 1);
      half.data[i] = (data[upper + left] + data[upper + right] + data[lower + left] + data[lower + right] + 2) >> 2;
    }
  }
  return half;
}

/**
 * The values at the screen pixels that the film covers: {data, x, y, width, height}.
 *
 * `at` is as of `place`, `size` is that of the screen. `quick` takes the nearest values, for use during movements.
 */
export function resampled(levels, at, size, quick) {
  const film = levels(0);
  const level = Math.max(0, Math.floor(Math.log2(1 / at.scale) + 0.01));
  const from = levels(level);
  const across = positions(at.left, at.step, size.width, film.columns, from.columns, level);
  const down = positions(at.top, at.down, size.height, film.rows, from.rows, level);
  const [width, height] = [across.near.length, down.near.length];
  const data = new Uint16Array(width * height);
  const mix = quick ? nearest : bilinear;
  mix(data, from, across, down);
  return { data, x: across.start, y: down.start, width, height };
}

/** For each covered screen pixel along one axis: the two cells to mix, and the share of the second in 256ths. */
function positions(origin, step, length, extent, cells, level) {
  const [first, last] = [origin, origin + step * extent].sort((a, b) => a - b);
  const start = Math.max(0, Math.round(first));
  const count = Math.max(0, Math.min(length, Math.round(last)) - start);
  const near = new Int32Array(count);
  const next = new Int32Array(count);
  const share = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const place = (start + i + 0.5 - origin) / step / 2 ** level - 0.5;
    const cell = Math.floor(place);
    near[i] = Math.min(cells - 1, Math.max(0, cell));
    next[i] = Math.min(cells - 1, Math.max(0, cell + 1));
    share[i] = Math.round((place - cell) * 256);
  }
  return { start, near, next, share };
}

function nearest(data, from, across, down) {
  const columns = across.near.map((cell, i) => (across.share[i] < 128 ? cell : across.next[i]));
  for (let row = 0, i = 0; row < down.near.length; row++) {
    const base = (down.share[row] < 128 ? down.near[row] : down.next[row]) * from.columns;
    for (let column = 0; column < columns.length; column++) data[i++] = from.data[base + columns[column]];
  }
}

function bilinear(data, from, { near, next, share }, down) {
  for (let row = 0, i = 0; row < down.near.length; row++) {
    const upper = down.near[row] * from.columns;
    const lower = down.next[row] * from.columns;
    const below = down.share[row];
    for (let column = 0; column < near.length; column++) {
      const right = share[column];
      const left = 256 - right;
      const above = from.data[upper + near[column]] * left + from.data[upper + next[column]] * right;
      const under = from.data[lower + near[column]] * left + from.data[lower + next[column]] * right;
      // Up to 65535 * 2^16, an unsigned 32-bit value: hence the unsigned shift.
      data[i++] = (above * (256 - below) + under * below + 32768) >>> 16;
    }
  }
}
