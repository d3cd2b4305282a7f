package tidegate

import "fmt"

const (
	levelTrace = iota
	levelDebug
	levelInfo
	levelWarn
	levelError
)

// Trace writes a line in the host's log, with the plugin's name and generation, as do the other four. Lines beyond the
// plugin's limit per second are dropped and counted. In tests they go to the standard error.
func Trace(format string, arguments ...any) { hostLog(levelTrace, fmt.Sprintf(format, arguments...)) }

// Debug writes what helps to find an error.
func Debug(format string, arguments ...any) { hostLog(levelDebug, fmt.Sprintf(format, arguments...)) }

// Info writes what an operator likes to know.
func Info(format string, arguments ...any) { hostLog(levelInfo, fmt.Sprintf(format, arguments...)) }

// Warn writes what an operator should look at.
func Warn(format string, arguments ...any) { hostLog(levelWarn, fmt.Sprintf(format, arguments...)) }

// Error writes what went wrong.
func Error(format string, arguments ...any) { hostLog(levelError, fmt.Sprintf(format, arguments...)) }

// Count adds to tidegate_plugin_counter_total{plugin, name}.
func Count(name string, add uint64) { hostCount(name, add) }

// Gauge sets tidegate_plugin_gauge{plugin, name}.
func Gauge(name string, value float64) { hostGauge(name, value) }
