/** What a paste may put into a terminal. Pure. */

export const CHUNK_BYTES = 32 * 1024;
/** The worker's queue holds 256 KiB; a paste leaves room in it. */
export const PASTE_BYTES = 192 * 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: this is about them
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
const START = "\x1b[200~";
const END = "\x1b[201~";

/**
 * Return the frames of a paste, or null where it is too large.
 *
 * Line ends become carriage returns. Control characters are left out, so nothing in
 * the text can end the bracketed paste early or run a command by itself.
 */
export function pasteFrames(
  text: string,
  isBracketed: boolean,
): Uint8Array<ArrayBuffer>[] | null {
  const clean = text.replace(/\r?\n/g, "\r").replace(CONTROLS, "");
  if (!clean) return [];
  const bytes = new TextEncoder().encode(isBracketed ? START + clean + END : clean);
  if (bytes.length > PASTE_BYTES) return null;
  const frames = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    frames.push(bytes.slice(at, at + CHUNK_BYTES));
  return frames;
}
