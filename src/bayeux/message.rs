//! [`Message`]: one decoded envelope; `data`, `ext` and unknown fields stay the JSON text that was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::codec::string;
use super::ids::SessionId;

/// JSON text that is known to be one valid value.
pub type Json<'a> = Cow<'a, str>;

/// One message of a client, a local session or the server's own code.
///
/// Fields that belong to replies (`successful`, `error`, `version` …) are dropped when a message is decoded: no handler
/// looks at them and none may be forwarded to subscribers ([PB-8]).
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    /// The decoded text of `channel`; `None` if the field is absent or `null`.
    pub channel: Option<Cow<'a, str>>,
    /// `id` as text, whatever type it had ([EN-5]).
    pub id: Option<Cow<'a, str>>,
    /// `clientId`.
    pub client: Client,
    /// `subscription` as sent.
    pub subscription: Option<Json<'a>>,
    /// `advice` as sent.
    pub advice: Option<Json<'a>>,
    /// `connectionType` of a connect or `supportedConnectionTypes` of a handshake, as sent.
    pub connection_types: Option<Json<'a>>,
    /// `data` as sent.
    pub data: Option<Json<'a>>,
    /// `ext` as sent.
    pub ext: Option<Json<'a>>,
    /// Fields this server gives no meaning to, as sent, each name once.
    pub extra: Vec<(Cow<'a, str>, Json<'a>)>,
}

/// What a message says about the session it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Client {
    /// No `clientId`.
    #[default]
    Absent,
    /// A `clientId` that no session of this server can have.
    Foreign,
    /// A `clientId` of this server's form.
    Id(SessionId),
}

impl<'a> Message<'a> {
    /// Makes a message to `channel` with nothing else in it.
    #[must_use]
    pub fn to(channel: &'a str) -> Self {
        Self { channel: Some(Cow::Borrowed(channel)), ..Self::default() }
    }

    /// Sets `data`.
    #[must_use]
    pub fn with_data(mut self, data: &'a RawValue) -> Self {
        self.data = Some(Cow::Borrowed(data.get()));
        self
    }

    /// Sets `id`.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Cow<'a, str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets `clientId`.
    #[must_use]
    pub fn from_session(mut self, id: SessionId) -> Self {
        self.client = Client::Id(id);
        self
    }

    /// Reads `subscription`, one string or an array whose other elements are taken as text; `None` if it is neither.
    #[must_use]
    pub fn subscription_names(&self) -> Option<Vec<String>> {
        let json = self.subscription.as_deref()?;
        if let Some(name) = string(json) {
            return Some(vec![name.into_owned()]);
        }
        let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        let text = |json: &RawValue| string(json.get()).map_or_else(|| json.get().to_owned(), Cow::into_owned);
        Some(elements.into_iter().map(text).collect())
    }

    /// Whether the client says that it uses, or can use, this connection type.
    pub(super) fn names_connection_type(&self, name: &str) -> bool {
        let Some(json) = self.connection_types.as_deref() else { return false };
        if let Some(one) = string(json) {
            return one == name;
        }
        let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        elements.into_iter().any(|element| string(element.get()).is_some_and(|one| one == name))
    }

    /// Returns the channel's text, empty if there is none.
    pub(super) fn channel_text(&self) -> &str {
        self.channel.as_deref().unwrap_or("")
    }

    /// Appends the fields after `channel` as they are forwarded: `id` if it is still there, `data`, `ext` and unknown
    /// fields ([PB-2]).
    pub(super) fn write_after_channel(&self, out: &mut Vec<u8>) {
        if let Some(id) = &self.id {
            out.extend_from_slice(b",\"id\":");
            write_string(id, out);
        }
        for (name, value) in [("data", &self.data), ("ext", &self.ext)] {
            if let Some(value) = value {
                write_field(name, value, out);
            }
        }
        for (name, value) in &self.extra {
            write_field(name, value, out);
        }
    }
}

/// Returns one entry of an `ext` that is an object.
pub(super) fn ext_entry<'e>(ext: &'e str, name: &str) -> Option<&'e RawValue> {
    let mut entries: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(ext).ok()?;
    entries.remove(name)
}

/// Writes an `ext` with one entry set; the others stay as they are. What is no object counts for nothing.
pub(super) fn ext_with(ext: Option<&Json<'_>>, name: &str, value: &str) -> String {
    write_ext(ext, name, Some(value))
}

/// Writes an `ext` without one entry.
pub(super) fn ext_without(ext: Option<&Json<'_>>, name: &str) -> String {
    write_ext(ext, name, None)
}

fn write_ext(ext: Option<&Json<'_>>, name: &str, value: Option<&str>) -> String {
    let entries: BTreeMap<Cow<'_, str>, &RawValue> =
        ext.and_then(|ext| serde_json::from_str(ext).ok()).unwrap_or_default();
    let others = entries.iter().filter(|(known, _)| *known != name).map(|(known, value)| (&**known, value.get()));
    let mut out = Vec::new();
    for (name, value) in others.chain(value.map(|value| (name, value))) {
        write_field(name, value, &mut out);
    }
    match out.first_mut() {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON text is UTF-8")
}

/// Appends `,"name":value`.
pub(super) fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name, out);
    out.push(b':');
    out.extend_from_slice(value.as_bytes());
}

/// Appends `text` as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(&mut *out, text).expect("writing a string to memory cannot fail");
    }
}
