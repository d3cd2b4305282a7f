package tests

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"tidegate"
)

func TestNothingIsGivenUnlessATestGivesIt(t *testing.T) {
	same(t, tidegate.Now().Format(time.RFC3339), "2024-01-01T00:00:00Z")
	_, set := tidegate.Environment("PATH")
	same(t, fmt.Sprint(set), "false")
	_, err := tidegate.HTTPRequest{URL: "https://api.example.com/"}.Send()
	var failure *tidegate.HTTPError
	if !errors.As(err, &failure) || failure.Kind != tidegate.HTTPNotGranted {
		t.Fatal(err)
	}
	same(t, failure.Message, "no answer is given for GET https://api.example.com/")
}

func TestGiven(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var first []byte
	for range 2 {
		t.Run("given", func(t *testing.T) {
			tidegate.Give(t, tidegate.Given{
				Now:         at,
				Environment: map[string]string{"REGION": "eu"},
				HTTP: func(request *tidegate.HTTPRequest) (*tidegate.HTTPResponse, error) {
					if request.Method != "POST" {
						return nil, &tidegate.HTTPError{Kind: tidegate.HTTPTimedOut, Message: "too slow"}
					}
					return &tidegate.HTTPResponse{Status: 201, Headers: []tidegate.Header{{Name: "X-Page", Value: "1"}}, Body: request.Body}, nil
				},
			})
			same(t, tidegate.Now().String(), at.String())
			region, _ := tidegate.Environment("REGION")
			same(t, region, "eu")
			response, err := tidegate.HTTPRequest{Method: "POST", URL: "https://api.example.com/", Body: []byte(`{"n":1}`)}.Send()
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ N int }
			if err := response.Unmarshal(&body); err != nil || body.N != 1 {
				t.Fatal(err, body)
			}
			same(t, fmt.Sprintf("%d %s %s", response.Status, response.Header("x-page"), response.Text()), `201 1 {"n":1}`)
			_, err = tidegate.HTTPRequest{URL: "https://api.example.com/"}.Send()
			same(t, err.Error(), "too slow")
			random := tidegate.RandomBytes(20)
			if len(random) != 20 || first != nil && !bytes.Equal(random, first) {
				t.Fatal(random, first)
			}
			first = random
		})
	}
	same(t, tidegate.Now().Format(time.RFC3339), "2024-01-01T00:00:00Z")
}
