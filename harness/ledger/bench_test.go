package ledger

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

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

// playAccount plays one message that goes well, from end to end.
func playAccount(b *Book, client string, id uint32, seq uint64, topic []byte) {
	at := timeline.Instant(seq + 10)
	playMessage(b, client, id, seq, topic)
	b.Answered(client, id, seq, 1, at)
	b.Handled(client, id, seq)
}

// playTwice is playAccount at QoS 2.
func playTwice(b *Book, client string, id uint32, seq uint64, topic []byte) {
	at := timeline.Instant(seq + 10)
	b.Attempted(id, seq, 1, at, at)
	b.Acked(id, seq, at)
	b.Released(id, seq, 1, at)
	b.Completed(id, seq, at)
	b.Delivered(client, mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: id, Seq: seq}, Topic: topic, QoS: 2, Conn: 1}, at)
	b.Answered(client, id, seq, 1, at)
	b.Handled(client, id, seq)
}

// BenchmarkAccount is all that one message costs at the book: Attempted,
// Acked, Delivered, Answered and Handled at QoS 1. Of many clients each message
// finds its tables out of the cache; in shuffled order the processor can not
// guess either which ones come next.
func BenchmarkAccount(b *testing.B) {
	for _, c := range []struct {
		name    string
		clients int
		order   func(n int) []int
	}{
		{"clients=1", 1, inTurn},
		{"clients=15000", 15_000, inTurn},
		{"shuffled=15000", 15_000, rand.New(rand.NewPCG(1, 1)).Perm},
	} {
		b.Run(c.name, func(b *testing.B) {
			book, names := fleet(c.clients)
			topics := make([][]byte, c.clients)
			for i, name := range names {
				topics[i] = []byte("rb/" + name + "/cmd")
				playAccount(book, name, uint32(i), 1, topics[i])
			}
			order := c.order(c.clients)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				i := order[n%c.clients]
				playAccount(book, names[i], uint32(i), uint64(n/c.clients)+2, topics[i])
				n++
			}
		})
	}
	b.Run("qos=2", func(b *testing.B) {
		book := NewBook(run)
		book.AddStream(1, "control", "t", 2)
		book.Subscribed("s", "t", 2, 1)
		topic := []byte("t")
		b.ReportAllocs()
		n := uint64(0)
		for b.Loop() {
			n++
			playTwice(book, "s", 1, n, topic)
		}
	})
}

// inTurn gives 0 to n-1.
func inTurn(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// heap is what is in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkHundredMillion accounts for 100 M messages on 100 streams, and
// reports the heap of the book after the first million and at the end.
func BenchmarkHundredMillion(b *testing.B) {
	const n, streams = 100_000_000, 100
	for b.Loop() {
		start, base := time.Now(), heap()
		book, names := fleet(streams)
		topics := make([][]byte, streams)
		for i, name := range names {
			topics[i] = []byte("rb/" + name + "/cmd")
		}
		early := int64(0)
		for k := range n {
			i := k % streams
			playAccount(book, names[i], uint32(i), uint64(k/streams)+1, topics[i])
			if k == n/100 {
				early = heap() - base
			}
		}
		b.ReportMetric(float64(early), "heap-B-at-1M")
		b.ReportMetric(float64(heap()-base), "heap-B-at-100M")
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/n, "ns/message")
		if a := closeBook(book); a.QoS[1].Handled != n || len(a.Exceptions) > 0 {
			b.Fatalf("%+v", a.QoS[1])
		}
		runtime.KeepAlive(book)
	}
}

// TestHeapIsFlat: the book holds no more after 1 M messages than after 100 k,
// at QoS 1 and 2, in order and in the disorder that a busy broker makes.
func TestHeapIsFlat(t *testing.T) {
	book := NewBook(run)
	for q := range byte(3) {
		book.AddStream(uint32(q), "control", fmt.Sprint("t", q), q)
	}
	book.Connected("s", 1, false, 1)
	book.Subscribed("s", "#", 2, 2)
	book.Subscribed("u", "$share/g/+", 2, 2)
	play := func(from, to uint64) {
		for seq := from; seq < to; seq++ {
			for q := range byte(3) {
				topic := []byte{'t', '0' + q}
				at := timeline.Instant(seq + 10)
				book.Attempted(uint32(q), seq, 1, at, at)
				if seq%4 != 3 {
					continue // groups of four are under way at once, and acknowledged backwards
				}
				for s := range uint64(4) {
					other := seq - s
					if q > 0 {
						book.Acked(uint32(q), other, at)
					}
					if q > 1 {
						book.Released(uint32(q), other, 1, at)
						book.Completed(uint32(q), other, at)
					}
					other = seq - 3 + s
					for _, c := range []string{"s", "u"} {
						book.Delivered(c, mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: uint32(q), Seq: other}, Topic: topic, QoS: q, Conn: 1}, at)
						if q > 0 {
							book.Answered(c, uint32(q), other, 1, at)
						}
						book.Handled(c, uint32(q), other)
					}
				}
			}
		}
	}
	const first, last = 100_000 / 3, 1_000_000 / 3
	play(4, first/4*4)
	early := heap()
	play(first/4*4, last/4*4)
	// A bit per message would be 110 kB; less is the runtime's own.
	if grown := heap() - early; grown > 64<<10 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := book.Totals().InDoubt; n != 0 {
		t.Errorf("%d in doubt", n)
	}
	runtime.KeepAlive(book)
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

// TestFewCacheLines: what a message that goes well at QoS 1 touches of its
// stream lies in five cache lines, of its delivery in six.
func TestFewCacheLines(t *testing.T) {
	const line = 64 // bytes, of amd64 and most others
	st, d := stream{}, delivery{}
	if end := unsafe.Offsetof(st.live) + unsafe.Offsetof(st.live.InDoubt) + unsafe.Sizeof(st.live.InDoubt); end > 5*line {
		t.Errorf("stream: %d bytes", end)
	}
	if end := unsafe.Offsetof(d.unanswered) + unsafe.Offsetof(d.unanswered.old); end > 6*line {
		t.Errorf("delivery: %d bytes", end)
	}
}

func TestMessageWithoutAllocation(t *testing.T) {
	b, names := fleet(100)
	topic := []byte("rb/" + names[7] + "/cmd")
	seq := uint64(1)
	playMessage(b, names[7], 7, seq, topic)
	if allocs := testing.AllocsPerRun(1000, func() { seq++; playAccount(b, names[7], 7, seq, topic) }); allocs != 0 {
		t.Errorf("%v allocations a message", allocs)
	}
	b.AddStream(1000, "control", "q2", 2)
	b.Subscribed("s", "q2", 2, 1)
	seq = 1
	playTwice(b, "s", 1000, seq, []byte("q2"))
	if allocs := testing.AllocsPerRun(1000, func() { seq++; playTwice(b, "s", 1000, seq, []byte("q2")) }); allocs != 0 {
		t.Errorf("%v allocations a message at QoS 2", allocs)
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
