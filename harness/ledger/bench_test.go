package ledger

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// fleet is a book with one stream and one subscriber for each of n clients.
func fleet(n int) (*Book, []string) {
	b := NewBook(run)
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("dev-%06d", i)
		b.AddStream(uint32(i), "control", "rb/"+names[i]+"/cmd", 1)
		b.Connected(names[i], 1, false, 1)
		b.Subscribed(names[i], "rb/"+names[i]+"/cmd", 1, 1)
	}
	return b, names
}

// message plays one message that goes well.
func playMessage(b *Book, client string, id uint32, seq uint64, topic []byte) {
	at := timeline.Instant(seq + 10)
	b.Attempted(id, seq, 1, at, at)
	b.Acked(id, seq, at)
	b.Delivered(client, mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: id, Seq: seq}, Topic: topic, QoS: 1, DUP: false, Conn: 1}, at)
}

// BenchmarkMessage is Attempted, Acked and Delivered of one message.
func BenchmarkMessage(b *testing.B) {
	for _, clients := range []int{1, 15_000} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			book, names := fleet(clients)
			topics := make([][]byte, clients)
			for i, name := range names {
				topics[i] = []byte("rb/" + name + "/cmd")
				playMessage(book, name, uint32(i), 1, topics[i])
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				i := n % clients
				playMessage(book, names[i], uint32(i), uint64(n/clients)+2, topics[i])
				n++
			}
		})
	}
}

// BenchmarkSubscribe is the SUBACK of one client, each with an exact filter.
func BenchmarkSubscribe(b *testing.B) {
	book, names := fleet(15_000)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		name := names[n%len(names)]
		book.Connected(name, 1, false, timeline.Instant(n+1))
		book.Subscribed(name, "rb/"+name+"/cmd", 1, timeline.Instant(n+1))
		n++
	}
}

// BenchmarkSettledStream reports the heap of a stream with one subscriber after
// 1,000 messages that went well.
func BenchmarkSettledStream(b *testing.B) {
	const streams = 2000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		book, names := fleet(streams)
		for i, name := range names {
			for seq := range uint64(1000) {
				playMessage(book, name, uint32(i), seq+1, []byte("rb/"+name+"/cmd"))
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/streams, "B/stream")
		runtime.KeepAlive(book)
	}
}

func TestMessageWithoutAllocation(t *testing.T) {
	b, names := fleet(100)
	topic := []byte("rb/" + names[7] + "/cmd")
	seq := uint64(1)
	playMessage(b, names[7], 7, seq, topic)
	if allocs := testing.AllocsPerRun(1000, func() { seq++; playMessage(b, names[7], 7, seq, topic) }); allocs != 0 {
		t.Errorf("%v allocations a message", allocs)
	}
}

// TestConcurrentUse is for the race detector: streams, subscriptions, messages
// and readers of the book at once; and the account must still add up.
func TestConcurrentUse(t *testing.T) {
	const clients, messages = 8, 300
	b := NewBook(run)
	var all, readers sync.WaitGroup
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				for range b.Accounts() {
				}
				b.Totals()
			}
		}
	})
	for i := range clients {
		b.Connected(fmt.Sprint("c", i), 1, false, 1)
	}
	for i := range clients {
		name, other := fmt.Sprint("c", i), fmt.Sprint("c", (i+1)%clients)
		topic := "t/" + name
		all.Go(func() {
			b.AddStream(uint32(i), "p", topic, 1)
			b.Subscribed(name, topic, 1, 2)
			b.Subscribed(other, "+/"+name, 1, 2)
			for seq := uint64(1); seq <= messages; seq++ {
				playMessage(b, name, uint32(i), seq, []byte(topic))
				b.Delivered(other, mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: uint32(i), Seq: seq}, Topic: []byte(topic), QoS: 1, DUP: false, Conn: 1}, 9)
				b.Delivered("new "+name, mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: uint32(i), Seq: seq}, Topic: []byte(topic), Conn: 1}, 9)
				b.Answered(name, uint32(i), seq, 1, 9)
				b.Answered(other, uint32(i), seq, 1, 9)
				b.Handled(other, uint32(i), seq)
				b.Handled(name, uint32(i), seq)
				if seq%100 == 0 {
					b.Connected(name, 1, true, timeline.Instant(seq+10))
					b.Connected("new "+name, 1, false, timeline.Instant(seq+10))
					b.Subscribed("new "+name, topic, 0, timeline.Instant(seq+10))
					b.Asked(name, topic, 1, timeline.Instant(seq+10))
					b.Subscribed(name, topic, 1, timeline.Instant(seq+10))
				}
			}
			b.Slots(uint32(i), messages, 0, 0)
			b.Sentinel(uint32(i), 1000, 1001)
		})
	}
	all.Wait()
	close(stop)
	readers.Wait()
	a := closeBook(b)
	if !a.Balanced() || a.QoS[1].Attempted != clients*messages || a.QoS[1].Misrouted+a.QoS[0].Misrouted != 100*clients || a.QoS[1].Lost+a.QoS[1].LegalLoss+a.QoS[1].Unexpected != 0 {
		t.Errorf("%+v %q", a.QoS[1], a.Problems)
	}
	if got := b.Totals().InDoubt; got != 100*clients { // misrouted: read before the first SUBACK
		t.Errorf("%d in doubt", got)
	}
}

func closeBook(b *Book) Account {
	var records []Record
	for r := range b.Accounts() {
		records = append(records, r)
	}
	return Close(records, Situation{Drained: true})
}
