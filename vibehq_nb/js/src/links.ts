/** Which links in a terminal may be followed, and what is asked first. Pure. */

/** Return the address of a web link, or null for every other scheme. */
export function webAddress(address: string): string | null {
  try {
    const url = new URL(address);
    if (url.protocol !== "http:" && url.protocol !== "https:") return null;
    return url.username || url.password ? null : url.href;
  } catch {
    return null;
  }
}

/** Tell whether the words shown for a link name another host than it leads to. */
export function isMisleading(shown: string, address: string): boolean {
  const named = /(?:https?:\/\/)?((?:[\w-]+\.)+[a-z]{2,})/i.exec(shown.trim());
  if (!named?.[1]) return false;
  try {
    return new URL(address).hostname.toLowerCase() !== named[1].toLowerCase();
  } catch {
    return true;
  }
}
