//! permessage-deflate (RFC 7692): messages that are compressed, each by itself.
//!
//! Neither side takes its context over from one message to the next: a connection keeps no dictionary, and one
//! compressed frame serves every subscriber. What compresses and inflates belongs to the thread.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::decode::CloseReason;
use super::encode::{DEFLATED_TEXT, frame_header_of};

/// How hard to look for repetitions, 1 to 9: typical messages get 5 to 10 % shorter above it, at twice the time.
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
        let status = inflate.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| CloseReason::not_deflated())?;
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
    use super::*;

    #[test]
    #[ignore]
    fn bench() {
        use std::time::Instant;
        for level in [1u32, 2, 3, 4, 6, 9] {
            let json = |n: usize| {
                let mut s = String::from("[{\"channel\":\"/v2/me/chats\",\"data\":{\"items\":[");
                let mut i = 0u64;
                while s.len() < n {
                    i = i.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    s.push_str(&format!("{{\"id\":\"{:016x}\",\"name\":\"Agent {}\",\"state\":\"{}\",\"since\":{}}},", i, i % 97, ["ready", "busy", "away"][(i % 3) as usize], i % 1000000));
                }
                s.push_str("]}}]");
                s
            };
            for n in [600usize, 1200, 4000, 16000, 64000] {
                let text = json(n);
                let mut c = Compress::new(Compression::new(level), false);
                let t = Instant::now();
                let mut len = 0;
                let rounds = 300;
                for _ in 0..rounds {
                    c.reset();
                    let mut out = Vec::with_capacity(text.len() + 64);
                    c.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
                    len = out.len();
                }
                let per = t.elapsed() / rounds;
                let frame = deflated_text(text.as_bytes()).unwrap();
                let t = Instant::now();
                let payload = &frame[if frame.len() > 129 { 4 } else { 2 }..];
                for _ in 0..rounds {
                    inflate(payload, 1 << 20).unwrap();
                }
                println!("level {level} {n}: {} -> {len} in {per:?}; inflate {:?}", text.len(), t.elapsed() / rounds);
            }
        }
        // Empty fixed blocks: 3 header bits (0, 01) + 7 zero bits.
        let mut bits = Vec::new();
        for _ in 0..52_000 {
            bits.extend([0u8, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        let bytes: Vec<u8> = bits.chunks(8).map(|c| c.iter().enumerate().map(|(i, b)| b << i).sum()).collect();
        let t = Instant::now();
        println!("{:?} {} bytes: {:?}", inflate(&bytes, 1 << 20).map(|v| v.len()), bytes.len(), t.elapsed());
        let block = |bits: &mut Vec<u8>| {
            let mut put = |value: u32, n: u32| (0..n).for_each(|i| bits.push((value >> i & 1) as u8));
            put(0, 1); put(2, 2); put(0, 5); put(0, 5); put(14, 4);
            // order 16,17,18,0,8,7,9,6,10,5,11,4,12,3,13,2,14,1
            for k in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] { put(k, 3); }
            // symbols 1 -> code 0, 18 -> code 1
            put(1, 1); put(127, 7); put(1, 1); put(118 - 11, 7); put(0, 1); put(0, 1);
            put(0, 1);
        };
        let mut bits = Vec::new();
        let mut blocks = 0;
        while bits.len() < 65_000 * 8 { block(&mut bits); blocks += 1; }
        let bytes: Vec<u8> = bits.chunks(8).map(|c| c.iter().enumerate().map(|(i, b)| b << i).sum()).collect();
        let t = Instant::now();
        println!("dynamic {blocks} {:?} {} bytes: {:?}", inflate(&bytes, 1 << 20).map(|v| v.len()), bytes.len(), t.elapsed());
        let stored = [0u8, 0, 0, 0xff, 0xff].repeat(13_000);
        let t = Instant::now();
        println!("{:?} {} bytes: {:?}", inflate(&stored[..stored.len() - 4], 1 << 20).map(|v| v.len()), stored.len(), t.elapsed());
    }
}
