/** The bundle a widget imports. */

import { render } from "./widget.ts";

export { Api } from "./api.ts";
export { ApprovalsView } from "./approvals-view.ts";
export { findPlace } from "./base.ts";
export { Dashboard } from "./dashboard.ts";
export { FindingsView } from "./findings-view.ts";
export { RecordingView } from "./recording-view.ts";
export { TerminalView } from "./terminal-view.ts";
export { render };
export default { render };
