// Files from a drop or a file picker, including folders.

const NOT_FILMS = /^(\.|DICOMDIR$|Thumbs\.db$|desktop\.ini$)/i;

/** All files of a drop, including those in folders: {films, passedOver}. */
export async function dropped(transfer) {
  // The entries vanish once the event was handled, so all are taken before the first await.
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const files = [];
  for (const entry of entries.filter(Boolean)) await collect(entry, files);
  return sifted(files);
}

/** Leaves out files whose names are never those of films. */
export function sifted(files) {
  const films = [...files].filter((file) => !NOT_FILMS.test(file.name));
  return { films, passedOver: files.length - films.length };
}

async function collect(entry, files) {
  if (entry instanceof File) files.push(entry);
  else if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  else {
    const reader = entry.createReader();
    // A reader returns at most a hundred entries at a time, and none at the end.
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const inside of some) await collect(inside, files);
    }
  }
}
