/**
 * JupyterLab's side of a saved view: without its kernel it shows its HTML.
 *
 * In a notebook its reader trusts, JupyterLab prefers a widget to the HTML beside it,
 * and says "model not found" once the kernel that made it is gone.
 */

export const WIDGET_TYPE = "application/vnd.jupyter.widget-view+json";
const HTML_TYPE = "text/html";
/** What the widget manager writes where it has no widget to show. */
const FAILED = /^Error displaying widget/;
/** Only views of this package are touched. */
const OURS = /class="vhq-/;

/** What is used of JupyterLab's output models. */
export interface MimeModel {
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Renderer {
  readonly node: HTMLElement;
  renderModel(model: MimeModel): Promise<void>;
}

export interface Registry {
  createRenderer(type: string): Renderer;
  createModel(options: { data: Record<string, unknown>; trusted: boolean }): MimeModel;
}

interface Lab {
  docRegistry: {
    addWidgetExtension(
      factory: string,
      extension: { createNew(panel: { content: { rendermime: Registry } }): undefined },
    ): unknown;
  };
}

/** Make the renderers of *registry* fall back to a view's HTML. */
export function keepStills(registry: Registry): void {
  const create = registry.createRenderer.bind(registry);
  registry.createRenderer = (type) => {
    const renderer = create(type);
    if (type !== WIDGET_TYPE) return renderer;
    const render = renderer.renderModel.bind(renderer);
    renderer.renderModel = async (model) => {
      await render(model);
      const markup = still(model);
      if (!markup || !FAILED.test(renderer.node.textContent ?? "")) return;
      const html = create(HTML_TYPE);
      // A picture needs no scripts: it goes through JupyterLab's sanitizer.
      await html.renderModel(
        registry.createModel({ data: { [HTML_TYPE]: markup }, trusted: false }),
      );
      renderer.node.replaceChildren(html.node);
    };
    return renderer;
  };
}

function still(model: MimeModel): string {
  const found = model.data[HTML_TYPE];
  const markup = Array.isArray(found) ? found.join("") : String(found ?? "");
  return OURS.test(markup) ? markup : "";
}

/** The plugin that JupyterLab and Notebook 7 start. */
export const plugin = {
  id: "vibehq-nb:stills",
  description: "Shows the last screen of a saved view when its kernel is gone.",
  autoStart: true,
  activate(app: Lab): void {
    app.docRegistry.addWidgetExtension("Notebook", {
      createNew(panel) {
        keepStills(panel.content.rendermime);
        return undefined;
      },
    });
  },
};
