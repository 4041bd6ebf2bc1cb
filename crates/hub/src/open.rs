//! From a location to the hub that is there.

use std::sync::Arc;

use crate::bucket::BucketHub;
use crate::dir::DirHub;
use crate::oci::OciHub;
use crate::web::WebHub;
use crate::{Access, HubError, HubLocation, Registry};

/// The hub at `location`. Nothing of it is read or written yet.
///
/// # Errors
/// If TLS cannot be set up, or who asks cannot be told.
pub fn open(location: &HubLocation, access: &Access) -> Result<Arc<dyn Registry>, HubError> {
    Ok(match location {
        HubLocation::Folder(path) => Arc::new(DirHub::new(path.clone(), location.to_string())),
        HubLocation::Bucket(bucket) => Arc::new(BucketHub::new(bucket, access)?),
        HubLocation::Registry(registry) => Arc::new(OciHub::new(registry, access)?),
        HubLocation::Web(web) => Arc::new(WebHub::new(web, access)?),
    })
}
