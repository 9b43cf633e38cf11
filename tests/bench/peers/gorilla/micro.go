// The measurements of bench_micro.c for parsing and building, with go-stomp.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

const (
	rounds = 200
	times  = 64
)

var usual = [][2]string{
	{"destination", "/topic/bench"}, {"message-id", "session-1234-0000001"},
	{"subscription", "sub-1"}, {"content-type", "text/plain;charset=utf-8"},
	{"timestamp", "1700000000000"}, {"priority", "4"},
}

func makeFrame(headers int) *frame.Frame {
	made := frame.New("MESSAGE")
	for i := 0; i < headers; i++ {
		if i < len(usual) {
			made.Header.Add(usual[i][0], usual[i][1])
		} else {
			made.Header.Add(fmt.Sprintf("x-application-%03d", i), "some value of 24 bytes..")
		}
	}
	made.Header.Add("content-length", "64")
	made.Body = []byte(strings.Repeat("x", 64))
	return made
}

// best returns the best of several rounds. Each round begins with a preparation that is not
// measured.
func best(name string, headers int, prepare func(), call func()) {
	least := time.Hour
	for round := 0; round < rounds; round++ {
		prepare()
		began := time.Now()
		for i := 0; i < times; i++ {
			call()
		}
		if taken := time.Since(began); taken < least {
			least = taken
		}
	}
	fmt.Printf("{\"name\":\"%s %d\",\"ns\":%.2f}\n", name, headers,
		float64(least.Nanoseconds())/times)
}

func micro() {
	for _, headers := range []int{2, 6, 20} {
		made := makeFrame(headers)
		var wire bytes.Buffer
		for i := 0; i < times; i++ {
			check(frame.NewWriter(&wire).Write(made))
		}
		var reader *frame.Reader
		best("parse", headers, func() {
			reader = frame.NewReader(bytes.NewReader(wire.Bytes()))
		}, func() {
			read, err := reader.Read()
			check(err)
			if len(read.Body) != 64 {
				log.Fatal("a frame was not parsed")
			}
		})
		writer := frame.NewWriter(io.Discard)
		best("build", headers, func() {}, func() { check(writer.Write(made)) })
	}
}
