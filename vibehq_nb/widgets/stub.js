/** Loads the views: from the Jupyter server, else once per page from the kernel. */

function fromServer(hash) {
  const config = document.getElementById("jupyter-config-data")?.textContent;
  if (!config) return Promise.reject(new Error("no Jupyter server behind this page"));
  const base = JSON.parse(config).baseUrl.replace(/\/*$/, "/");
  const path = `${base}vibehq/static/vibehq.js?v=${encodeURIComponent(hash)}`;
  return import(new URL(path, location.origin).href);
}

function fromKernel(model) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no answer")), 15_000);
    model.on("msg:custom", function received(message, buffers) {
      if (message?.type !== "bundle" || !buffers?.[0]) return;
      clearTimeout(timer);
      model.off("msg:custom", received);
      const url = URL.createObjectURL(new Blob(buffers.slice(0, 1), { type: "text/javascript" }));
      resolve(import(url).finally(() => URL.revokeObjectURL(url)));
    });
    model.send({ type: "bundle" });
  });
}

async function render(context) {
  const hash = String(context.model.get("bundle_hash") ?? "");
  globalThis.__vibehq_bundle ??= {};
  const kept = globalThis.__vibehq_bundle;
  kept[hash] ??= fromServer(hash).catch(() => fromKernel(context.model));
  const bundle = await kept[hash].catch(() => null);
  if (bundle) return bundle.default.render(context);
  delete kept[hash];
  context.el.textContent =
    "VibeHQ could not load its views: neither the Jupyter server nor the kernel has them.";
}

export default { render };
