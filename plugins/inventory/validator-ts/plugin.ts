// Checks inventory and transaction documents by the rules of the schema version they have.

import {
  DATE,
  DATE_OR_ISO8601,
  definePlugin,
  INTEGER,
  ISO8601,
  integerFrom,
  oneOf,
  optional,
  quoted,
  type Rules,
  reject,
  required,
  rules,
  STRING,
  typeName,
} from "tidegate-plugin";

type Kind = "inventory" | "transaction";

interface Config {
  kinds?: Record<string, Kind>;
}

const KINDS: Record<string, Kind> = { inventory: "inventory", transactions: "transaction" };

const inventoryV1 = rules(
  required("product_id", STRING),
  required("warehouse_id", STRING),
  required("quantity", integerFrom(0)),
  required("last_updated", DATE_OR_ISO8601),
  optional("category", STRING),
  optional("brand", STRING),
  optional("sku", STRING),
  optional("threshold_min", INTEGER),
  optional("threshold_max", INTEGER),
);
const inventoryV2 = inventoryV1.and(required("currency", STRING));
const inventoryV3 = inventoryV2.with("last_updated", required("updated_at", DATE));

const transactionV1 = rules(
  required("transaction_id", STRING),
  required("product_id", STRING),
  required("warehouse_id", STRING),
  required("quantity", INTEGER),
  required("transaction_type", oneOf("sale", "restock", "return", "adjustment")),
  required("timestamp", ISO8601),
  optional("order_id", STRING),
  optional("customer_id", STRING),
  optional("notes", STRING),
);
const transactionV2 = transactionV1.and(required("currency", STRING));
const transactionV3 = transactionV2.with("timestamp", required("occurred_at", DATE));

// Maps, for the names come from documents and configuration: an object would find `constructor` too.
const RULES: Record<Kind, Map<unknown, Rules>> = {
  inventory: new Map([["v1", inventoryV1], ["v2", inventoryV2], ["v3", inventoryV3]]),
  transaction: new Map([["v1", transactionV1], ["v2", transactionV2], ["v3", transactionV3]]),
};

export default definePlugin({
  name: "inventory-validator",
  version: "0.1.0",
  description: "Checks inventory and transaction documents by the rules of their schema version",
  configSchema: {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    additionalProperties: false,
    properties: {
      kinds: {
        description: "Kind of the documents in each collection.",
        type: "object",
        additionalProperties: { enum: ["inventory", "transaction"] },
        default: KINDS,
      },
    },
  },

  configure(config: Config) {
    for (const name of Object.keys(config)) {
      if (name !== "kinds") {
        throw new Error(`unknown field \`${name}\`, expected \`kinds\``);
      }
    }
    const kinds = new Map(Object.entries(config.kinds ?? KINDS));
    for (const kind of kinds.values()) {
      if (!Object.hasOwn(RULES, kind)) {
        throw new Error(`unknown variant \`${kind}\`, expected \`inventory\` or \`transaction\``);
      }
    }
    return kinds;
  },

  validate(change, kinds) {
    const { collection, document } = change;
    const kind = kinds.get(collection);
    if (kind === undefined) {
      const known = [...kinds.keys()].sort().join(", ");
      return reject("", `collection ${collection} is of no known kind, known are ${known}`);
    }
    const version = document._schema_version === undefined ? "v1" : document._schema_version;
    const rules = RULES[kind].get(version);
    if (rules === undefined) {
      const found = typeof version === "string" ? quoted(version, true) : typeName(version);
      return reject("_schema_version", `must be one of v1, v2, v3, is ${found}`);
    }
    return rules.check(document);
  },
});
