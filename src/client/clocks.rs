//! [`rebased`]: the clock that a client shows to the `timesync` extension, moved to the time of the replay.
//!
//! A server whose clock is right answers by how far the client's is off. In a recording that was some milliseconds.

use super::pattern::Pattern;
use super::timing::body_pattern_mut;
use super::transcript::{Conversation, Event, Frame, Line, Millis};

/// Returns the conversation as it is when its first line is played at `now`, in milliseconds since 1970.
#[must_use]
pub fn rebased(mut conversation: Conversation, now: i64) -> Conversation {
    let start = conversation.lines.first().map_or(0, |line| line.at);
    // Every reading was on its way for a while before it was written down; the one with the shortest way is right.
    let mut began: Option<i64> = None;
    each_reading(&mut conversation.lines, |at, tc| {
        let reading = tc - i64::try_from(at - start).unwrap_or(0);
        began = Some(began.map_or(reading, |other| other.max(reading)));
        tc
    });
    if let Some(began) = began {
        each_reading(&mut conversation.lines, |_, tc| tc.saturating_add(now.saturating_sub(began)));
    }
    conversation
}

/// Replaces each reading of a client's clock, in what it says and in what the server repeats.
fn each_reading(lines: &mut [Line], mut change: impl FnMut(Millis, i64) -> i64) {
    for line in lines {
        let at = line.at;
        let batch = match &mut line.event {
            Event::Request(_, request) => body_pattern_mut(&mut request.body),
            Event::Answer(_, answer) => body_pattern_mut(&mut answer.body),
            Event::Sent(_, Frame::Batch(batch)) | Event::Received(_, Frame::Batch(batch)) => Some(batch),
            _ => None,
        };
        for message in batch.map_or(&mut [][..], Pattern::messages_mut) {
            let timesync = message.member_mut("ext").and_then(|ext| ext.member_mut("timesync"));
            if let Some(Pattern::Number(token)) = timesync.and_then(|timesync| timesync.member_mut("tc"))
                && let Ok(reading) = token.parse()
            {
                *token = change(at, reading).to_string();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_the_time_of_the_replay() {
        let text = "# origin: recorded | a\n\n\
            @100    > A.1 POST / [{\"ext\":{\"timesync\":{\"tc\":1000,\"l\":0,\"o\":0}}}]\n\
            @105    < A.1 [{\"ext\":{\"timesync\":{\"tc\":1000,\"ts\":…}}}]\n\
            @200    > A.2 POST / [{\"ext\":{\"timesync\":{\"tc\":1099}}},{\"ext\":{\"timesync\":7}},{}]\n";
        let moved = rebased(Conversation::parse(text).unwrap(), 5_000).to_string();
        assert_eq!(moved, text.replace("1000", "5000").replace("1099", "5099"));
        let plain = "# origin: recorded | a\n\n@0      > A.1 POST / [{\"tc\":1}]\n";
        assert_eq!(rebased(Conversation::parse(plain).unwrap(), 5_000).to_string(), plain);
    }
}
