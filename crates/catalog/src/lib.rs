//! What a hub offers: `catalog.json` for programs and `index.html` for people, one static file without anything around it.
//!
//! ```text
//! read      names, tags, manifests, configs and maps of a hub → Listing
//! listing   what is kept of them                              → Catalog
//! page      the catalogue as HTML
//! ```
//!
//! Invariants:
//! - What is listed as a snapshot has passed the checks of a pull. What has not is listed by its name with what is
//!   wrong, and nothing that it says of itself is shown.
//! - Foreign text is [`Text`], and escaped by the template engine wherever it stands.
//! - The same hub gives the same bytes: no clock, no order of arrival.
//! - How much is held is bounded, whatever the hub says.

mod heading;
mod licences;
mod listing;
pub mod model;
mod page;
mod read;
mod sizes;
#[cfg(feature = "testing")]
pub mod testing;
mod text;

use hub::HubError;

pub use heading::Heading;
pub use licences::{Family, FamilyCount, LicenceCount, Licences};
pub use listing::Listing;
pub use model::Catalog;
pub use page::html;
pub use read::{Progress, read};
pub use text::{TEXT_CHARS, Text};

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The hub cannot be read.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The hub holds more than a catalogue does.
    #[error("the hub holds more {what} than the {limit} of a catalogue: remove tags, or split the hub")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many at most.
        limit: usize,
    },
    /// Where pullers are to find the hub is no location.
    #[error("{text}: {reason}")]
    Location {
        /// What was given, less what may be secret.
        text: Text,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The page could not be made.
    #[error("cannot make the page: {0}")]
    Page(#[from] askama::Error),
    /// The document could not be made.
    #[error("cannot make the document: {0}")]
    Document(#[from] serde_json::Error),
}
