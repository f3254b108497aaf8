//! permessage-deflate (RFC 7692): messages that are compressed, each by itself.
//!
//! Neither side takes its context over from one message to the next: a connection keeps no dictionary, and one
//! compressed frame serves every subscriber. What compresses and inflates belongs to the thread.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::decode::CloseReason;
use super::encode::{DEFLATED_TEXT, frame_header_of};

/// Whether permessage-deflate was agreed on for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deflate {
    /// No message is compressed.
    #[default]
    Off,
    /// Any message may be.
    On,
}

/// How hard to look for repetitions, 1 to 9. Lists of 4 to 64 KB in JSON become a third longer at level 1, in 60 % of
/// the time; above 3 they become 5 % shorter at most, in up to twice the time.
const LEVEL: u32 = 3;

/// What ends each flush of a compressor. Senders leave it out, receivers put it back (RFC 7692, 7.2.1).
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty last block: who can read it has understood all that came before.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

thread_local! {
    /// About 300 KiB, made when a thread first compresses.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    /// About 45 KiB, made when a thread first inflates.
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Returns the frame of a text message compressed, unless the plain frame is no longer.
///
/// `payload` must be UTF-8.
#[must_use]
pub fn deflated_text(payload: &[u8]) -> Option<Box<[u8]>> {
    // Room for what is worth it: a longer outcome does not fit, which ends the work.
    let mut body = Vec::with_capacity(payload.len() + FLUSH_END.len());
    let status = COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        compress.compress_vec(payload, &mut body, FlushCompress::Sync)
    });
    let is_whole = matches!(status, Ok(Status::Ok)) && body.len() < body.capacity();
    let body = body.strip_suffix(&FLUSH_END).filter(|_| is_whole)?;
    let (header, size) = frame_header_of(DEFLATED_TEXT, body.len());
    (size + body.len() < payload.len()).then(|| [&header[..size], body].concat().into_boxed_slice())
}

/// Returns the most bytes of payload that a compressed message of `len_max` bytes may have on the wire.
///
/// What cannot be compressed grows a little.
pub(super) const fn wire_len_max(len_max: usize) -> usize {
    len_max.saturating_add(len_max / 16 + 64)
}

/// Inflates the payload of one message to at most `len_max` bytes.
///
/// # Errors
///
/// It is longer, or no whole sequence of compressed blocks.
pub(super) fn inflate(payload: &[u8], len_max: usize) -> Result<Vec<u8>, CloseReason> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let mut out = Vec::new();
        match inflate_part(inflate, payload, &mut out, len_max)? {
            // A block that says it is the last may be followed by the padding of the flush end that was left out.
            Some([] | [0]) => return Ok(out),
            Some(_) => return Err(CloseReason::not_deflated()),
            None => {}
        }
        let end = [&FLUSH_END[..], &LAST_BLOCK].concat();
        match inflate_part(inflate, &end, &mut out, len_max)? {
            Some([]) => Ok(out),
            _ => Err(CloseReason::not_deflated()),
        }
    })
}

