//! Writes the page of a hub that looks real, or of one with 200 snapshots of 300 packages: to look at.
//!
//! `cargo run -p catalog --features testing --example sample_page -- FOLDER`

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use catalog::{Heading, html, testing};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give a folder to write to")?);
    let heading = Heading::at_url("Warm machines", "https://hub.example")?;
    for (name, listing) in [("small", testing::hub()?), ("large", testing::large_hub(200, 300)?)] {
        let catalog = listing.finish(&heading);
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("catalog.json"), catalog.to_json()?)?;
        fs::write(folder.join("index.html"), html(&catalog)?)?;
    }
    Ok(())
}
