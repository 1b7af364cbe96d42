/** Making elements. Text goes in as text nodes only; there is no way in for markup. */

type Child = Node | string | null | false;

interface Props {
  /** The stable hook for tests: `data-vhq`. */
  hook?: string;
  class?: string;
  title?: string;
  /** A click handler. */
  on?: (event: MouseEvent) => void;
  [attribute: string]: string | boolean | undefined | ((event: MouseEvent) => void);
}

/** Return a new element; attributes that are false or absent are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function")
      element.addEventListener("click", value as EventListener);
    else if (name === "hook") element.dataset.vhq = String(value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/** Return a button that submits nothing. */
export function button(hook: string, label: string, on: () => void, props: Props = {}) {
  return h("button", { type: "button", hook, on: () => on(), ...props }, label);
}

/** Set an element's text only where it differs, so that a selection survives. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
