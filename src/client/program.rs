//! What a program around the recorded server adds, where a message asks for it in its `ext`: scripts cannot plug anything
//! into a server that runs.
//!
//! - `"drop": true`: an extension drops the message.
//! - `"deny": true`, or `"deny": {"advice": {…}, "ext": {…}}`: the policy denies what the message wants, and puts these into the
//!   reply.
//! - `"greet": 2`: in a handshake; the new session is sent `1` and `2` on `/greeting` before it is answered.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::bayeux::{Context, Denial, Engine, Extension, Flow, Listener, Message, SessionView};

/// Most greetings that a handshake may ask for.
const GREETINGS_MAX: u64 = 100;

thread_local! {
    /// How many greetings the handshake that this thread is about to handle asks for: a session is added while its
    /// handshake is handled.
    static GREETINGS: Cell<u64> = const { Cell::new(0) };
}

/// Adds the extension and the listener; the policy is the caller's, which asks [`denial`].
pub fn add<T>(engine: &Engine<T>)
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    engine.add_extension(Arc::new(Asked));
    engine.add_listener(Arc::new(Asked));
}

/// Returns the denial that a message asks for.
#[must_use]
pub fn denial(message: &Message<'_>) -> Option<Denial> {
    let mut denied = match ext(message).remove("deny")? {
        Value::Bool(true) => Map::new(),
        Value::Object(said) => said,
        _ => return None,
    };
    let mut part = |name: &str| denied.remove(name).map(|part| part.to_string());
    Some(Denial { advice: part("advice"), ext: part("ext"), ..Denial::default() })
}

fn ext(message: &Message<'_>) -> Map<String, Value> {
    message.ext.as_deref().and_then(|ext| serde_json::from_str(ext).ok()).unwrap_or_default()
}

/// Does what is asked for.
struct Asked;

impl Extension for Asked {
    fn incoming(&self, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        let ext = ext(message);
        GREETINGS.set(ext.get("greet").and_then(Value::as_u64).unwrap_or(0).min(GREETINGS_MAX));
        if ext.get("drop") == Some(&Value::Bool(true)) { Flow::Drop } else { Flow::Continue }
    }
}

impl<T: Clone + PartialEq> Listener<T> for Asked {
    fn session_added(&self, context: &mut Context<'_, T>, session: &SessionView) {
        for number in 1..=GREETINGS.take() {
            let greeting = Message { data: Some(number.to_string().into()), ..Message::to("/greeting") };
            context.deliver(session.id, greeting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_denied_as_it_asks() {
        let denied = |ext: &str| denial(&Message { ext: Some(ext.into()), ..Message::to("/a") });
        assert_eq!(denied(r#"{"deny":true}"#), Some(Denial::default()));
        let said = denied(r#"{"deny":{"advice":{"reconnect":"handshake"}}}"#).unwrap();
        assert_eq!((said.advice.as_deref(), said.ext), (Some(r#"{"reconnect":"handshake"}"#), None));
        assert_eq!(denied("{}").or(denied(r#"{"deny":false}"#)).or(denied("7")), None);
    }
}
