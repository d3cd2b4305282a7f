//go:build !wasip1

package tidegate

import (
	"fmt"
	"os"
)

// In tests there is no host.

func hostLog(level int, message string) {
	fmt.Fprintln(os.Stderr, [...]string{"trace", "debug", "info", "warn", "error"}[level]+":", message)
}

func hostCount(name string, add uint64) { fmt.Fprintf(os.Stderr, "count %s +%d\n", name, add) }

func hostGauge(name string, value float64) { fmt.Fprintf(os.Stderr, "gauge %s = %v\n", name, value) }
