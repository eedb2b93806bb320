package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
)

func closeCommand(io streams) *cobra.Command {
	var (
		endpoint string
		clients  []string
		o        harness.CloseOptions
		timeout  time.Duration
		asJSON   bool
	)
	c := &cobra.Command{
		Use:   "close --endpoint URL --client ID…",
		Short: "Close the connections of single clients through a CloseConnection endpoint",
		Long: `Call CloseConnection for each client named, one after the other, at an endpoint
of 'rebound broker' or of the cloud service itself, and say what became of it:
closed, not online, answered (the endpoint does not say which of the two), or
failed, with the code, message and request id of the answer.

Calls are signed with the access key in ALIBABA_CLOUD_ACCESS_KEY_ID,
ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for temporary credentials,
ALIBABA_CLOUD_SECURITY_TOKEN; without a key they are unsigned, which only an
endpoint on loopback believes. A call is tried again when the service is too
busy (Throttling); after a 5xx it is not, because it may have taken effect and
would then close the connection that the client has made since. Certificates
of an authority of your own are trusted with SSL_CERT_FILE.

Exit codes: 0 each call was answered with success, 1 some failed, 2 usage,
4 the endpoint answered nothing to the first call, which ends the list, 7 the
results could not be printed, 130 interrupted: the clients before were told of,
and the call under way may have taken effect.`,
		Example: `  rebound close --endpoint http://127.0.0.1:8080 --client dev-1 --client dev-2
  rebound close --endpoint https://onsmqtt.cn-shanghai.aliyuncs.com --instance post-cn-x --client 'GID_x@@@1'
  cut -d, -f1 devices.csv | rebound close --endpoint http://127.0.0.1:8080 --client -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case endpoint == "":
				return usagef("--endpoint URL says where the API is")
			case timeout <= 0:
				return usagef("--timeout %s: want a time above 0", timeout)
			case notRate(o.Rate):
				return usagef("--rate %g: want calls per second, at most %d, or 0 for as fast as they are answered", o.Rate, maxPerSecond)
			}
			if c.Flags().Changed("rate") && o.Rate == 0 {
				o.Rate = -1
			}
			ids, err := clientIDs(clients, c.InOrStdin())
			if err != nil {
				return err
			}
			o.Credentials = harness.CredentialsFromEnv()
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return harness.CloseClients(ctx, endpoint, o, timeout, ids, closedPrinter(io.out, asJSON))
		},
	}
	c.Flags().StringVar(&endpoint, "endpoint", "", "`URL` of the CloseConnection endpoint, http://HOST:PORT or https")
	c.Flags().StringArrayVar(&clients, "client", nil, "client `ID`, any number of times; - reads ids from stdin, one a line")
	c.Flags().StringVar(&o.Instance, "instance", "", "InstanceId `ID` (default mqtt-rebound)")
	c.Flags().StringVar(&o.Scheme, "scheme", "", "`SIGNATURE` of the calls: none | rpc | acs3 (default acs3 where the environment has a key, else none)")
	c.Flags().Float64Var(&o.Rate, "rate", 50, "at most `N` calls a second, 0 = as fast as they are answered")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "bound `T` of each call, further tries included")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a client")
	return c
}

// clientIDs are the ids named, those of stdin in the place of "-".
func clientIDs(named []string, stdin io.Reader) ([]string, error) {
	var ids []string
	read := false
	for _, id := range named {
		switch {
		case id == "":
			return nil, usagef("--client: an id is not empty")
		case id != "-":
			ids = append(ids, id)
			continue
		case read:
			return nil, usagef("--client - is given twice, and there is one stdin")
		}
		read = true
		lines := bufio.NewScanner(stdin)
		lines.Buffer(nil, 1<<17) // a ClientId has at most 65,535 bytes
		n := 1
		for ; lines.Scan(); n++ {
			if line := strings.TrimSuffix(lines.Text(), "\r"); line != "" {
				ids = append(ids, line)
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, usagef("client ids from stdin: line %d is longer than any id", n)
		case err != nil:
			return nil, usagef("client ids from stdin: %w", err)
		}
	}
	if len(ids) == 0 {
		return nil, usagef("--client ID names whose connection to close, and there is none")
	}
	return ids, nil
}

// closedPrinter prints what became of each client, a line each.
func closedPrinter(w io.Writer, asJSON bool) func(harness.ClosedClient) error {
	return func(c harness.ClosedClient) error {
		if asJSON {
			return json.NewEncoder(w).Encode(closedLineOf(c))
		}
		id := c.ClientID
		if q := strconv.Quote(id); q != `"`+id+`"` {
			id = q // it would break the line, or the terminal
		}
		if c.Err != nil {
			id += "   " + failureText(c)
		}
		_, err := fmt.Fprintf(w, "%-10s %s\n", became(c), id)
		return err
	}
}

// became is what became of a client, in a word or two.
func became(c harness.ClosedClient) string {
	switch {
	case c.Err != nil:
		return "failed"
	case c.Online == nil:
		return "answered"
	case *c.Online:
		return "closed"
	}
	return "not online"
}

// failureText is the endpoint's answer, or why there was none.
func failureText(c harness.ClosedClient) string {
	a := c.Answer()
	if a == nil {
		return strings.TrimPrefix(c.Err.Error(), fmt.Sprintf("close connection of %q: ", c.ClientID))
	}
	return fmt.Sprintf("%d %s: %s (request %s)", a.Status, a.Code, a.Message, a.RequestID)
}

// closedLine is one line of --json.
type closedLine struct {
	ClientID  string `json:"client_id"`
	Result    string `json:"result"` // closed | not online | answered | failed
	Tries     int    `json:"tries"`
	Status    int    `json:"status,omitempty"`
	Code      string `json:"code,omitempty"`
	Message   string `json:"message,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

func closedLineOf(c harness.ClosedClient) closedLine {
	l := closedLine{ClientID: c.ClientID, Result: became(c), Tries: c.Tries}
	switch a := c.Answer(); {
	case a != nil:
		l.Status, l.Code, l.Message, l.RequestID = a.Status, a.Code, a.Message, a.RequestID
	case c.Err != nil:
		l.Message = c.Err.Error()
	}
	return l
}
