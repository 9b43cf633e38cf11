// A toxiproxy that also corrupts data. The toxics of toxiproxy change how bytes travel; this one
// changes bytes.
//
//         proxy -seed N -port P
//
// It is controlled by HTTP in the same way as toxiproxy: https://github.com/Shopify/toxiproxy.
package main

import (
	"flag"
	"math/rand"
	"os"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// CorruptToxic flips one bit per this many bytes on average, after it has spared the first bytes of
// a connection. A certificate that was changed on its way is not trusted, and that ends a client
// for good.
type CorruptToxic struct {
	OneIn int `json:"one_in"`
	Spare int `json:"spare"`
}

// CorruptState is the number of bytes of a connection that are still spared.
type CorruptState struct{ left int }

// NewState returns the state of a new connection.
func (t *CorruptToxic) NewState() interface{} { return &CorruptState{t.Spare} }

func (t *CorruptToxic) damage(state *CorruptState, data []byte) {
	if state.left >= len(data) {
		state.left -= len(data)
		return
	}
	for at := state.left + rand.Intn(2*t.OneIn); at < len(data); at += 1 + rand.Intn(2*t.OneIn) {
		data[at] ^= 1 << rand.Intn(8)
	}
	state.left = 0
}

// Pipe passes on chunks until it is interrupted or the connection ends.
func (t *CorruptToxic) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			data := append([]byte(nil), chunk.Data...)
			t.damage(stub.State.(*CorruptState), data)
			stub.Output <- &stream.StreamChunk{Data: data, Timestamp: chunk.Timestamp}
		}
	}
}

func main() {
	seed := flag.Int64("seed", 1, "seed of the random generator")
	port := flag.String("port", "8474", "port for HTTP on the loopback interface")
	flag.Parse()
	rand.Seed(*seed)
	toxics.Register("corrupt", new(CorruptToxic))
	metrics := toxiproxy.NewMetricsContainer(prometheus.NewRegistry())
	logger := zerolog.New(os.Stderr).Level(zerolog.WarnLevel)
	toxiproxy.NewServer(metrics, logger).Listen("127.0.0.1", *port)
}
