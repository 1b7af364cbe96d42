/**
 * Places of a page that show the same terminal.
 *
 * A page holds one connection to a terminal, and its screen is in one place: the
 * latest that asked for it. The others say so, and take it back with a click.
 */

import { button, h } from "./dom.ts";
import { visible } from "./escape.ts";
import { adoptStyles } from "./styles.ts";
import { type TerminalOptions, TerminalView } from "./terminal-view.ts";
import { followTheme } from "./theme.ts";

export interface Slot {
  leave(): void;
}

interface Place {
  el: HTMLElement;
  onState: (state: string) => void;
  placeholder: HTMLElement;
  unfollow: () => void;
}

class Shown {
  private readonly places: Place[] = [];
  private readonly view: TerminalView;

  constructor(
    private readonly options: TerminalOptions,
    private readonly onEmpty: () => void,
  ) {
    this.view = new TerminalView(options, (state) =>
      this.places.at(-1)?.onState(state),
    );
  }

  enter(el: HTMLElement, onState: (state: string) => void): Slot {
    const name = visible(this.options.title || this.options.terminal);
    const placeholder = h(
      "div",
      { class: "vhq vhq-placeholder", hook: "shown-elsewhere" },
      h("span", {}, `${name} is shown in another place of this page.`),
      button("show-here", "Show here", () => this.moveTo(place)),
    );
    const unfollow = followTheme(placeholder);
    const place: Place = { el, onState, placeholder, unfollow };
    this.moveTo(place);
    return { leave: () => this.leave(place) };
  }

  private moveTo(place: Place): void {
    const before = this.places.at(-1);
    if (before && before !== place) {
      before.el.append(before.placeholder);
      before.onState("elsewhere");
      adoptStyles(before.placeholder);
    }
    this.forget(place);
    this.places.push(place);
    this.put(place);
  }

  private put(place: Place): void {
    place.placeholder.remove();
    place.el.append(this.view.root);
    place.onState(this.view.root.dataset.state ?? "connecting");
    this.view.placed();
    // A widget's element may join the page only after its render returned.
    requestAnimationFrame(() => this.view.placed());
  }

  private leave(place: Place): void {
    const isShownHere = this.places.at(-1) === place;
    this.forget(place);
    place.placeholder.remove();
    place.unfollow();
    const next = this.places.at(-1);
    if (!next) {
      this.view.dispose();
      this.onEmpty();
    } else if (isShownHere) this.put(next);
  }

  private forget(place: Place): void {
    const at = this.places.indexOf(place);
    if (at >= 0) this.places.splice(at, 1);
  }
}

const shown = new Map<string, Shown>();

/** Show a terminal in *el*, taking it from where this page showed it before. */
export function showTerminal(
  options: TerminalOptions,
  el: HTMLElement,
  onState: (state: string) => void,
): Slot {
  const key = `${options.api.base.href}#${options.terminal}`;
  let entry = shown.get(key);
  if (!entry) {
    entry = new Shown(options, () => shown.delete(key));
    shown.set(key, entry);
  }
  return entry.enter(el, onState);
}
