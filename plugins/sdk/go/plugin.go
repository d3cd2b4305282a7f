// Package tidegate writes plugins for tidegate in Go: implement a role, register it, build a component.
//
//	package main
//
//	import "tidegate"
//
//	type inStock struct{ Minimum int64 }
//
//	func (p inStock) Validate(change *tidegate.Change) tidegate.Verdict {
//		quantity, ok := change.Document.Get("quantity").Int64()
//		if !ok || quantity < p.Minimum {
//			return tidegate.Reject("quantity", "must be a whole number, at least %d", p.Minimum)
//		}
//		return tidegate.Accept
//	}
//
//	func init() {
//		tidegate.Register(tidegate.Manifest{Name: "in-stock", Version: "1.0.0"},
//			func(config inStock) (tidegate.Validator, error) { return config, nil })
//	}
//
//	func main() {}
//
// Documents are JSON as MongoDB's Relaxed Extended JSON v2 writes BSON: a date is {"$date": "..."}, a 64-bit integer beyond
// 2^53 is {"$numberLong": "..."}. Values that a plugin hands back as they were keep their BSON type.
//
// A plugin lives as long as its instance, and each lane of a pipeline has its own: its fields are a cache, never a place for
// what must not be lost. There are no files and no network, time.Now stands still at 1970, and the random numbers of the standard
// library are the same in every instance: where the operator grants them, there are Now, RandomBytes, Environment and HTTPRequest.
package tidegate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Manifest is what a plugin says about itself.
type Manifest struct {
	Name string
	// Version is the plugin's own, as its author counts.
	Version     string
	Description string
	// ConfigSchema is a JSON Schema (draft 2020-12) of the configuration; empty where the plugin takes none.
	ConfigSchema string
}

// NoConfig is the configuration of a plugin that takes none.
type NoConfig struct{}

var (
	manifest  Manifest
	configure func(config []byte) (any, error)
	instance  any
)

// Register says what the plugin is. Call it in an init function: a component's main function is never run.
//
// `make` is called once with the stage's configuration, before the first batch. What it returns has one of the roles
// Validator, Migrator, Router and Transformer, or several. An error is shown to the operator, and the plugin is not taken
// into use. Fields of the configuration that C does not have are refused.
func Register[C, P any](about Manifest, make func(config C) (P, error)) {
	manifest = about
	configure = func(config []byte) (any, error) {
		var into C
		if err := decodeConfig(config, &into); err != nil {
			return nil, err
		}
		return make(into)
	}
}

func decodeConfig(config []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	err := decoder.Decode(into)
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s must be %s, is %s", wrong.Field, wrong.Type, wrong.Value)
	}
	message := strings.TrimPrefix(err.Error(), "json: ")
	if name, unknown := strings.CutPrefix(message, "unknown field "); unknown {
		return fmt.Errorf("unknown field `%s`, %s", strings.Trim(name, `"`), expected(reflect.TypeOf(into).Elem()))
	}
	return errors.New(message)
}

// expected names the fields that there are: the operator may have slipped.
func expected(config reflect.Type) string {
	var names []string
	for i := 0; config.Kind() == reflect.Struct && i < config.NumField(); i++ {
		field := config.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			name = field.Name
		}
		if field.IsExported() && name != "-" {
			names = append(names, "`"+name+"`")
		}
	}
	switch len(names) {
	case 0:
		return "there are no fields"
	case 1, 2:
		return "expected " + strings.Join(names, " or ")
	default:
		return "expected one of " + strings.Join(names, ", ")
	}
}

// Configure makes the registered plugin with a configuration, as the host does. It is for tests.
func Configure(config string) (any, error) {
	if configure == nil {
		return nil, errors.New("no plugin is registered: call tidegate.Register in an init function")
	}
	return configure([]byte(config))
}

// as gives the plugin in one of its roles.
func as[Role any](name string) Role {
	role, ok := instance.(Role)
	if !ok {
		panic(fmt.Sprintf("plugin.yaml names the role %s, which %T does not have", name, instance))
	}
	return role
}
