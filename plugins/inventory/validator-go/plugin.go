// Checks inventory and transaction documents by the rules of the schema version they have.
package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidegate"
)

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "kinds": {
      "description": "Kind of the documents in each collection.",
      "type": "object",
      "additionalProperties": { "enum": ["inventory", "transaction"] },
      "default": { "inventory": "inventory", "transactions": "transaction" }
    }
  }
}`

// kind is what a document describes.
type kind string

const (
	inventory   kind = "inventory"
	transaction kind = "transaction"
)

func (k *kind) UnmarshalText(text []byte) error {
	if *k = kind(text); *k != inventory && *k != transaction {
		return fmt.Errorf("unknown variant `%s`, expected `inventory` or `transaction`", text)
	}
	return nil
}

type config struct {
	// Kinds says which collection holds which kind.
	Kinds map[string]kind `json:"kinds"`
}

type validator struct {
	kinds map[string]kind
	known string
}

func configure(config config) (tidegate.Validator, error) {
	if config.Kinds == nil {
		config.Kinds = map[string]kind{"inventory": inventory, "transactions": transaction}
	}
	return &validator{config.Kinds, strings.Join(slices.Sorted(maps.Keys(config.Kinds)), ", ")}, nil
}

func (p *validator) Validate(change *tidegate.Change) tidegate.Verdict {
	if change.Document.IsAbsent() {
		return tidegate.Accept
	}
	kind, known := p.kinds[change.Collection]
	if !known {
		return tidegate.Reject("", "collection %s is of no known kind, known are %s", change.Collection, p.known)
	}
	version := "v1"
	if value := change.Document.Get("_schema_version"); value.Exists() {
		text, isText := value.Text()
		if version = text; rules[kind][version] == nil {
			found := value.TypeName()
			if isText {
				found = tidegate.Quoted(text)
			}
			return tidegate.Reject("_schema_version", "must be one of v1, v2, v3, is %s", found)
		}
	}
	return rules[kind][version].Check(change.Document)
}

var (
	currency      = tidegate.Required("currency", tidegate.IsString)
	inventoryV1   = inventoryRules(tidegate.Required("last_updated", tidegate.IsDateOrISO8601))
	transactionV1 = transactionRules(tidegate.Required("timestamp", tidegate.IsISO8601))

	rules = map[kind]map[string]tidegate.Rules{
		inventory: {
			"v1": inventoryV1,
			"v2": append(slices.Clip(inventoryV1), currency),
			"v3": append(inventoryRules(tidegate.Required("updated_at", tidegate.IsDate)), currency),
		},
		transaction: {
			"v1": transactionV1,
			"v2": append(slices.Clip(transactionV1), currency),
			"v3": append(transactionRules(tidegate.Required("occurred_at", tidegate.IsDate)), currency),
		},
	}
)

func inventoryRules(date tidegate.Field) tidegate.Rules {
	return tidegate.Rules{
		tidegate.Required("product_id", tidegate.IsString),
		tidegate.Required("warehouse_id", tidegate.IsString),
		tidegate.Required("quantity", tidegate.IsIntegerFrom(0)),
		date,
		tidegate.Optional("category", tidegate.IsString),
		tidegate.Optional("brand", tidegate.IsString),
		tidegate.Optional("sku", tidegate.IsString),
		tidegate.Optional("threshold_min", tidegate.IsInteger),
		tidegate.Optional("threshold_max", tidegate.IsInteger),
	}
}

func transactionRules(date tidegate.Field) tidegate.Rules {
	return tidegate.Rules{
		tidegate.Required("transaction_id", tidegate.IsString),
		tidegate.Required("product_id", tidegate.IsString),
		tidegate.Required("warehouse_id", tidegate.IsString),
		tidegate.Required("quantity", tidegate.IsInteger),
		tidegate.Required("transaction_type", tidegate.IsOneOf("sale", "restock", "return", "adjustment")),
		date,
		tidegate.Optional("order_id", tidegate.IsString),
		tidegate.Optional("customer_id", tidegate.IsString),
		tidegate.Optional("notes", tidegate.IsString),
	}
}

func init() {
	tidegate.Register(tidegate.Manifest{
		Name:         "inventory-validator",
		Version:      "0.1.0",
		Description:  "Checks inventory and transaction documents by the rules of their schema version",
		ConfigSchema: schema,
	}, configure)
}

func main() {}