/// Inflates `input`; returns what follows the last block, if that one is reached.
fn inflate_part<'i>(
    inflate: &mut Decompress,
    mut input: &'i [u8],
    out: &mut Vec<u8>,
    len_max: usize,
) -> Result<Option<&'i [u8]>, CloseReason> {
    loop {
        if out.len() == out.capacity() {
            if out.len() > len_max {
                return Err(CloseReason::too_big());
            }
            // One byte more than allowed, so that it can be seen.
            let wanted = (out.len() * 2).max(input.len() * 2).max(256).min(len_max.saturating_add(1));
            out.reserve_exact(wanted - out.len());
        }
        let (consumed, produced) = (inflate.total_in(), out.len());
        let status =
            inflate.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| CloseReason::not_deflated())?;
        let consumed = usize::try_from(inflate.total_in() - consumed).expect("no more than there is");
        input = &input[consumed..];
        if out.len() > len_max {
            return Err(CloseReason::too_big());
        }
        let is_stuck = consumed == 0 && out.len() == produced;
        match status {
            Status::StreamEnd => return Ok(Some(input)),
            _ if input.is_empty() && out.len() < out.capacity() => return Ok(None),
            _ if is_stuck && out.len() < out.capacity() => return Err(CloseReason::not_deflated()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::frame;
    use super::super::{FrameDecoder, Incoming};
    use super::*;

    const LIMIT: usize = 1000;
    /// First bytes of a whole compressed message, of the first fragment of one, of a whole ping.
    const TEXT: u8 = DEFLATED_TEXT;
    const TEXT_BEGINS: u8 = 0x41;
    const PING: u8 = 0x89;
    /// "Hello", from RFC 7692, 7.2.3.1.
    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    /// Compresses as a client does that is not sparing.
    fn deflated(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 100);
        Compress::new(Compression::best(), false).compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&FLUSH_END), "{out:x?}");
        out.truncate(out.len() - FLUSH_END.len());
        out
    }

    fn code(outcome: Result<Vec<u8>, CloseReason>) -> u16 {
        outcome.unwrap_err().code.into()
    }

    /// The texts of a stream in pieces of these sizes, and the code it was ended with; checks what is held meanwhile.
    fn decode_in(bytes: &[u8], sizes: &[usize]) -> (Vec<String>, Option<u16>) {
        let mut decoder = FrameDecoder::new(LIMIT, Deflate::On);
        let (mut texts, mut rest) = (Vec::new(), bytes);
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
                    Ok(Some(Incoming::Text(text))) => texts.push(text.into_owned()),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(reason) => return (texts, Some(reason.code.into())),
                }
            }
            assert!(decoder.buffered() <= wire_len_max(LIMIT) + 125 + 200, "{} bytes held", decoder.buffered());
        }
        (texts, None)
    }

    fn decode(bytes: &[u8]) -> (Vec<String>, Option<u16>) {
        let whole = decode_in(bytes, &[usize::MAX]);
        assert_eq!(decode_in(bytes, &[1]), whole, "byte by byte");
        whole
    }

    fn texts(texts: &[&str]) -> (Vec<String>, Option<u16>) {
        (texts.iter().map(|&text| text.to_owned()).collect(), None)
    }

    /// [PD-4] The examples of RFC 7692, 7.2.3.
    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        let examples: [&[u8]; 4] = [
            &HELLO,
            // No compression.
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            // A block that says it is the last.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            // Two blocks.
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ];
        for example in examples {
            assert_eq!(inflate(example, LIMIT).unwrap(), b"Hello", "{example:x?}");
            assert_eq!(inflate(example, 5).unwrap(), b"Hello", "{example:x?}");
            assert_eq!(code(inflate(example, 4)), 1009, "{example:x?}");
            assert_eq!(decode(&frame(TEXT, example)), texts(&["Hello"]));
        }
        // What refers to an earlier message: the context is not taken over.
        assert_eq!(code(inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], LIMIT)), 1007);
        // An empty message, and fragments.
        assert_eq!(decode(&frame(TEXT, &[0])), texts(&[""]));
        let parts = [frame(TEXT_BEGINS, &HELLO[..3]), frame(PING, b"now"), frame(0x80, &HELLO[3..])].concat();
        assert_eq!(decode(&parts), texts(&["Hello"]));
    }

    /// [PD-4] Plain messages may stand between compressed ones.
    #[test]
    fn each_message_says_whether_it_is_compressed() {
        let bytes = [frame(TEXT, &HELLO), frame(0x81, b"plain"), frame(0x01, b"pl"), frame(0x80, b"ain")];
        let again = [frame(TEXT_BEGINS, &HELLO), frame(0x80, b""), frame(0x01, b""), frame(0x80, b"plain")];
        let expected = texts(&["Hello", "plain", "plain", "Hello", "plain"]);
        assert_eq!(decode(&[bytes.concat(), again.concat()].concat()), expected);
    }

    /// [PD-5]
    #[test]
    fn the_mark_stands_on_the_first_frame_of_a_message_only() {
        let violations = [
            frame(0xc9, b""),
            frame(0xc8, &[3, 0xe8]),
            [frame(TEXT_BEGINS, &HELLO[..3]), frame(0xc0, &HELLO[3..])].concat(),
            [frame(0x01, b"x"), frame(0x40, b"y")].concat(),
            frame(0xa1, &HELLO),
            frame(0xd1, &HELLO),
        ];
        for bytes in violations {
            assert_eq!(decode(&bytes).1, Some(1002), "{bytes:x?}");
        }
        let mut bytes = frame(TEXT, &HELLO);
        let refused = FrameDecoder::new(LIMIT, Deflate::Off).next(&mut bytes.as_mut_slice());
        assert_eq!(refused.unwrap_err().code, super::super::CloseCode::Protocol);
    }

    /// [PD-6]
    #[test]
    fn what_cannot_be_inflated_ends_in_1007() {
        let broken: [&[u8]; 9] = [
            &[],
            &[0xff],
            &[0x06],
            // Cut, doubled, with the flush end that should be left out, with something behind the last block.
            &HELLO[..4],
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf3],
            &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            // No gzip, no zlib.
            &[0x78, 0x9c, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x05, 0x8c, 0x01, 0xf5],
        ];
        for payload in broken {
            assert_eq!(decode(&frame(TEXT, payload)), (vec![], Some(1007)), "{payload:x?}");
        }
        assert_eq!(decode(&frame(TEXT, &deflated(b"\xc3\x28"))), (vec![], Some(1007)));
    }

    /// [PD-6]
    #[test]
    fn the_limit_counts_inflated_and_on_the_wire() {
        let most = "x".repeat(LIMIT);
        assert_eq!(decode(&frame(TEXT, &deflated(most.as_bytes()))), texts(&[&most]));
        assert_eq!(decode(&frame(TEXT, &deflated("x".repeat(LIMIT + 1).as_bytes()))).1, Some(1009));
        // Stored blocks of ten bytes each make a message longer on the wire than the limit for its content.
        let stored: Vec<u8> = most.as_bytes().chunks(100).flat_map(|x| [&[0, 100, 0, 155, 255], x].concat()).collect();
        let stored = [stored, vec![0]].concat();
        assert!(stored.len() > LIMIT);
        assert_eq!(decode(&frame(TEXT, &stored)), texts(&[&most]));
        assert_eq!(decode(&frame(TEXT, &vec![0; wire_len_max(LIMIT) + 1])).1, Some(1009));
        let parts = [frame(TEXT_BEGINS, &vec![0; wire_len_max(LIMIT)]), frame(0x80, &[0])].concat();
        assert_eq!(decode(&parts).1, Some(1009));
    }

    /// [PD-6] A thousandth of it on the wire; what is allocated stays near the limit.
    #[test]
    fn a_bomb_stays_small() {
        let bomb = deflated(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 70_000, "{}", bomb.len());
        assert_eq!(code(inflate(&bomb, 1 << 20)), 1009);
        let mut out = Vec::new();
        let reason = inflate_part(&mut Decompress::new(false), &bomb, &mut out, 1 << 20).unwrap_err();
        assert_eq!(reason, CloseReason::too_big());
        assert!(out.capacity() <= (1 << 20) + 1, "{} bytes", out.capacity());
    }

    /// [PD-3]
    #[test]
    fn a_frame_is_compressed_only_if_that_makes_it_shorter() {
        let text = "[{\"channel\":\"/a\",\"data\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]";
        let frame = deflated_text(text.as_bytes()).unwrap();
        assert_eq!((frame[0], usize::from(frame[1])), (0xc1, frame.len() - 2));
        assert_eq!(inflate(&frame[2..], LIMIT).unwrap(), text.as_bytes());
        assert_eq!(deflated_text(b"[]"), None);
        assert_eq!(deflated_text(b""), None);
        let random: String =
            (0..4000_u32).map(|i| char::from(33 + (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
        assert!(deflated_text(random.as_bytes()).is_none_or(|frame| frame.len() < random.len()));
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(text in "[a-c]{0,900}", cuts in prop::collection::vec(1..60_usize, 1..5)) {
            let payload = deflated(text.as_bytes());
            prop_assert_eq!(inflate(&payload, LIMIT).unwrap(), text.as_bytes());
            if let Some(frame) = deflated_text(text.as_bytes()) {
                let start = if frame[1] < 126 { 2 } else { 4 };
                prop_assert_eq!(inflate(&frame[start..], LIMIT).unwrap(), text.as_bytes());
            }
            let middle = payload.len() / 2;
            let parts = [frame(TEXT_BEGINS, &payload[..middle]), frame(PING, b""), frame(0x80, &payload[middle..])];
            prop_assert_eq!(decode_in(&parts.concat(), &cuts), texts(&[&text]));
        }

        #[test]
        fn damaged_messages_neither_panic_nor_fill_memory(
            text in "[a-z ]{0,900}",
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cuts in prop::collection::vec(1..300_usize, 1..5),
        ) {
            let mut bytes = [frame(TEXT, &deflated(text.as_bytes())), frame(TEXT, &HELLO)].concat();
            for (index, value) in damage {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            let whole = decode_in(&bytes, &[usize::MAX]);
            prop_assert!(whole.0.iter().all(|text| text.len() <= LIMIT));
            prop_assert_eq!(decode_in(&bytes, &cuts), whole);
        }

        #[test]
        fn noise_is_no_message(payload in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(text) = inflate(&payload, LIMIT) {
                prop_assert!(text.len() <= LIMIT);
            }
        }
    }
}
