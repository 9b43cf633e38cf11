//! tungstenite for the socket, stomp-parser for the frames. Publishing writes to tungstenite's
//! buffer and flushes one time at the end, as its documentation advises.

use std::error::Error;
use std::net::TcpStream;
use std::time::Instant;
use stomp_parser::client::{ConnectFrameBuilder, SendFrameBuilder, SubscribeFrameBuilder};
use stomp_parser::headers::{StompVersion, StompVersions};
use stomp_parser::server::{MessageFrame, ServerFrame};
use tungstenite::{Message, Utf8Bytes, WebSocket};

type Failure = Box<dyn Error>;

struct Peer {
    socket: WebSocket<TcpStream>,
    count: usize,
    body: Vec<u8>,
    checksum: usize,
    times: Vec<f64>,
}

impl Peer {
    fn new(url: &str, count: usize, size: usize) -> Result<Peer, Failure> {
        let address = url.trim_start_matches("ws://").split('/').next().unwrap_or("");
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let (socket, _) = tungstenite::client(url, stream)?;
        Ok(Peer { socket, count, body: vec![b'x'; size], checksum: 0, times: Vec::new() })
    }

    fn log_in(&mut self, destination: &str) -> Result<(), Failure> {
        let versions = StompVersions(vec![StompVersion::V1_2]);
        let connect = ConnectFrameBuilder::new("/".to_owned(), versions).build();
        self.socket.send(text(connect.into())?)?;
        self.socket.read()?;
        let subscribe =
            SubscribeFrameBuilder::new(destination.to_owned(), "1".to_owned()).build();
        Ok(self.socket.send(text(subscribe.into())?)?)
    }

    fn frame(&self, destination: &str) -> Result<Message, Failure> {
        let frame = SendFrameBuilder::new(destination.to_owned())
            .content_length(self.body.len() as u32)
            .body(self.body.clone())
            .build();
        text(frame.into())
    }

    /// Returns whether more messages of the burst follow.
    fn receive(&mut self) -> Result<bool, Failure> {
        let bytes: Vec<u8> = match self.socket.read()? {
            Message::Text(text) => text.as_str().as_bytes().to_vec(),
            other => return Err(format!("unexpected: {other:?}").into()),
        };
        match ServerFrame::try_from(bytes) {
            Ok(ServerFrame::Message(message)) => Ok(self.read(&message)),
            Ok(_) => Err("not a MESSAGE".into()),
            Err(error) => Err(error.message().to_owned().into()),
        }
    }

    fn read(&mut self, message: &MessageFrame) -> bool {
        let id: &str = message.message_id().value();
        self.checksum += message.body().map_or(0, <[u8]>::len) + id.len();
        message.destination().value() != "/topic/end"
    }

    fn burst(&mut self) -> Result<(usize, Instant), Failure> {
        let (mut messages, mut began) = (0, None);
        while self.receive()? {
            began.get_or_insert_with(Instant::now);
            messages += 1;
        }
        Ok((messages, began.unwrap_or_else(Instant::now)))
    }

    fn sink(&mut self) -> Result<(usize, Instant), Failure> {
        let began = Instant::now();
        for _ in 0..self.count {
            let frame = self.frame("/topic/sink")?;
            self.socket.write(frame)?;
        }
        self.socket.flush()?;
        self.receive()?;
        Ok((self.count, began))
    }

    fn pingpong(&mut self) -> Result<(usize, Instant), Failure> {
        let began = Instant::now();
        for _ in 0..self.count {
            let sent = Instant::now();
            let frame = self.frame("/topic/echo")?;
            self.socket.send(frame)?;
            self.receive()?;
            self.times.push(sent.elapsed().as_secs_f64());
        }
        Ok((self.count, began))
    }

    fn percentile(&self, share: usize) -> f64 {
        self.times.get(self.count * share / 1000).map_or(0.0, |time| time * 1e6)
    }
}

fn text(bytes: Vec<u8>) -> Result<Message, Failure> {
    Ok(Message::Text(Utf8Bytes::try_from(bytes)?))
}

fn argument(name: &str) -> Result<String, Failure> {
    std::env::args()
        .skip_while(|word| word != name)
        .nth(1)
        .ok_or_else(|| format!("{name} is missing").into())
}

fn main() -> Result<(), Failure> {
    let mode = argument("--mode")?;
    let (count, size) = (argument("--count")?.parse()?, argument("--size")?.parse()?);
    let mut peer = Peer::new(&argument("--url")?, count, size)?;
    let (messages, began) = match mode.as_str() {
        "burst" => peer.log_in("/topic/bench").and_then(|()| peer.burst())?,
        "sink" => peer.log_in("/topic/end").and_then(|()| peer.sink())?,
        _ => peer.log_in("/topic/echo").and_then(|()| peer.pingpong())?,
    };
    let secs = began.elapsed().as_secs_f64();
    peer.times.sort_by(f64::total_cmp);
    println!(
        "{{\"msgs\":{messages},\"secs\":{secs},\"p50_us\":{:.2},\"p99_us\":{:.2},\"p999_us\":{:.2}}}",
        peer.percentile(500),
        peer.percentile(990),
        peer.percentile(999)
    );
    Ok(())
}
