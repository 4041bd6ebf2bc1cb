//! Reading a hub: names, their tags, and each snapshot that these lead to, a few at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use format::{Digest, Name, Tag};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hub::describe::Describer;
use hub::{HubError, PullError, Registry};

use crate::listing::TAGS;
use crate::{CatalogError, Listing, Text};

/// Manifests and configs that are held at once, each bounded: 5 MiB and what they are parsed to.
const READS: usize = 4;

/// Variants of one image index that are looked at.
const VARIANTS: usize = 64;

/// Whoever wants to know how far it is.
pub trait Progress: Sync {
    /// So many steps there are in all, as far as is known.
    fn steps(&self, count: usize);
    /// One is done.
    fn step(&self);
}

/// Nobody wants to know.
impl Progress for () {
    fn steps(&self, _: usize) {}
    fn step(&self) {}
}

/// Reads all that a hub has under tags. A name, a tag or a snapshot that cannot be read is listed with what is wrong.
///
/// # Errors
/// If the hub does not tell its names, does not answer, or holds more than a catalogue does.
pub async fn read(registry: Arc<dyn Registry>, progress: &dyn Progress) -> Result<Listing, CatalogError> {
    let mut listing = Listing::default();
    let tags = tags(&*registry, &mut listing).await?;
    progress.steps(tags.len());
    let describer = Describer::new(registry);
    let tags = tagged(&describer, tags, progress).await?;
    let snapshots = snapshots(&tags);
    progress.steps(tags.len() + snapshots.len());
    let wrong = describe(&describer, snapshots, &mut listing, progress).await?;
    for (name, tag, tagged) in tags {
        let (digest, leads_to) = match tagged {
            Err(problem) => (None, vec![Err(problem)]),
            Ok(leads) => (Some(leads.digest), leads_to(&name, &leads, &wrong)),
        };
        listing.add_tag(&name, tag, digest, leads_to)?;
    }
    Ok(listing)
}

/// What is wrong with the snapshots that cannot be listed.
type Wrong = HashMap<(Name, Digest), Text>;

/// Each tag with what it leads to, or what is wrong with that.
type Tags = Vec<(Name, Tag, Result<Leads, Text>)>;

/// What a tag leads to.
struct Leads {
    digest: Digest,
    /// The first [`VARIANTS`].
    snapshots: Vec<Digest>,
    /// How many there are besides.
    more: usize,
}

async fn tags(registry: &dyn Registry, listing: &mut Listing) -> Result<Vec<(Name, Tag)>, CatalogError> {
    let asked = stream::iter(registry.names().await?).map(|name| async move {
        let tags = listed(registry.tags(&name).await.map_err(PullError::Hub))?;
        Ok::<_, CatalogError>((name, tags))
    });
    let mut asked = asked.buffered(READS);
    let mut all = Vec::new();
    while let Some((name, tags)) = asked.try_next().await? {
        listing.add_name(name.clone(), tags.as_ref().err().cloned());
        all.extend(tags.unwrap_or_default().into_iter().map(|tag| (name.clone(), tag)));
        if all.len() > TAGS {
            return Err(CatalogError::TooLarge { what: "tags", limit: TAGS });
        }
    }
    Ok(all)
}

async fn tagged(
    describer: &Describer,
    tags: Vec<(Name, Tag)>,
    progress: &dyn Progress,
) -> Result<Tags, CatalogError> {
    let asked = stream::iter(tags).map(|(name, tag)| async move {
        let tagged = listed(describer.tagged(&name, &tag).await)?;
        progress.step();
        let leads = tagged.map(|mut tagged| {
            let more = tagged.snapshots.len().saturating_sub(VARIANTS);
            tagged.snapshots.truncate(VARIANTS);
            tagged.snapshots.shrink_to_fit();
            Leads { digest: tagged.digest, snapshots: tagged.snapshots, more }
        });
        Ok((name, tag, leads))
    });
    asked.buffered(READS).try_collect().await
}

/// What tags lead to, each once under each name: a registry may have a snapshot whole under one name and not under
/// another.
fn snapshots(tags: &Tags) -> Vec<(Name, Digest)> {
    let mut seen = HashSet::new();
    let all = tags.iter().flat_map(|(name, _, leads)| {
        let digests = leads.iter().flat_map(|leads| &leads.snapshots);
        digests.map(|digest| (name.clone(), *digest))
    });
    all.filter(|one| seen.insert(one.clone())).collect()
}

/// Adds the snapshots to the listing, and gives what is wrong with the others.
async fn describe(
    describer: &Describer,
    snapshots: Vec<(Name, Digest)>,
    listing: &mut Listing,
    progress: &dyn Progress,
) -> Result<Wrong, CatalogError> {
    let asked = stream::iter(snapshots).map(|(name, digest)| async move {
        let description = listed(describer.snapshot(&name, &digest).await)?;
        progress.step();
        Ok::<_, CatalogError>((name, digest, description))
    });
    let mut asked = asked.buffered(READS);
    let mut wrong = Wrong::new();
    while let Some((name, digest, description)) = asked.try_next().await? {
        match description {
            Ok(description) => listing.add_snapshot(&description)?,
            Err(problem) => {
                wrong.insert((name, digest), problem);
            }
        }
    }
    Ok(wrong)
}

fn leads_to(name: &Name, leads: &Leads, wrong: &Wrong) -> Vec<Result<Digest, Text>> {
    let lead = |digest: &Digest| match wrong.get(&(name.clone(), *digest)) {
        None => Ok(*digest),
        Some(problem) => Err(problem.clone()),
    };
    let mut found: Vec<_> = leads.snapshots.iter().map(lead).collect();
    if leads.more > 0 {
        let problem = format!("it has {} variants besides the {VARIANTS} that are looked at", leads.more);
        found.push(Err(Text::problem(&problem)));
    }
    found
}

/// Takes what is wrong with one thing for something to be listed. That the hub itself cannot be used is an error: a
/// catalogue of nothing but problems would replace a good one.
fn listed<T>(read: Result<T, PullError>) -> Result<Result<T, Text>, CatalogError> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(PullError::Hub(
            error @ (HubError::Unavailable { .. }
            | HubError::Credential { .. }
            | HubError::Authorities { .. }
            | HubError::NotAHub { .. }
            | HubError::Unsupported { .. }),
        )) => Err(error.into()),
        Err(problem) => Ok(Err(Text::problem(&problem.to_string()))),
    }
}
