package tidegate

import (
	"encoding/json"
	"strings"
	"time"
)

// HTTPRequest is a request. The operator must grant `http` with the hosts, and plugin.yaml says `uses: [http]`.
//
//	response, err := tidegate.HTTPRequest{URL: "https://api.example.com/items/7"}.Send()
//
// A request takes wall time of the call it is made in: keep what was answered where that can be done.
type HTTPRequest struct {
	// Method is GET where it is empty.
	Method string
	// URL begins with http:// or https://.
	URL string
	// Headers are sent in this order.
	Headers []Header
	Body    []byte
	// Timeout is how long it may take in all; 0: what the operator allows.
	Timeout time.Duration
}

// HTTPResponse is a response, whole.
type HTTPResponse struct {
	// Status is a number such as 200.
	Status int
	// Headers are in the order in which they came.
	Headers []Header
	Body    []byte
}

// HTTPErrorKind says why there is no response.
type HTTPErrorKind string

const (
	// HTTPNotGranted: the host, or the address it has, is not granted.
	HTTPNotGranted HTTPErrorKind = "not-granted"
	// HTTPInvalid: it is no request.
	HTTPInvalid HTTPErrorKind = "invalid"
	// HTTPUnreachable: no connection, or it broke.
	HTTPUnreachable HTTPErrorKind = "unreachable"
	// HTTPTimedOut: it took too long.
	HTTPTimedOut HTTPErrorKind = "timed-out"
	// HTTPTooLarge: a body is larger than the operator allows.
	HTTPTooLarge HTTPErrorKind = "too-large"
)

// HTTPError is the error where there is no response. A response with a status such as 404 is no error.
type HTTPError struct {
	Kind    HTTPErrorKind
	Message string
}

func (e *HTTPError) Error() string { return e.Message }

// Send sends the request and waits for the whole response, whatever its status. Redirects are not followed. The error is an *HTTPError. In
// tests Given answers.
func (r HTTPRequest) Send() (*HTTPResponse, error) {
	if r.Method == "" {
		r.Method = "GET"
	}
	return hostSend(&r)
}

// Header gives the value of the first header of that name, in whatever case; empty where there is none.
func (r *HTTPResponse) Header(name string) string {
	for _, header := range r.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

// Text is the body as text, with what is no UTF-8 replaced.
func (r *HTTPResponse) Text() string { return strings.ToValidUTF8(string(r.Body), "\uFFFD") }

// Unmarshal reads the body, which is JSON, as json.Unmarshal does.
func (r *HTTPResponse) Unmarshal(into any) error { return json.Unmarshal(r.Body, into) }
