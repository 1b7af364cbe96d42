/** The style sheets, put once into each document or shadow root that shows a view. */

import xterm from "@xterm/xterm/css/xterm.css";
import views from "./views.css";

const MARK = "data-vibehq-styles";

export function adoptStyles(element: Element, extra = ""): void {
  const root = element.getRootNode();
  const place = root instanceof ShadowRoot ? root : document.head;
  if (place.querySelector(`style[${MARK}]`)) return;
  const style = document.createElement("style");
  style.setAttribute(MARK, "");
  style.textContent = xterm + views + extra;
  place.append(style);
}
