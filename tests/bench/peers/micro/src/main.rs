//! The measurements of bench_micro.c, with the crates simdutf8 and stomp-parser.

use std::hint::black_box;
use std::time::Instant;

use stomp_parser::server::ServerFrame;

const MIB: usize = 1 << 20;
const ROUNDS: usize = 50;

fn report(name: &str, unit: usize, ns: f64, bytes: usize) {
    println!(
        "{{\"name\":\"{name} {unit}\",\"ns\":{ns:.2},\"gb_s\":{:.2}}}",
        bytes as f64 / ns
    );
}

/// Returns the best of several rounds of this many calls, in nanoseconds per call.
fn best(times: usize, mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..times {
            call();
        }
        best = best.min(began.elapsed().as_nanos() as f64 / times as f64);
    }
    best
}

fn frame(header_count: usize) -> Vec<u8> {
    let usual = [
        ("destination", "/topic/bench"),
        ("message-id", "session-1234-0000001"),
        ("subscription", "sub-1"),
        ("content-type", "text/plain;charset=utf-8"),
        ("timestamp", "1700000000000"),
        ("priority", "4"),
    ];
    let mut text = String::from("MESSAGE\n");
    for i in 0..header_count {
        match usual.get(i) {
            Some((name, value)) => text += &format!("{name}:{value}\n"),
            None => text += &format!("x-application-{i:03}:some value of 24 bytes..\n"),
        }
    }
    text += "content-length:64\n\n";
    text += &"x".repeat(64);
    text.push('\0');
    text.into_bytes()
}

/// The parser takes ownership of the bytes, so each call gets a copy that was made before.
fn parse(header_count: usize) {
    let original = frame(header_count);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let copies: Vec<Vec<u8>> = (0..64).map(|_| original.clone()).collect();
        let mut parsed = Vec::with_capacity(64);
        let began = Instant::now();
        for copy in copies {
            parsed.push(ServerFrame::try_from(copy).expect("a frame"));
        }
        best = best.min(began.elapsed().as_nanos() as f64 / 64.0);
        black_box(&parsed);
    }
    report("parse", header_count, best, original.len());
}

fn validate(name: &str, text: &[u8]) {
    let ns = best(4, || {
        black_box(simdutf8::basic::from_utf8(black_box(text)).is_ok());
    });
    report(name, text.len(), ns, text.len());
}

fn main() {
    // stomp-parser expects at least three headers.
    for header_count in [6, 20] {
        parse(header_count);
    }
    validate("utf8 ascii", &vec![b'x'; MIB]);
    let piece = "Grüße 日本 😀 abc, ";
    let mut mixed = piece.repeat(MIB / piece.len()).into_bytes();
    mixed.resize(MIB, b' ');
    validate("utf8 mixed", &mixed);
}
