package tidegate

import (
	"encoding/binary"
	"time"
)

// What follows here and in http.go the operator must grant, and plugin.yaml names it under `uses`. A component imports of it what the
// plugin calls.

// Now is the time, UTC, by the host's clock, to the millisecond. It may step back when that is set. The operator must grant `clock`, and
// plugin.yaml says `uses: [clock]`. In tests it stands still: see Given.
//
// A plugin that reads the clock is not deterministic: after a crash the same change may come out of it otherwise. Often the time
// of the change, Change.WallTime, is what is wanted.
func Now() time.Time { return time.UnixMilli(hostNow()).UTC() }

// RandomBytes gives so many bytes from the host's secure source, 1 MiB at most; more is an error of the plugin, which ends the call. The
// operator must grant `random`, and plugin.yaml says `uses: [random]`. In tests they are the same each time.
func RandomBytes(count int) []byte { return hostRandom(uint32(count)) }

// RandomNumber gives a number, any one as likely as any other, as RandomBytes does.
func RandomNumber() uint64 { return binary.BigEndian.Uint64(RandomBytes(8)) }

// Environment gives a variable of the host's environment; false for one that is not granted. The operator must grant `env` with the
// names, and plugin.yaml says `uses: [env]`. In tests there are those of Given.
func Environment(name string) (string, bool) { return hostEnvironment(name) }
