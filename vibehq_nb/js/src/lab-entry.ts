/** The container JupyterLab loads: one module, nothing shared. */

import { plugin } from "./lab-still.ts";

const extensions = globalThis as typeof globalThis & {
  _JUPYTERLAB?: Record<string, unknown>;
};
extensions._JUPYTERLAB ??= {};
extensions._JUPYTERLAB["vibehq-nb"] = {
  init: () => undefined,
  get: async () => () => ({ default: plugin, __esModule: true }),
};
