//! [`ChannelTemplate`]: a family of channels whose names carry values.

use std::str::FromStr;

use super::channel::{ChannelName, InvalidChannel};

/// A family of channels, `/service/rooms/{room}/say`, for services that answer for all of them ([SV-6]).
///
/// A listener goes on its [`pattern`](Self::pattern), and asks [`bind`](Self::bind) for the values of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelTemplate {
    segments: Vec<Segment>,
    pattern: ChannelName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    /// A value of this name.
    Value(String),
}

impl ChannelTemplate {
    /// Returns the narrowest pattern that matches the whole family; it may match more.
    #[must_use]
    pub const fn pattern(&self) -> &ChannelName {
        &self.pattern
    }

    /// Returns the values that a name carries, in the order of the template; `None` if it is none of the family.
    #[must_use]
    pub fn bind<'n>(&self, name: &'n ChannelName) -> Option<Vec<(&str, &'n str)>> {
        let given: Vec<&str> = name.as_str().split('/').skip(1).collect();
        if given.len() != self.segments.len() {
            return None;
        }
        let mut values = Vec::new();
        for (segment, given) in self.segments.iter().zip(given) {
            match segment {
                Segment::Fixed(text) if text == given => {}
                Segment::Fixed(_) => return None,
                Segment::Value(name) => values.push((name.as_str(), given)),
            }
        }
        Some(values)
    }
}

impl FromStr for ChannelTemplate {
    type Err = InvalidChannel;

    /// Reads a template: whole segments in braces are values, each with a name of its own.
    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        let name = ChannelName::parse(text)?;
        if name.is_wildcard() {
            return Err(InvalidChannel);
        }
        let mut segments: Vec<Segment> = Vec::new();
        for text in name.as_str().split('/').skip(1) {
            let value = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let segment = value.map_or_else(|| Segment::Fixed(text.into()), |value| Segment::Value(value.into()));
            let is_bad = value.is_some_and(|value| value.is_empty() || segments.contains(&segment));
            if is_bad {
                return Err(InvalidChannel);
            }
            segments.push(segment);
        }
        let fixed = segments.iter().take_while(|segment| matches!(segment, Segment::Fixed(_))).count();
        let parent: String = name.as_str().split('/').skip(1).take(fixed).map(|text| format!("/{text}")).collect();
        let pattern = match segments.len() - fixed {
            0 => name,
            1 => ChannelName::parse(&format!("{parent}/*"))?,
            _ => ChannelName::parse(&format!("{parent}/**"))?,
        };
        Ok(Self { segments, pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(template: &str, name: &str) -> Option<Vec<(String, String)>> {
        let template: ChannelTemplate = template.parse().unwrap();
        let name = ChannelName::parse(name).unwrap();
        let values = template.bind(&name)?;
        assert!(template.pattern().matches(&name), "{} does not match {name}", template.pattern());
        Some(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    // [SV-6]
    #[test]
    fn names_of_the_family_carry_values() {
        let values = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(bind("/service/a/{p}", "/service/a/7"), values(&[("p", "7")]));
        assert_eq!(bind("/rooms/{room}/say/{who}", "/rooms/x/say/y"), values(&[("room", "x"), ("who", "y")]));
        assert_eq!(bind("/{all}", "/x"), values(&[("all", "x")]));
        assert_eq!(bind("/service/a", "/service/a"), values(&[]));
        assert_eq!(bind("/service/a/{p}", "/service/a"), None);
        assert_eq!(bind("/service/a/{p}", "/service/b/7"), None);
        assert_eq!(bind("/service/a/{p}", "/service/a/7/8"), None);
        assert_eq!(bind("/rooms/{room}/say", "/rooms/x/shout"), None);
    }

    #[test]
    fn a_listener_goes_on_the_narrowest_pattern() {
        for (template, pattern) in
            [("/service/a/{p}", "/service/a/*"), ("/a/{p}/b", "/a/**"), ("/{p}", "/*"), ("/a/b", "/a/b")]
        {
            assert_eq!(template.parse::<ChannelTemplate>().unwrap().pattern().as_str(), pattern);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "a/{p}", "/a/{}", "/a/{p}/{p}", "/a/*", "/a/{p}/**", "/a//{p}"] {
            assert_eq!(text.parse::<ChannelTemplate>(), Err(InvalidChannel), "{text}");
        }
    }
}
