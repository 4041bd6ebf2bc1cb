//! JSON for the targets that read it.
//!
//! Documents are long, and most changes to their bytes make them no JSON. What is fuzzed can therefore be a list of changes to a valid
//! document, each to one of its tokens (a text with its quotes, a number or word, a mark):
//!
//! ```text
//! token (u16, little-endian)  how  length (u8)  content
//! ```
//!
//! If the lowest bit of `how` is set, the content goes into the token, so many bytes from its start as the next three bits say; else it takes
//! its place. The upper four bits double the content so many times.

use std::borrow::Cow;
use std::ops::Range;

/// The most that content is doubled to.
const MOST: usize = 16 << 10;

/// What an input says: itself, or a script of changes to one of `documents` if its first byte is that one's number.
pub fn read<'a>(input: &'a [u8], documents: &[&[u8]]) -> Cow<'a, [u8]> {
    match input.split_first().map(|(first, script)| (documents.get(usize::from(*first)), script)) {
        Some((Some(document), script)) => Cow::Owned(edited(document, script)),
        _ => Cow::Borrowed(input),
    }
}

/// The document with a script's changes; of several to one token the last.
pub fn edited(document: &[u8], mut script: &[u8]) -> Vec<u8> {
    let tokens = tokens(document);
    let mut changed: Vec<Option<Vec<u8>>> = vec![None; tokens.len()];
    while let [low, high, how, length, rest @ ..] = script {
        let (content, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        script = rest;
        let place = usize::from(u16::from_le_bytes([*low, *high])) % tokens.len().max(1);
        let Some(token) = tokens.get(place) else { break };
        let content = doubled(content, how >> 4, MOST);
        let old = &document[token.clone()];
        changed[place] = Some(if how & 1 == 1 {
            let (before, after) = old.split_at(usize::from(how >> 1 & 7).min(old.len()));
            [before, &content, after].concat()
        } else {
            content
        });
    }
    let (mut out, mut end) = (Vec::new(), 0);
    for (token, changed) in tokens.into_iter().zip(changed) {
        out.extend(&document[end..token.start]);
        out.extend(changed.as_deref().unwrap_or(&document[token.clone()]));
        end = token.end;
    }
    out.extend(&document[end..]);
    out
}

/// `content`, doubled so many times, as long as it then is no longer than `most`.
pub fn doubled(content: &[u8], times: u8, most: usize) -> Vec<u8> {
    let mut doubled = content.to_vec();
    for _ in 0..times {
        if doubled.len() * 2 > most {
            break;
        }
        doubled.extend_from_within(..);
    }
    doubled
}

/// Where the tokens of a document are.
pub fn tokens(document: &[u8]) -> Vec<Range<usize>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(first) = document.get(at) {
        let rest = &document[at..];
        let length = match first {
            b'"' => text(rest),
            byte if is_word(byte) => rest.iter().take_while(|byte| is_word(byte)).count(),
            _ => 1,
        };
        if !first.is_ascii_whitespace() {
            tokens.push(at..at + length);
        }
        at += length;
    }
    tokens
}

/// Bytes of the text, quotes and all, that `rest` begins with.
fn text(rest: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = rest.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}
