//! What tests of this and other crates need: a small snapshot that is valid in every respect but that no engine can run.

#[cfg(test)]
mod home;
mod sample;

#[cfg(test)]
pub(crate) use home::{Home, Stuck, home, layer, name, pages, put_snapshot};
pub use sample::{Sample, SampleSpec, put_sample};

/// The name of the file in `refs/` that holds this tag; `None` if it would be too long.
#[must_use]
pub fn ref_file_name(name: &format::FullName) -> Option<String> {
    crate::refs::file_name(name).ok()
}

/// The tag that a file in `refs/` of this name holds, if it is one.
#[must_use]
pub fn ref_of_file_name(name: &str) -> Option<format::FullName> {
    crate::refs::full_name(name)
}
