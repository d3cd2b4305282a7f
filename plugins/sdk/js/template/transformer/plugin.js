// Makes zero or more changes of each.

import { definePlugin, unchanged } from "tidegate-plugin";

export default definePlugin({
  name: "{{name}}",
  version: "0.1.0",
  description: "What {{name}} is for",

  transform(change) {
    if (change.document === undefined) {
      return unchanged();
    }
    const { internal_note, ...document } = change.document;
    if (document.draft === true) {
      // Drafts end here, and are counted as filtered.
      return [];
    }
    return { document, headers: { cleaned: "yes" } };
  },
});
