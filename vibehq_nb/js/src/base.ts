/** Where the server is, judged from the page and never from saved state alone. */

export type Place =
  | { kind: "here"; base: URL }
  | { kind: "elsewhere"; host: string; link: string }
  | { kind: "none" };

/** What is read of the page; `document` and `location` fit. */
export interface Page {
  location: { origin: string };
  document: Pick<Document, "getElementById" | "querySelector">;
}

/**
 * Return where the server is.
 *
 * *given* comes from a widget's trait, which may be saved state written by anybody:
 * it is used only where it names this very origin, else shown as a link.
 */
export function findPlace(given: string, page: Page): Place {
  if (given) return judge(given, page.location.origin);
  const path = jupyterPath(page.document) ?? metaPath(page.document);
  return path === null ? { kind: "none" } : judge(path, page.location.origin);
}

function judge(address: string, origin: string): Place {
  let url: URL;
  try {
    url = new URL(address, origin);
  } catch {
    return { kind: "none" };
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return { kind: "none" };
  if (url.username || url.password) return { kind: "none" };
  url.search = "";
  url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  if (url.origin === origin) return { kind: "here", base: url };
  return { kind: "elsewhere", host: url.host, link: url.href };
}

function jupyterPath(document: Page["document"]): string | null {
  const config = document.getElementById("jupyter-config-data")?.textContent;
  if (!config) return null;
  try {
    const { baseUrl } = JSON.parse(config) as { baseUrl?: unknown };
    if (typeof baseUrl !== "string") return null;
    return `${baseUrl.endsWith("/") ? baseUrl : `${baseUrl}/`}vibehq/`;
  } catch {
    return null;
  }
}

function metaPath(document: Page["document"]): string | null {
  const meta = document.querySelector('meta[name="vibehq-base"]');
  return meta ? (meta.getAttribute("content") ?? "") || "/" : null;
}

/** Tell whether *name* can stand in a URL as a room, as the server judges it. */
export function isRoomName(name: string): boolean {
  if (!name || name.length > 256 || /^\.{1,2}$/.test(name)) return false;
  return /^[\x21-\x7e]+$/.test(name) && !/[/?#"<>\\^`{}]|%(?![0-9a-f]{2})/i.test(name);
}
