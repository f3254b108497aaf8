//! Unmasking of client payloads.

/// Applies `mask` to `payload`, starting with the first byte of the mask.
///
/// Masking is its own inverse. Words of eight bytes: byte by byte costs several times as much on long payloads.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::unmask;

    #[test]
    fn every_length_and_offset_agrees_with_the_definition() {
        let mask = [0x12, 0x80, 0xff, 0x01];
        for start in 0..9 {
            for len in 0..70 {
                let mut bytes: Vec<u8> = (0..start + len).map(|i| (i * 7) as u8).collect();
                let expected: Vec<u8> = bytes[start..].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
                unmask(&mut bytes[start..], mask);
                assert_eq!(bytes[start..], expected, "start {start} length {len}");
            }
        }
    }
}
