/** The standalone page: the body says what it shows. */

import { openPage } from "./dashboard.ts";

openPage(document.body);
