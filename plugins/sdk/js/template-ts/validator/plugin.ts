// Says of each change whether it may pass.

import { definePlugin, integerFrom, required, rules, STRING } from "tidegate-plugin";

const item = rules(required("name", STRING), required("quantity", integerFrom(0)));

export default definePlugin({
  name: "{{name}}",
  version: "0.1.0",
  description: "What {{name}} is for",

  validate(change) {
    return item.check(change.document);
  },
});
