// Brings documents to another schema version.

import { asNumber, definePlugin, failed, migrated, unchanged } from "tidegate-plugin";

export default definePlugin({
  name: "{{name}}",
  version: "0.1.0",
  description: "What {{name}} is for",

  migrate(change) {
    const { price, ...rest } = change.document;
    if (rest._schema_version === "v2") {
      return unchanged("v2");
    }
    // Version 1 had the price in units, version 2 has it in hundredths.
    const units = asNumber(price);
    if (units === undefined) {
      return failed("price is missing or no number");
    }
    return migrated({ ...rest, price_cents: Math.round(units * 100), _schema_version: "v2" }, "v1", "v2");
  },
});
