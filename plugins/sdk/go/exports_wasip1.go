package tidegate

// The four roles. Each export takes the record `batch` as nine numbers and returns the address of its result.

func theBatch(arena, size, namespaces, namespaceCount, headers, headerCount, stride, changes, numberCount uint32) *batch {
	names := memory[uint32](namespaces, namespaceCount*4)
	both := make([][2]string, namespaceCount)
	for i := range both {
		both[i] = [2]string{textAt(names[4*i], names[4*i+1]), textAt(names[4*i+2], names[4*i+3])}
	}
	return &batch{memory[byte](arena, size), both, memory[uint32](headers, headerCount), int(stride), memory[uint32](changes, numberCount)}
}

//go:wasmexport tidegate:plugin/validator@0.1.0#validate
func exportedValidate(a, b, c, d, e, f, g, h, i uint32) uint32 {
	defer guard()
	batch := theBatch(a, b, c, d, e, f, g, h, i)
	plugin := as[Validator]("validator")
	verdicts := make([]uint32, 0, 3*batch.len())
	for index := range batch.len() {
		verdict := plugin.Validate(batch.change(index))
		if len(verdict) == 0 {
			verdicts = append(verdicts, 0, 0, 0)
			continue
		}
		violations := make([]uint32, 0, 4*len(verdict))
		for _, violation := range verdict {
			path, pathSize := text(violation.Path)
			message, messageSize := text(violation.Message)
			violations = append(violations, path, pathSize, message, messageSize)
		}
		verdicts = append(verdicts, 1, hold(violations), uint32(len(verdict)))
	}
	return result(hold(verdicts), uint32(batch.len()))
}

//go:wasmexport tidegate:plugin/migrator@0.1.0#migrate
func exportedMigrate(a, b, c, d, e, f, g, h, i uint32) uint32 {
	defer guard()
	batch := theBatch(a, b, c, d, e, f, g, h, i)
	plugin := as[Migrator]("migrator")
	arena := arenaFor(batch)
	outcomes := make([]uint32, 7*batch.len())
	for index := range batch.len() {
		outcome := outcomes[7*index:]
		migration, err := plugin.Migrate(batch.change(index))
		switch {
		case err != nil:
			outcome[0] = 2
			outcome[1], outcome[2] = text(err.Error())
		case migration.document == nil:
			outcome[1], outcome[2] = arena.text(migration.from)
		default:
			outcome[0] = 1
			outcome[1], outcome[2] = arena.push(migration.document)
			outcome[3], outcome[4] = arena.text(migration.from)
			outcome[5], outcome[6] = arena.text(migration.to)
		}
	}
	return result(hold(arena.bytes), uint32(len(arena.bytes)), hold(outcomes), uint32(batch.len()))
}

//go:wasmexport tidegate:plugin/router@0.1.0#route
func exportedRoute(a, b, c, d, e, f, g, h, i uint32) uint32 {
	defer guard()
	batch := theBatch(a, b, c, d, e, f, g, h, i)
	plugin := as[Router]("router")
	var arena arena
	var attributes []uint32
	destinations := make([]uint32, 0, 8*batch.len())
	decisions := make([]uint32, 3*batch.len())
	for index := range batch.len() {
		decision := decisions[3*index:]
		routing, err := plugin.Route(batch.change(index))
		if err != nil {
			decision[0] = 1
			decision[1], decision[2] = text(err.Error())
			continue
		}
		decision[1], decision[2] = uint32(len(destinations)/8), uint32(len(routing))
		for _, destination := range routing {
			words := make([]uint32, 8)
			words[0], words[1] = arena.text(destination.Sink)
			words[2], words[3] = arena.text(destination.Target)
			words[4], words[5] = arena.text(destination.OrderingKey)
			words[6], words[7] = arena.headers(destination.Attributes, &attributes)
			destinations = append(destinations, words...)
		}
	}
	return result(hold(arena.bytes), uint32(len(arena.bytes)), hold(attributes), uint32(len(attributes)/4),
		hold(destinations), uint32(len(destinations)/8), hold(decisions), uint32(batch.len()))
}

//go:wasmexport tidegate:plugin/transformer@0.1.0#transform
func exportedTransform(a, b, c, d, e, f, g, h, i uint32) uint32 {
	defer guard()
	batch := theBatch(a, b, c, d, e, f, g, h, i)
	plugin := as[Transformer]("transformer")
	arena := arenaFor(batch)
	var namespaces, headers []uint32
	places := map[[2]string]uint32{}
	outputs := make([]uint32, 0, 8*batch.len())
	results := make([]uint32, 3*batch.len())
	for index := range batch.len() {
		into := results[3*index:]
		transformation, err := plugin.Transform(batch.change(index))
		if err != nil {
			into[0] = 2
			into[1], into[2] = text(err.Error())
			continue
		}
		if !transformation.changed {
			continue
		}
		into[0], into[1], into[2] = 1, uint32(len(outputs)/8), uint32(len(transformation.outputs))
		for _, output := range transformation.outputs {
			name := [2]string{output.Database, output.Collection}
			place, known := places[name]
			if !known {
				place = uint32(len(places))
				places[name] = place
				database, databaseSize := text(output.Database)
				collection, collectionSize := text(output.Collection)
				namespaces = append(namespaces, database, databaseSize, collection, collectionSize)
			}
			words := make([]uint32, 8)
			words[0], words[1] = uint32(output.Operation), place
			words[2], words[3] = arena.push(output.Key)
			words[4], words[5] = arena.push(output.Document)
			words[6], words[7] = arena.headers(output.Headers, &headers)
			outputs = append(outputs, words...)
		}
	}
	return result(hold(arena.bytes), uint32(len(arena.bytes)), hold(namespaces), uint32(len(namespaces)/4),
		hold(headers), uint32(len(headers)/4), hold(outputs), uint32(len(outputs)/8), hold(results), uint32(batch.len()))
}

//go:wasmexport cabi_post_tidegate:plugin/validator@0.1.0#validate
func validateDone(uint32) { done() }

//go:wasmexport cabi_post_tidegate:plugin/migrator@0.1.0#migrate
func migrateDone(uint32) { done() }

//go:wasmexport cabi_post_tidegate:plugin/router@0.1.0#route
func routeDone(uint32) { done() }

//go:wasmexport cabi_post_tidegate:plugin/transformer@0.1.0#transform
func transformDone(uint32) { done() }
