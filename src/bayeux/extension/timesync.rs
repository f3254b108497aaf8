//! `timesync`: how far a client's clock is from the server's, and how long the way between them takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::bayeux::message::{Json, ext_entry};
use crate::bayeux::time::Time;

/// What a client asked with `ext.timesync`, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bayeux) struct Question {
    /// The client's clock when it sent the message.
    client: i64,
    /// What it takes for the lag and the offset of the clocks; `None` if it has never been answered.
    known: Option<(i64, i64)>,
    /// The server's clock when the message arrived.
    server: i64,
    /// The same on the clock that does not jump.
    received: Time,
}

impl Question {
    /// Reads the question of a message that came at `received`, when the system's clock showed `server`.
    ///
    /// What is no question is none: no reply tells the client about it ([TS-5]).
    pub(in crate::bayeux) fn of(ext: Option<&Json<'_>>, received: Time, server: i64) -> Option<Self> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(ext_entry(ext?, "timesync")?.get()).ok()?;
        let number = |name: &str| fields.get(name).and_then(|value| whole(value.get()));
        let known = match fields.get("l") {
            Some(value) if value.get() != "null" => Some((whole(value.get())?, number("o")?)),
            _ => None,
        };
        Some(Self { client: number("tc")?, known, server, received })
    }

    /// Writes what the reply that leaves now says; `None` if the client knows well enough ([TS-2], [TS-3]).
    pub(in crate::bayeux) fn answer(&self, now: Time, target: Duration) -> Option<String> {
        let Self { client, server, .. } = *self;
        let spent = now.since(self.received).as_millis();
        let Some((lag, offset)) = self.known else {
            return Some(format!("{{\"tc\":{client},\"ts\":{server},\"p\":{spent}}}"));
        };
        let off = client.saturating_add(offset).saturating_add(lag).saturating_sub(server);
        let told = lag == 0 || u128::from(off.unsigned_abs()) >= target.as_millis();
        told.then(|| format!("{{\"tc\":{client},\"ts\":{server},\"p\":{spent},\"a\":{off}}}"))
    }
}

/// Reads a number without its fraction; too large a one is taken for the largest.
fn whole(json: &str) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is meant, and saturates")]
    serde_json::from_str(json).ok().or_else(|| serde_json::from_str::<f64>(json).ok().map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(25);

    /// Asks at 1,000 by a client and answers three milliseconds later.
    fn answer(timesync: &str) -> Option<String> {
        let ext = Json::Owned(format!("{{\"other\":1,\"timesync\":{timesync}}}"));
        let question = Question::of(Some(&ext), Time::from_millis(7), 1_000)?;
        question.answer(Time::from_millis(10), TARGET)
    }

    // [TS-2]
    #[test]
    fn who_has_never_been_answered_is_told() {
        assert_eq!(answer(r#"{"tc":900}"#).as_deref(), Some(r#"{"tc":900,"ts":1000,"p":3}"#));
        assert_eq!(answer(r#"{"tc":900,"l":null,"o":"x"}"#).as_deref(), Some(r#"{"tc":900,"ts":1000,"p":3}"#));
        let first = answer(r#"{"tc":900,"l":0,"o":0}"#);
        assert_eq!(first.as_deref(), Some(r#"{"tc":900,"ts":1000,"p":3,"a":-100}"#));
        assert_eq!(answer(r#"{"tc":1000,"l":0.9,"o":-0.9}"#).as_deref(), Some(r#"{"tc":1000,"ts":1000,"p":3,"a":0}"#));
    }

    // [TS-3]
    #[test]
    fn who_is_near_enough_is_told_nothing() {
        for (client, told) in [(974, true), (975, false), (990, false), (1_023, false), (1_024, true)] {
            let timesync = format!(r#"{{"tc":{client},"l":1,"o":0}}"#);
            let edge = answer(&timesync).is_some();
            assert_eq!(edge, told, "{client}");
        }
        assert_eq!(answer(r#"{"tc":100,"l":4,"o":900}"#), None);
    }

    // [TS-5]
    #[test]
    fn what_is_no_question_is_not_answered() {
        for timesync in [
            "{}",
            r#"{"l":0}"#,
            r#"{"l":0,"o":0}"#,
            r#"{"tc":1,"l":0}"#,
            r#"{"tc":1,"l":0,"o":null}"#,
            r#"{"tc":"1"}"#,
            r#"{"tc":1,"l":"0","o":0}"#,
            "5",
            "[]",
            "null",
            "true",
        ] {
            assert_eq!(answer(timesync), None, "{timesync}");
        }
        for ext in ["5", "null", "[]", "{}"] {
            assert_eq!(Question::of(Some(&Json::Borrowed(ext)), Time::default(), 0), None, "{ext}");
        }
        assert_eq!(Question::of(None, Time::default(), 0), None);
    }

    // [TS-4]
    #[test]
    fn clocks_may_be_far_apart() {
        assert_eq!(
            answer(r#"{"tc":5.7,"l":0,"o":5000000000}"#).as_deref(),
            Some(r#"{"tc":5,"ts":1000,"p":3,"a":4999999005}"#)
        );
        let most = i64::MAX;
        let expected = format!(r#"{{"tc":{most},"ts":1000,"p":3,"a":{}}}"#, most - 1_000);
        assert_eq!(answer(r#"{"tc":1e30,"l":0,"o":1e30}"#), Some(expected));
    }
}
