//! [`ChannelName`]: names of channels, which of them are patterns, and what matches what.

use std::fmt;
use std::sync::Arc;

/// The name of a channel, checked and normalised.
///
/// One trailing slash and trailing white space are not part of it. A name whose whole last segment is `*` or `**` is
/// also a pattern; publishing to such a name reaches its own subscribers and those of deeper patterns ([CH-4]).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Below `/meta/`: the protocol's own.
    Meta,
    /// Below `/service/`: between one client and the server, never fanned out.
    Service,
    /// Every other name: fanned out to subscribers.
    Broadcast,
}

/// Text that is no channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a channel name")]
pub struct InvalidChannel;

impl ChannelName {
    /// Parses a name of any length.
    ///
    /// # Errors
    ///
    /// [`InvalidChannel`] if the text breaks the grammar of [`ChannelName::normalize`].
    pub fn parse(text: &str) -> Result<Self, InvalidChannel> {
        Self::normalize(text).map(|name| Self(name.into()))
    }

    /// Returns the part of `text` that names the channel, if it is a channel name ([CH-1], [CH-2], [CH-3]).
    ///
    /// A name has at least two characters, begins with `/`, has no empty or blank segment and consists of ASCII
    /// letters, digits, spaces and `! # $ ( ) * + - . / @ _ { ~ }`. A segment `*` or `**` may only be the last.
    ///
    /// # Errors
    ///
    /// [`InvalidChannel`] if it is not.
    pub fn normalize(text: &str) -> Result<&str, InvalidChannel> {
        let bytes = text.as_bytes();
        if bytes.len() < 2 || bytes[0] != b'/' || !bytes.iter().all(|byte| is_allowed(*byte)) {
            return Err(InvalidChannel);
        }
        let trimmed = text.trim_end_matches(' ');
        let name = trimmed.strip_suffix('/').unwrap_or(trimmed);
        if name.is_empty() {
            return Err(InvalidChannel);
        }
        let mut segments = name[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            let is_wildcard = segment == "*" || segment == "**";
            if segment.bytes().all(|byte| byte == b' ') || (is_wildcard && !is_last) {
                return Err(InvalidChannel);
            }
        }
        Ok(name)
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as shared text.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Returns what the channel is for.
    #[must_use]
    pub fn kind(&self) -> ChannelKind {
        kind_of(&self.0)
    }

    /// Whether the last segment is `*` or `**`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with("/*") || self.0.ends_with("/**")
    }

    /// Whether the name lies in the tree that this server keeps for itself, `/sys` ([SC-9]).
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal(&self.0)
    }

    /// Returns the patterns that match this name, from `/**` to the closest ([CH-4]).
    pub fn patterns(&self) -> impl Iterator<Item = String> + '_ {
        let name = self.as_str();
        let parent = &name[..name.rfind('/').unwrap_or(0)];
        // A deep pattern covers everything below its folder, so for a name that is itself a deep pattern the folder's
        // own pattern is the name and does not count as a match.
        let deep = std::iter::once(0)
            .chain(parent.match_indices('/').map(|(at, _)| at).skip(1))
            .chain((!parent.is_empty()).then_some(parent.len()));
        let deep = deep.map(move |end| format!("{}/**", &name[..end]));
        let star = std::iter::once(format!("{parent}/*"));
        deep.chain(star).filter(move |pattern| pattern != name && !(pattern.ends_with("/*") && self.is_wildcard()))
    }

    /// Whether this name, taken as a pattern, matches `name`; a concrete name matches itself only.
    #[must_use]
    pub fn matches(&self, name: &Self) -> bool {
        self == name || name.patterns().any(|pattern| pattern == *self.0)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Returns what a channel of this name is for.
pub(super) fn kind_of(name: &str) -> ChannelKind {
    if name.starts_with("/meta/") {
        ChannelKind::Meta
    } else if name.starts_with("/service/") {
        ChannelKind::Service
    } else {
        ChannelKind::Broadcast
    }
}

/// Whether a normalised name lies in the tree that this server keeps for itself ([SC-9]).
pub(super) fn is_internal(name: &str) -> bool {
    name == "/sys" || name.starts_with("/sys/")
}

/// CometD's set, which is wider than the published grammar.
const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'!'
                | b'#'
                | b'$'
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'/'
                | b'@'
                | b'_'
                | b'{'
                | b'~'
                | b'}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(name: &str) -> Vec<String> {
        ChannelName::parse(name).expect("a valid name").patterns().collect()
    }

    #[test]
    fn normalisation_drops_one_slash_and_trailing_space() {
        assert_eq!(ChannelName::normalize("/foo/"), Ok("/foo"));
        assert_eq!(ChannelName::normalize("/foo  "), Ok("/foo"));
        assert_eq!(ChannelName::normalize("/a*b"), Ok("/a*b"));
        for bad in ["", "/", "foo", "//", "/a//b", "/a/ /b", "/foo//", "/foo/*/b", "/**/b", "/foo%", "/é", "/ "] {
            assert_eq!(ChannelName::normalize(bad), Err(InvalidChannel), "{bad:?}");
        }
    }

    #[test]
    fn patterns_run_from_the_widest_to_the_closest() {
        assert_eq!(patterns("/foo"), ["/**", "/*"]);
        assert_eq!(patterns("/foo/bar"), ["/**", "/foo/**", "/foo/*"]);
        assert_eq!(patterns("/foo/bar/baz"), ["/**", "/foo/**", "/foo/bar/**", "/foo/bar/*"]);
        assert_eq!(patterns("/foo/*"), ["/**", "/foo/**"]);
        assert_eq!(patterns("/foo/**"), ["/**"]);
        assert_eq!(patterns("/**"), Vec::<String>::new());
        assert_eq!(patterns("/*"), ["/**"]);
    }
}
