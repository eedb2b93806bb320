package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
)

func TestCloseClients(t *testing.T) {
	address, endpoint := signedTarget(t, func(n int, on bool) (int, string) {
		if n == 2 && on {
			return 500, "InternalError" // after the effect: not tried again
		}
		return 0, ""
	})
	conns := connectMany(t, []string{address}, 2)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	var got []string
	tell := func(c ClosedClient) error {
		answer := APIError{Code: "-", RequestID: "-"}
		if c.Answer() != nil {
			answer = *c.Answer()
		}
		online := "?"
		if c.Online != nil {
			online = fmt.Sprint(*c.Online)
		}
		got = append(got, fmt.Sprint(c.ClientID, " ", online, " ", answer.Code, " ", answer.RequestID, " ", c.Tries))
		return nil
	}
	o := CloseOptions{Credentials: testKey, Rate: -1}
	err := CloseClients(t.Context(), endpoint, o, 0, []string{"dev-000000", "dev-000001", "dev-000001", "nobody"}, tell)
	// The proxy hands on the body only, so that nobody says who was online.
	want := "[dev-000000 ? - - 1 dev-000001 ? - - 1 dev-000001 ? InternalError R 1 nobody ? - - 1]"
	if !errors.Is(err, ErrNotClosed) || ExitCode(err) != ExitFail || fmt.Sprint(got) != want {
		t.Errorf("%v\n%v, want\n%s", err, got, want)
	}
	for i, c := range conns {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("client %d: %v", i, err)
		}
	}

	// Straight to the endpoint, which says who was online.
	b, err := StartTarget(t.Context(), "embedded", TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own
	conn := connectMany(t, b.Info().Addresses, 1)[0]
	defer conn.Close() //nolint:errcheck // the broker closes it
	got = nil
	err = CloseClients(t.Context(), b.Info().Endpoint, CloseOptions{}, 0, []string{"dev-000000", "dev-000000"}, tell)
	if want := "[dev-000000 true - - 1 dev-000000 false - - 1]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v\n%v, want\n%s", err, got, want)
	}

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CloseClients(stopped, b.Info().Endpoint, CloseOptions{}, 0, []string{"x"}, tell); ExitCode(err) != ExitInterrupted {
		t.Errorf("%v", err)
	}
	if err := CloseClients(t.Context(), "http://127.0.0.1:1", CloseOptions{}, 1, []string{"x"}, tell); !errors.Is(err, ErrNoEndpoint) || ExitCode(err) != ExitUnreachable {
		t.Errorf("%v", err)
	}
	if err := CloseClients(t.Context(), "127.0.0.1:1", CloseOptions{}, 0, []string{"x"}, tell); ExitCode(err) != ExitUsage {
		t.Errorf("%v", err)
	}
}
