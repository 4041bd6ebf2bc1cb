//! What the document and the page say of a hub that looks real.

use catalog::{Catalog, Heading, testing};

/// The real-looking hub's catalogue.
pub(crate) fn catalog() -> Catalog {
    let heading = Heading::at_url("Warm machines", "https://hub.example").unwrap();
    testing::hub().unwrap().finish(&heading)
}

#[test]
fn the_document_is_read_as_it_was_written() {
    let catalog = catalog();
    let json = catalog.to_json().unwrap();
    assert_eq!(serde_json::from_slice::<Catalog>(&json).unwrap(), catalog);
    let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&document["version"], &document["hub"]), (&0.into(), &"https://hub.example".into()));
}
