/** Light or dark, as the page around a view is, and the colours of a terminal. */

import type { ITheme } from "@xterm/xterm";

const scheme = () => globalThis.matchMedia?.("(prefers-color-scheme: dark)");

/** Tell whether the page is dark: JupyterLab's theme, else the system's. */
export function isDark(): boolean {
  const lab = document.body?.dataset.jpThemeLight;
  if (lab) return lab === "false";
  return scheme()?.matches ?? false;
}

/** Call *changed* whenever the page turns light or dark; returns the way to stop. */
export function onTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  const media = scheme();
  media?.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    media?.removeEventListener("change", changed);
  };
}

/** Mark *root* with the theme now and whenever it changes; returns the way to stop. */
export function followTheme(root: HTMLElement, changed = () => {}): () => void {
  const mark = () => {
    root.dataset.theme = isDark() ? "dark" : "light";
    changed();
  };
  mark();
  return onTheme(mark);
}

/** Return JupyterLab's code font, or a plain monospace one. */
export function codeFont(): { family: string; size: number } {
  const style = getComputedStyle(document.body);
  const family = style.getPropertyValue("--jp-code-font-family").trim();
  const size = Number.parseFloat(style.getPropertyValue("--jp-code-font-size"));
  return {
    family: family || 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace',
    size: Number.isFinite(size) && size >= 8 ? size : 13,
  };
}

const DARK: ITheme = {
  background: "#14171c",
  foreground: "#d7dce3",
  cursor: "#e8b44c",
  cursorAccent: "#14171c",
  selectionBackground: "#3b4b63",
  black: "#22262d",
  red: "#f07178",
  green: "#8cc570",
  yellow: "#e8b44c",
  blue: "#6fa8f5",
  magenta: "#c792ea",
  cyan: "#5cc8c8",
  white: "#d7dce3",
  brightBlack: "#68707c",
  brightRed: "#ff8b92",
  brightGreen: "#a8dd8d",
  brightYellow: "#ffd479",
  brightBlue: "#94c1ff",
  brightMagenta: "#deb3ff",
  brightCyan: "#86e3e3",
  brightWhite: "#ffffff",
};

const LIGHT: ITheme = {
  background: "#fcfcfb",
  foreground: "#24292f",
  cursor: "#9a6700",
  cursorAccent: "#fcfcfb",
  selectionBackground: "#c8dcf7",
  black: "#24292f",
  red: "#b3261e",
  green: "#1a7f37",
  yellow: "#8a5d00",
  blue: "#0b57c2",
  magenta: "#7a3ec0",
  cyan: "#0f7480",
  white: "#6e7781",
  brightBlack: "#57606a",
  brightRed: "#a40e26",
  brightGreen: "#2da44e",
  brightYellow: "#633c01",
  brightBlue: "#218bff",
  brightMagenta: "#8250df",
  brightCyan: "#3192aa",
  brightWhite: "#8c959f",
};

export function terminalTheme(): ITheme {
  return isDark() ? DARK : LIGHT;
}
