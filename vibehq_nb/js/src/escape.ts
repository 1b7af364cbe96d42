/** Showing untrusted text so that it looks like what it is. */

/** Control, format, bidi, zero-width, private and unassigned characters, odd spaces. */
const HIDDEN = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** Return *text* with every character that does not show itself as `\u{…}`. */
export function visible(text: string, keep = ""): string {
  return text.replace(HIDDEN, (char) =>
    keep.includes(char) ? char : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** Return *value* as indented JSON with sorted keys, everything in it visible. */
export function prettyJson(value: unknown): string {
  return visible(JSON.stringify(sorted(value), null, 2) ?? "null", "\n");
}

function sorted(value: unknown): unknown {
  // Beyond 2^53 this page does not know the number it was sent.
  if (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER)
    return `about ${value}: too large to be shown exactly`;
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  // Without a prototype, a key named __proto__ is shown like any other.
  const out: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(value).sort())
    out[key] = sorted((value as Record<string, unknown>)[key]);
  return out;
}
