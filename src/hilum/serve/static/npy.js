// Arrays in NumPy's format (numpy.lib.format, version 1.0), of the three types that the service sends.

const KINDS = { "<u2": Uint16Array, "|u1": Uint8Array, "<f4": Float32Array };
const MAGIC = "\x93NUMPY";

/** Reads one two-dimensional array: {data, rows, columns}. Throws Error for anything else. */
export function parseNpy(buffer) {
  const bytes = new Uint8Array(buffer);
  const text = (start, end) => String.fromCharCode(...bytes.subarray(start, end));
  if (text(0, 6) !== MAGIC || bytes[6] !== 1) throw new Error("The answer is not an array in NumPy's format 1.");
  const start = 10 + bytes[8] + 256 * bytes[9];
  const header = text(10, start);
  const kind = KINDS[/'descr':\s*'([^']+)'/.exec(header)?.[1]];
  const shape = /'shape':\s*\((\d+),\s*(\d+)\)/.exec(header)?.slice(1).map(Number);
  if (!kind || !shape || !/'fortran_order':\s*False/.test(header)) throw new Error("The array has an unknown type.");
  const [rows, columns] = shape;
  if (buffer.byteLength - start !== rows * columns * kind.BYTES_PER_ELEMENT) throw new Error("The array is incomplete.");
  // NumPy pads its header to 64 bytes; without padding, the values are copied to an aligned position.
  const aligned = start % kind.BYTES_PER_ELEMENT === 0;
  return { data: aligned ? new kind(buffer, start) : new kind(buffer.slice(start)), rows, columns };
}
