// Says where each change goes.

import { definePlugin } from "tidegate-plugin";

export default definePlugin({
  name: "{{name}}",
  version: "0.1.0",
  description: "What {{name}} is for",
  configSchema: {
    type: "object",
    additionalProperties: false,
    properties: {
      field: { description: "Field that names the target.", type: "string", default: "region" },
    },
  },

  // What is returned here is the second argument of `route`.
  configure(config) {
    return { field: config.field ?? "region" };
  },

  route(change, { field }) {
    // A delete has a document only where the source is asked for the one before.
    const document = change.document ?? change.before;
    const region = document?.[field];
    return { target: typeof region === "string" ? `items:${region}` : "items:elsewhere" };
  },
});
