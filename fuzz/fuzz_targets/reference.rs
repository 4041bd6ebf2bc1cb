//! References and their parts: one spelling each, and none that leads out of a folder.

#![no_main]

use std::fmt::{Debug, Display};
use std::path::{Component, Path};
use std::str::FromStr;

use format::config::MacAddress;
use format::{Digest, FullName, HubName, Name, Reference, Tag};
use libfuzzer_sys::fuzz_target;
use store::testing::{ref_file_name, ref_of_file_name};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    one_spelling::<Digest>(text);
    one_spelling::<MacAddress>(text);
    if let Some(tag) = one_spelling::<Tag>(text) {
        assert!(tag.as_str().len() <= 128);
        stays_below(tag.as_str(), 1);
    }
    if let Some(name) = one_spelling::<Name>(text) {
        assert!(name.as_str().len() <= 255);
        stays_below(name.as_str(), name.as_str().split('/').count());
    }
    if let Some(hub) = one_spelling::<HubName>(text) {
        stays_below(hub.as_str(), 1);
        assert_eq!(hub.is_local(), text == "local");
    }
    if let Some(reference) = one_spelling::<Reference>(text) {
        let Reference { hub, name, tag, digest } = &reference;
        let printed = Reference { hub: hub.clone(), name: name.clone(), tag: tag.clone(), digest: *digest };
        assert_eq!(printed.to_string(), text);
        if let Some(hub) = hub {
            let full = FullName { hub: hub.clone(), name: name.clone(), tag: reference.tag_or_default() };
            assert_eq!(full.to_string().parse().as_ref(), Ok(&full));
        }
    }
    if let Some(full) = one_spelling::<FullName>(text)
        && let Some(file) = ref_file_name(&full)
    {
        stays_below(&file, 1);
        assert_eq!(ref_of_file_name(&file), Some(full));
    }
    if let Some(full) = ref_of_file_name(text) {
        assert_eq!(ref_file_name(&full).as_deref(), Some(text), "a tag has two files");
    }
});

/// What the text is, if it is one; what is printed of it is then the text.
fn one_spelling<T: FromStr<Err: Debug + Display> + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    match fuzz::memory::within(4 * text.len() + 4096, || text.parse::<T>()) {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), text, "it has a second spelling");
            Some(parsed)
        }
        Err(error) => {
            assert!(error.to_string().len() < 1200, "an error is for people");
            None
        }
    }
}

/// Checks that it is a path of so many plain components, and can be in a URL as it is.
fn stays_below(text: &str, components: usize) {
    assert!(Path::new(text).components().all(|component| matches!(component, Component::Normal(_))));
    assert_eq!(Path::new(text).components().count(), components);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\?#@ \"<>".contains(&byte)));
}
