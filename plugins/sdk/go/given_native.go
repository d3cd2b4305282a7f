//go:build !wasip1

package tidegate

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Given is what a test gives a plugin in the place of what an operator grants. What it does not give is not there, and nothing outside is
// touched.
type Given struct {
	// Now is the time at which the clock stands; the zero time: 2024-01-01T00:00:00Z, as where a host grants no clock.
	Now time.Time
	// Environment holds the variables of the environment.
	Environment map[string]string
	// HTTP answers requests, with an *HTTPError where there is no response. Without it none is granted.
	HTTP func(request *HTTPRequest) (*HTTPResponse, error)
}

var (
	given  Given
	random = randomSource()
)

func randomSource() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{}) }

// Give makes this what plugins get until the test is done. Tests that run side by side share it.
//
//	tidegate.Give(t, tidegate.Given{Environment: map[string]string{"REGION": "eu"}})
func Give(test interface{ Cleanup(func()) }, world Given) {
	before := given
	given, random = world, randomSource()
	test.Cleanup(func() { given = before })
}

func hostNow() int64 {
	if given.Now.IsZero() {
		return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	}
	return given.Now.UnixMilli()
}

func hostRandom(count uint32) []byte {
	bytes := make([]byte, count)
	_, _ = random.Read(bytes)
	return bytes
}

func hostEnvironment(name string) (string, bool) {
	value, ok := given.Environment[name]
	return value, ok
}

func hostSend(request *HTTPRequest) (*HTTPResponse, error) {
	if given.HTTP == nil {
		return nil, &HTTPError{HTTPNotGranted, fmt.Sprintf("no answer is given for %s %s", request.Method, request.URL)}
	}
	return given.HTTP(request)
}
