//! Foreign text that people can be shown: short, on one line, and nothing in it that is obeyed instead of seen.
//!
//! Names, versions and licences come from whoever made a snapshot. What would move, hide or reorder the text around it is
//! written out as `⟨U+202E⟩`. This is not escaping: whoever writes HTML does that as well.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a text that are kept; one that is longer ends in `…`.
pub const TEXT_CHARS: usize = 200;

/// Characters of what is said of a snapshot that cannot be pulled.
const PROBLEM_CHARS: usize = 600;

/// A text to be shown, of at most [`TEXT_CHARS`] characters of its origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Text(String);

impl Text {
    /// What can be shown of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::bounded(text, TEXT_CHARS)
    }

    /// What can be shown of an error: up to 600 characters.
    #[must_use]
    pub fn problem(text: &str) -> Self {
        Self::bounded(text, PROBLEM_CHARS)
    }

    fn bounded(text: &str, chars: usize) -> Self {
        let text = text.trim();
        let mut shown = String::new();
        let mut rest = text.chars();
        for c in rest.by_ref().take(chars) {
            match c {
                '\n' | '\r' | '\t' => shown.push(' '),
                c if is_obeyed(c) => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
                c => shown.push(c),
            }
        }
        if rest.next().is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    /// `None` of a text with nothing in it.
    #[must_use]
    pub fn some(text: &str) -> Option<Self> {
        Some(Self::new(text)).filter(|text| !text.0.is_empty())
    }

    /// Bytes that it has in HTML.
    pub(crate) fn escaped_len(&self) -> usize {
        const ESCAPE: usize = "&#38;".len();
        let escaped = self.0.bytes().filter(|c| matches!(c, b'&' | b'<' | b'>' | b'"' | b'\'')).count();
        self.0.len() + escaped * (ESCAPE - 1)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Controls, and what Unicode has for layout and for nothing that can be seen (UAX #9, explicit formatting; UTS #39,
/// default ignorables that scripts do not need).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// What is read again is shown as anything foreign is.
impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::bounded(&text, usize::MAX)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_obeyed_is_seen() {
        assert_eq!(
            Text::new("a\u{202e}b\u{200b}\u{7}\u{feff}").as_str(),
            "a⟨U+202E⟩b⟨U+200B⟩⟨U+0007⟩⟨U+FEFF⟩"
        );
        assert_eq!(Text::new(" a\nb\tc ").as_str(), "a b c");
        assert_eq!(Text::new("naïve 数 שלום <b>").as_str(), "naïve 数 שלום <b>");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "x".repeat(1 << 20);
        assert_eq!(Text::new(&long).as_str(), format!("{}…", "x".repeat(TEXT_CHARS)));
        assert_eq!(Text::new(&"é".repeat(TEXT_CHARS)).as_str().chars().count(), TEXT_CHARS);
        assert_eq!(Text::some(" \n"), None);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let text = Text::new(&"a\u{202e}".repeat(300));
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
    }
}
