// The segmented structures as smooth outlines, drawn and named as in the reports.

/** Mask values from 1, with the colours of hilum.reporting.picture. */
export const STRUCTURES = [
  { value: 1, key: "right_lung", name: "Right lung", colour: "rgb(86 180 233)" },
  { value: 2, key: "left_lung", name: "Left lung", colour: "rgb(240 228 66)" },
  { value: 3, key: "heart", name: "Heart", colour: "rgb(213 94 0)" },
];
export const HALO = "rgb(10 12 16)";

// Steps along pixel edges: right, down, left, up; the structure is on the right of the direction.
const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/** Each structure's outline in film pixels, as a Path2D: [{...structure, path}]. */
export function outlines(mask) {
  const reach = Math.floor(Math.max(mask.rows, mask.columns) / 50);
  return STRUCTURES.map((structure) => {
    const path = new Path2D();
    for (const loop of traced(mask, structure.value)) draw(path, smooth(loop, reach));
    return { ...structure, path };
  });
}

/** The closed loops of pixel edges around all pixels of one value: flat arrays x, y, x, y, ... */
function traced({ data, rows, columns }, value) {
  const wide = columns + 1; // corners in a row
  const is = (x, y) => x >= 0 && y >= 0 && x < columns && y < rows && data[y * columns + x] === value;
  const starts = new Set();
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) {
      if (data[i] === value && (y === 0 || data[i - columns] !== value)) starts.add(y * wide + x);
    }
  }
  const loops = [];
  for (const start of starts) {
    const loop = [];
    let [x, y, heading] = [start % wide, Math.floor(start / wide), 0];
    do {
      loop.push(x, y);
      if (heading === 0) starts.delete(y * wide + x);
      x += STEPS[heading][0];
      y += STEPS[heading][1];
      heading = turned(is, x, y, heading);
    } while (heading !== 0 || y * wide + x !== start);
    loops.push(loop);
  }
  return loops;
}

/** The next direction at a corner; pixels that touch only at a corner are connected, as in OpenCV. */
function turned(is, x, y, heading) {
  const left = [is(x, y - 1), is(x, y), is(x - 1, y), is(x - 1, y - 1)][heading];
  const right = [is(x, y), is(x - 1, y), is(x - 1, y - 1), is(x, y - 1)][heading];
  if (left) return (heading + 3) % 4;
  return right ? heading : (heading + 1) % 4;
}

/** Smooths the pixel steps of a loop: a running mean over about `reach` corners, twice. */
function smooth(loop, reach) {
  const count = loop.length / 2;
  const half = Math.min(reach, count >> 2) >> 1;
  let points = Float64Array.from(loop);
  for (let pass = 0; pass < 2 && half; pass++) points = averaged(points, count, half);
  return points;
}

function averaged(points, count, half) {
  const mean = new Float64Array(points.length);
  for (const axis of [0, 1]) {
    const at = (i) => points[2 * (((i % count) + count) % count) + axis];
    let sum = 0;
    for (let i = -half; i <= half; i++) sum += at(i);
    for (let i = 0; i < count; i++) {
      mean[2 * i + axis] = sum / (2 * half + 1);
      sum += at(i + half + 1) - at(i - half);
    }
  }
  return mean;
}

function draw(path, points) {
  path.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
  path.closePath();
}

/** The middle of the row where pixels of some values lie farthest apart, as a coordinate; null if none. */
export function widestRow({ data, rows, columns }, values) {
  let [widest, found] = [0, []];
  for (let row = 0; row < rows; row++) {
    let [first, last] = [-1, -1];
    for (let column = 0, i = row * columns; column < columns; column++, i++) {
      if (values.includes(data[i])) {
        if (first < 0) first = column;
        last = column;
      }
    }
    const width = first < 0 ? 0 : last - first + 1;
    if (width > widest) [widest, found] = [width, []];
    if (width && width === widest) found.push(row);
  }
  return found.length ? found[found.length >> 1] + 0.5 : null;
}
