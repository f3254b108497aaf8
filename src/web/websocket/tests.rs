//! The codec against RFC 6455, against tungstenite, and against noise.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
};

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    protocol::{
        Role, WebSocketConfig,
        frame::coding::{Control, Data, OpCode},
    },
};

use super::*;

const LIMIT: usize = 1000;
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// A client frame with the right length, whose first byte is given.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let (header, size) = frame_header(payload.len());
    let mut bytes = header[..size].to_vec();
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    bytes
}

fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn text(text: &str) -> Incoming<'static> {
    Incoming::Text(Cow::Owned(text.to_owned()))
}

fn to_owned(incoming: Incoming<'_>) -> Incoming<'static> {
    match incoming {
        Incoming::Text(text) => Incoming::Text(Cow::Owned(text.into_owned())),
        Incoming::Binary(bytes) => Incoming::Binary(Cow::Owned(bytes.into_owned())),
        Incoming::Ping(bytes) => Incoming::Ping(Cow::Owned(bytes.into_owned())),
        Incoming::Pong(bytes) => Incoming::Pong(Cow::Owned(bytes.into_owned())),
        Incoming::Close { code, reason } => Incoming::Close { code, reason: Cow::Owned(reason.into_owned()) },
    }
}

/// What came of a stream: its messages, and why it was ended.
type Outcome = (Vec<Incoming<'static>>, Option<CloseReason>);

/// Decodes `bytes` in pieces of these sizes, over and over; checks what is held after each.
fn decode_in(bytes: &[u8], sizes: &[usize]) -> Outcome {
    let mut decoder = FrameDecoder::new(LIMIT, Deflate::Off);
    let mut messages = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(rest.len().min(*size));
        rest = tail;
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        loop {
            match decoder.next(&mut input) {
                Ok(Some(incoming)) => messages.push(to_owned(incoming)),
                Ok(None) => break,
                Err(reason) => return (messages, Some(reason)),
            }
        }
        assert!(input.is_empty());
        assert!(decoder.buffered() <= LIMIT + 125 + 200, "{} bytes held", decoder.buffered());
    }
    (messages, None)
}

fn decode(bytes: &[u8]) -> Outcome {
    let whole = decode_in(bytes, &[usize::MAX]);
    assert_eq!(decode_in(bytes, &[1]), whole, "byte by byte");
    whole
}

fn refused(bytes: &[u8]) -> u16 {
    let (_, reason) = decode(bytes);
    reason.expect("the stream is refused").code.into()
}

#[test]
fn a_whole_frame_is_borrowed_and_nothing_is_kept() {
    assert!(size_of::<FrameDecoder>() <= 64);
    let mut bytes = [frame(TEXT, b"[1]"), frame(TEXT, "[\"ä\"]".as_bytes())].concat();
    let range = bytes.as_ptr_range();
    let mut input = bytes.as_mut_slice();
    let mut decoder = FrameDecoder::new(LIMIT, Deflate::Off);
    for expected in ["[1]", "[\"ä\"]"] {
        let Ok(Some(Incoming::Text(Cow::Borrowed(text)))) = decoder.next(&mut input) else { panic!("not borrowed") };
        assert_eq!(text, expected);
        assert!(range.contains(&text.as_ptr()));
        assert_eq!(decoder.buffered(), 0);
    }
    assert_eq!(decoder.next(&mut input), Ok(None));
}

#[test]
fn a_payload_is_borrowed_even_if_its_header_came_in_two_reads() {
    let mut bytes = frame(TEXT, b"[1]");
    let (mut first, mut second) = bytes.split_at_mut(3);
    let mut decoder = FrameDecoder::new(LIMIT, Deflate::Off);
    assert_eq!(decoder.next(&mut first), Ok(None));
    assert!(decoder.buffered() > 0);
    assert!(matches!(decoder.next(&mut second), Ok(Some(Incoming::Text(Cow::Borrowed("[1]"))))));
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn fragments_are_joined_around_control_frames() {
    let euro = "€".as_bytes();
    let bytes = [
        frame(0x01, &euro[..1]),
        frame(PING, b"now"),
        frame(0x00, b""),
        frame(0x00, &euro[1..2]),
        frame(0x8a, b""),
        frame(0x80, &euro[2..]),
        frame(0x82, b"\xff"),
    ];
    let expected = vec![
        Incoming::Ping(Cow::Borrowed(b"now")),
        Incoming::Pong(Cow::Borrowed(b"")),
        text("€"),
        Incoming::Binary(Cow::Borrowed(b"\xff")),
    ];
    assert_eq!(decode(&bytes.concat()), (expected, None));
}

#[test]
fn violations_of_the_framing_end_in_1002() {
    let cases: [(&str, Vec<u8>); 15] = [
        ("reserved bit", frame(0xc1, b"x")),
        ("unknown data opcode", frame(0x83, b"x")),
        ("unknown control opcode", frame(0x8b, b"x")),
        ("unmasked", vec![0x81, 0x01, b'x']),
        ("fragmented ping", frame(0x09, b"x")),
        ("long ping", frame(PING, &[0; 126])),
        ("continuation of nothing", frame(0x80, b"x")),
        ("message in message", [frame(0x01, b"x"), frame(TEXT, b"y")].concat()),
        ("fragment of a message in message", [frame(0x01, b"x"), frame(0x02, b"y")].concat()),
        ("16 bits for a short length", vec![0x81, 0xfe, 0, 125]),
        ("64 bits for a short length", vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ("64th bit", vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("half a close code", frame(CLOSE, &[3])),
        ("continuation after a whole message", [frame(TEXT, b"x"), frame(0x00, b"y")].concat()),
        ("unfinished message, then a bare one", [frame(0x02, b""), frame(0x82, b"")].concat()),
    ];
    for (name, bytes) in cases {
        // Announced lengths are judged once the header is whole; the mask follows the length.
        assert_eq!(refused(&[bytes, vec![0; 4]].concat()), 1002, "{name}");
    }
}

#[test]
fn text_that_is_not_utf8_ends_in_1007() {
    assert_eq!(refused(&frame(TEXT, b"[\"\xc3\x28\"]")), 1007);
    assert_eq!(refused(&[frame(0x01, b"\xe2\x82"), frame(0x80, b"x")].concat()), 1007);
    assert_eq!(refused(&close_frame(1000, b"\xff")), 1007);
}

#[test]
fn messages_above_the_limit_end_in_1009() {
    let most = "x".repeat(LIMIT);
    assert_eq!(decode(&frame(TEXT, most.as_bytes())), (vec![text(&most)], None));
    assert_eq!(refused(&frame(TEXT, &[b'x'; LIMIT + 1])), 1009);
    assert_eq!(refused(&frame(0x82, &[b'x'; LIMIT + 1])), 1009);
    let fragments = [frame(0x01, &[b'x'; LIMIT - 1]), frame(0x00, b"x"), frame(0x80, b"")].concat();
    assert_eq!(decode(&fragments), (vec![text(&most)], None));
    assert_eq!(refused(&[frame(0x01, &[b'x'; LIMIT]), frame(0x80, b"x")].concat()), 1009);
    // The header alone is enough, and nothing is allocated for what it announces.
    assert_eq!(refused(&[0x81, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), 1009);
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut bytes = frame(TEXT, &[b'x'; 60_000]);
    let mut decoder = FrameDecoder::new(64 * 1024, Deflate::Off);
    let mut input = &mut bytes[..20];
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert!(decoder.buffered() < 300);
}

#[test]
fn close_frames_carry_what_may_be_sent_back() {
    let closed = |code, reason| (vec![Incoming::Close { code, reason: Cow::Borrowed(reason) }], None);
    assert_eq!(decode(&frame(CLOSE, b"")), closed(None, ""));
    assert_eq!(decode(&close_frame(1000, b"bye")), closed(Some(CloseCode::Normal), "bye"));
    for code in [1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        assert_eq!(decode(&close_frame(code, b"")), closed(Some(CloseCode::from(code)), ""), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2000, 2999, 5000, 65535] {
        assert_eq!(refused(&close_frame(code, b"")), 1002, "{code}");
    }
}

#[test]
fn nothing_is_read_after_a_close_or_a_violation() {
    for last in [close_frame(1000, b""), frame(0xc1, b"")] {
        let mut bytes = [last, frame(TEXT, b"late")].concat();
        let mut more = frame(TEXT, b"later");
        let mut decoder = FrameDecoder::new(LIMIT, Deflate::Off);
        let (mut input, mut more) = (bytes.as_mut_slice(), more.as_mut_slice());
        assert!(!matches!(decoder.next(&mut input), Ok(None)));
        assert!(input.is_empty());
        assert_eq!(decoder.next(&mut more), Ok(None));
        assert!(more.is_empty());
    }
}

/// A stream that plays `input` and swallows what is written; it blocks at the end.
struct Tape<'a>(&'a [u8]);

impl Read for Tape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of a stream.
fn peer_reads(role: Role, bytes: &[u8]) -> (Vec<Incoming<'static>>, Option<Error>) {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut peer = WebSocket::from_raw_socket(Tape(bytes), role, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match peer.read() {
            Ok(Message::Text(text)) => Incoming::Text(Cow::Owned(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => Incoming::Binary(Cow::Owned(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => Incoming::Ping(Cow::Owned(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => Incoming::Pong(Cow::Owned(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                let (code, reason) = frame.map(|frame| (frame.code, frame.reason.as_str().to_owned())).unzip();
                Incoming::Close { code, reason: Cow::Owned(reason.unwrap_or_default()) }
            }
            Ok(Message::Frame(_)) => unreachable!("only sent"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (messages, None),
            Err(error) => return (messages, Some(error)),
        });
    }
}

#[test]
fn a_client_reads_what_is_encoded() {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for len in [0, 1, 125, 126, 127, LIMIT] {
        let payload = "y".repeat(len);
        encode_text(&mut bytes, payload.as_bytes());
        expected.push(text(&payload));
    }
    encode_pong(&mut bytes, b"now");
    expected.push(Incoming::Pong(Cow::Borrowed(b"now")));
    encode_close(&mut bytes, Some(CloseCode::Away), &"ä".repeat(100));
    expected.push(Incoming::Close { code: Some(CloseCode::Away), reason: "ä".repeat(61).into() });
    let (messages, error) = peer_reads(Role::Client, &bytes);
    assert_eq!(messages, expected);
    assert!(error.is_none(), "{error:?}");
}

#[test]
fn headers_have_the_three_forms() {
    let bytes = |len| {
        let (header, size) = frame_header(len);
        header[..size].to_vec()
    };
    assert_eq!(bytes(0), [0x81, 0]);
    assert_eq!(bytes(125), [0x81, 125]);
    assert_eq!(bytes(126), [0x81, 126, 0, 126]);
    assert_eq!(bytes(0xffff), [0x81, 126, 0xff, 0xff]);
    assert_eq!(bytes(0x1_0000), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_close_without_a_sendable_code_is_empty() {
    for code in [None, Some(CloseCode::Status), Some(CloseCode::Abnormal), Some(CloseCode::from(2000))] {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, code, "why");
        assert_eq!(bytes, [0x88, 0]);
    }
}

/// One thing a client may send, as frames.
fn message() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let payload = prop_oneof![".{0,40}", ".{100,140}", "[a-zäß€🦀]{0,200}"];
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), prop::option::of("[a-z]{0,5}")), 0..4);
    let data = (payload, cuts, any::<bool>()).prop_map(|(payload, cuts, is_text)| {
        let mut cuts: Vec<_> = cuts.into_iter().map(|(cut, ping)| (cut.index(payload.len() + 1), ping)).collect();
        cuts.sort();
        let (mut frames, mut start, mut opcode) = (Vec::new(), 0, if is_text { 1 } else { 2 });
        for (cut, ping) in cuts {
            frames.push(frame(opcode, &payload.as_bytes()[start..cut]));
            frames.extend(ping.map(|ping| frame(PING, ping.as_bytes())));
            (start, opcode) = (cut, 0);
        }
        frames.push(frame(0x80 | opcode, &payload.as_bytes()[start..]));
        frames
    });
    let control = (prop_oneof![Just(PING), Just(0x8a)], prop::collection::vec(any::<u8>(), 0..126));
    prop_oneof![4 => data, 1 => control.prop_map(|(first, payload)| vec![frame(first, &payload)])]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(message(), 0..8).prop_map(|messages| messages.concat().concat())
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4_usize, 1..300_usize], 1..6)
}

/// Cuts both lists to the length of the shorter, and before the first close, whose code tungstenite lets pass.
fn comparable(ours: &[Incoming<'static>], theirs: &[Incoming<'static>]) -> (Vec<String>, Vec<String>) {
    let len = ours.len().min(theirs.len());
    let show = |messages: &[Incoming<'static>]| {
        let before_close = messages[..len].iter().take_while(|message| !matches!(message, Incoming::Close { .. }));
        before_close.map(|message| format!("{message:?}")).collect()
    };
    (show(ours), show(theirs))
}

proptest! {
    #[test]
    fn any_split_gives_what_tungstenite_reads(bytes in stream(), sizes in pieces()) {
        let (theirs, error) = peer_reads(Role::Server, &bytes);
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(decode_in(&bytes, &[usize::MAX]), (theirs.clone(), None));
        prop_assert_eq!(decode_in(&bytes, &sizes), (theirs, None));
    }

    #[test]
    fn damaged_streams_are_refused_where_tungstenite_refuses_them(
        bytes in stream(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in pieces(),
    ) {
        let mut bytes = bytes;
        bytes.push(0x81);
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let (ours, reason) = decode_in(&bytes, &sizes);
        prop_assert_eq!(&decode_in(&bytes, &[usize::MAX]), &(ours.clone(), reason));
        let (theirs, error) = peer_reads(Role::Server, &bytes);
        let (our_part, their_part) = comparable(&ours, &theirs);
        prop_assert_eq!(our_part, their_part);
        match error {
            // It looks into fragments before the message is whole, and ends with an error after a close.
            Some(Error::Utf8(_) | Error::ConnectionClosed) => {}
            Some(_) => prop_assert!(reason.is_some()),
            None if reason.is_none() => prop_assert_eq!(ours.len(), theirs.len()),
            // Ours is stricter about lengths, and judges a header before its payload has come.
            None => {}
        }
    }

    #[test]
    fn noise_neither_panics_nor_fills_memory(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0x81), Just(0x01), Just(0xfe)], 0..400),
        sizes in pieces(),
    ) {
        // `decode_in` checks after each piece what is held.
        let whole = decode_in(&bytes, &[usize::MAX]);
        prop_assert_eq!(decode_in(&bytes, &sizes), whole);
    }
}

#[test]
fn reserved_opcodes_are_all_refused() {
    for code in 0..16_u8 {
        let known =
            !matches!(OpCode::from(code), OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)));
        let (_, reason) = decode(&frame(0x80 | code, b""));
        assert_eq!(reason.is_none(), known && code != 0, "{code}");
    }
}
