//! What tests of this and other crates need: a small snapshot that is valid in every respect but that no engine can run.

#[cfg(test)]
mod home;
mod sample;

#[cfg(test)]
pub(crate) use home::{Home, Stuck, home, layer, name, pages, put_snapshot};
pub use sample::{Sample, SampleSpec, put_sample};
