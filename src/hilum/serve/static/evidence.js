// Evidence maps as a colour wash, in the colours of hilum.reporting.picture.

const ANCHORS = [0, 48, 150, 255];
const WASH = [[110, 50, 190], [140, 40, 190], [206, 24, 150], [255, 40, 120]];
const OPACITY = [0, 0.05, 0.35, 0.75]; // rises slowly: weak evidence covers half a film
const LONGEST = 768; // pixels of the wash, which is stretched over the film
const LEGEND_GREY = 128;

/** Colour and opacity of each strength 0..255, as RGBA. */
function colours() {
  const table = new Uint8ClampedArray(256 * 4);
  for (let step = 0; step < 256; step++) {
    const next = ANCHORS.findIndex((anchor, i) => i > 0 && step <= anchor);
    const share = (step - ANCHORS[next - 1]) / (ANCHORS[next] - ANCHORS[next - 1]);
    const mixed = (low, high) => low + share * (high - low);
    for (let channel = 0; channel < 3; channel++) {
      table[4 * step + channel] = mixed(WASH[next - 1][channel], WASH[next][channel]);
    }
    table[4 * step + 3] = 255 * mixed(OPACITY[next - 1], OPACITY[next]);
  }
  return table;
}

const COLOURS = colours();

/** The map as a canvas, to be stretched over the whole film. */
export function wash({ data, rows, columns, strongest }) {
  const scale = LONGEST / Math.max(rows, columns);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(columns * scale));
  canvas.height = Math.max(1, Math.round(rows * scale));
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    const [upper, lower, below] = between(y, canvas.height, rows);
    for (let x = 0; x < canvas.width; x++, i += 4) {
      const [left, right, beside] = between(x, canvas.width, columns);
      const above = mix(data[upper * columns + left], data[upper * columns + right], beside);
      const under = mix(data[lower * columns + left], data[lower * columns + right], beside);
      paint(image.data, i, mix(above, under, below) / strongest);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draws the colour scale, from none to strongest, as it looks over a grey film. */
export function legend(canvas) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    paint(image.data, 4 * i, (i % canvas.width) / (canvas.width - 1));
    const opacity = image.data[4 * i + 3] / 255;
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * i + channel] = mix(LEGEND_GREY, image.data[4 * i + channel], opacity);
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function paint(pixels, at, strength) {
  const step = 4 * Math.min(255, Math.max(0, Math.round(255 * strength)));
  for (let channel = 0; channel < 4; channel++) pixels[at + channel] = COLOURS[step + channel];
}

const mix = (low, high, share) => low + share * (high - low);

function between(pixel, pixels, cells) {
  const place = Math.min(cells - 1, Math.max(0, ((pixel + 0.5) * cells) / pixels - 0.5));
  const low = Math.floor(place);
  return [low, Math.min(cells - 1, low + 1), place - low];
}
