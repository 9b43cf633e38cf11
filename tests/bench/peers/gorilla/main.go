// gorilla/websocket for the socket, go-stomp for the frames.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"sort"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/gorilla/websocket"
)

var (
	url   = flag.String("url", "", "ws://127.0.0.1:PORT/MODE/COUNT/SIZE")
	mode  = flag.String("mode", "burst", "burst, sink or pingpong; or micro, without a socket")
	count = flag.Int("count", 1000, "messages")
	size  = flag.Int("size", 64, "bytes of a body")
)

// stream turns WebSocket messages into the byte stream that go-stomp expects. go-stomp's writer has
// a buffer for a whole frame, so each Write is one frame.
type stream struct {
	*websocket.Conn
	reader io.Reader
}

func (s *stream) Read(out []byte) (int, error) {
	for {
		if s.reader == nil {
			_, reader, err := s.NextReader()
			if err != nil {
				return 0, err
			}
			s.reader = reader
		}
		n, err := s.reader.Read(out)
		if err == io.EOF {
			s.reader = nil
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *stream) Write(frame []byte) (int, error) {
	return len(frame), s.WriteMessage(websocket.TextMessage, frame)
}

type peer struct {
	conn     *stomp.Conn
	sub      *stomp.Subscription
	body     []byte
	checksum int
	times    []float64
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func (p *peer) subscribe(destination string) {
	sub, err := p.conn.Subscribe(destination, stomp.AckAuto)
	check(err)
	p.sub = sub
}

func (p *peer) send(destination string) {
	check(p.conn.Send(destination, "text/plain", p.body))
}

func (p *peer) receive() *stomp.Message {
	message := <-p.sub.C
	if message == nil {
		log.Fatal("the connection ended")
	}
	check(message.Err)
	p.checksum += len(message.Body) + len(message.Header.Get("message-id"))
	return message
}

func (p *peer) burst() (messages int, began time.Time) {
	p.subscribe("/topic/bench")
	for p.receive().Destination != "/topic/end" {
		if messages == 0 {
			began = time.Now()
		}
		messages++
	}
	return messages, began
}

func (p *peer) sink() (int, time.Time) {
	p.subscribe("/topic/end")
	began := time.Now()
	for i := 0; i < *count; i++ {
		p.send("/topic/sink")
	}
	p.receive()
	return *count, began
}

func (p *peer) pingpong() (int, time.Time) {
	p.subscribe("/topic/echo")
	began := time.Now()
	for i := 0; i < *count; i++ {
		sent := time.Now()
		p.send("/topic/echo")
		p.receive()
		p.times = append(p.times, time.Since(sent).Seconds())
	}
	return *count, began
}

func (p *peer) percentile(share int) float64 {
	if len(p.times) == 0 {
		return 0
	}
	return p.times[len(p.times)*share/1000] * 1e6
}

func main() {
	flag.Parse()
	if *mode == "micro" {
		micro()
		return
	}
	dialer := websocket.Dialer{Subprotocols: []string{"v12.stomp", "v11.stomp"}}
	socket, _, err := dialer.Dial(*url, nil)
	check(err)
	conn, err := stomp.Connect(&stream{Conn: socket}, stomp.ConnOpt.HeartBeat(0, 0),
		stomp.ConnOpt.WriteBufferSize(*size+4096))
	check(err)
	p := &peer{conn: conn, body: make([]byte, *size)}
	for i := range p.body {
		p.body[i] = 'x'
	}
	run := map[string]func() (int, time.Time){
		"burst": p.burst, "sink": p.sink, "pingpong": p.pingpong,
	}[*mode]
	messages, began := run()
	secs := time.Since(began).Seconds()
	sort.Float64s(p.times)
	fmt.Printf("{\"msgs\":%d,\"secs\":%f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f}\n",
		messages, secs, p.percentile(500), p.percentile(990), p.percentile(999))
}
